"""An image classifier of one of our own architectures, with weights from safetensors files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file
from torch import Tensor, nn

from ..errors import StorageError
from ..hub.dtype import torch_type
from ..hub.safetensors_header import read_header
from ..libraries import maps_weights
from .architectures import build
from .image_folder import ImageForm

__all__ = ["MOST_SIDE", "form_of_config", "load_state_dict"]

MOST_SIDE = 8192
"""Pixels that a picture may be high or wide."""


def load_state_dict(
    files: tuple[Path, ...], config: dict[str, Any], dtype: torch.dtype | str | None
) -> nn.Module:
    """Build an architecture of our own and give it the weights in some files.

    Args:
        files: safetensors files that hold the weights together.
        config: ``{"architecture": …, "options": {…}}``.
        dtype: see `hub.dtype.torch_type`.

    Returns:
        The model, in evaluation mode.

    Raises:
        StorageError: if a file cannot be read, or the weights are of another architecture.
        DataError, UnknownNameError: an architecture or its options that do not exist.
    """
    with torch.device("meta"):
        model = build(config)
    file, state = files[0], dict[str, Tensor]()
    for part in files:
        read_header(part)
        try:
            state |= load_file(part) if maps_weights() else load(part.read_bytes())
        except (OSError, SafetensorError) as error:
            raise StorageError(f"{part} cannot be read ({error}). Fetch it again.") from None
    kind = torch_type(dtype, torch.device("cpu"))
    assert isinstance(kind, torch.dtype)
    state = {name: t.to(kind) if t.is_floating_point() else t for name, t in state.items()}
    try:
        model.load_state_dict(state, assign=True)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:3]]
        raise StorageError(
            f"{file} does not fit the architecture {config['architecture']!r}: {' '.join(lines)}"
        ) from None
    return model


def _is_side(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_SIDE


def form_of_config(config: dict[str, Any], file: Path) -> ImageForm:
    """Return how a picture becomes an input, as far as a config says.

    Args:
        config: of the model; ``["image"]["shape"]``, or the architecture's options, hold the size.
        file: of the weights, for messages.

    Raises:
        StorageError: if the config says nothing, or no size that can be.
    """
    options, image = config.get("options", {}), config.get("image", {})
    channels = int(options.get("in_channels", 1))
    if isinstance(image, dict) and "shape" in image:
        shape = image["shape"]
        if not isinstance(shape, list) or len(shape) != 2 or not all(_is_side(side) for side in shape):
            raise StorageError(f"{file.parent / 'config.json'}: image.shape should be [height, width].")
        height, width = shape
    elif "image_size" in options:
        height, width = options["image_size"]
    else:
        side = math.isqrt(int(options["widths"][0]))
        if side * side != options["widths"][0]:
            raise StorageError(
                f"{file}: its first layer reads {options['widths'][0]} values, which is no square picture. "
                "Give form=ImageForm(height, width, channels)."
            )
        height = width = side
    return ImageForm(int(height), int(width), channels)
