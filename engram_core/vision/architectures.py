"""Plain architectures that a ``config.json`` can name, built without any code from the file."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeGuard

from torch import nn

from ..errors import DataError, suggest

__all__ = ["architecture_names", "build"]


def architecture_names() -> list[str]:
    """Return the names that ``config["architecture"]`` may hold."""
    return sorted(_BUILDERS)


def build(config: Mapping[str, Any]) -> nn.Module:
    """Build the model that `config` describes, with fresh weights from torch's default generator.

    Built under ``torch.device("meta")`` it draws no random numbers and holds no memory.

    Args:
        config: ``config["architecture"]`` is one of :func:`architecture_names`;
            ``config["options"]`` holds that architecture's options:

            * ``mlp``: ``widths`` (input, hidden …, classes), ``bias`` (default true). Input of shape
              (inputs, …) with as many values per input as the first width. Layers ``fc1``, ``fc2``, …
            * ``cnn``: ``image_size`` (height, width), ``in_channels`` (default 1), ``channels`` (one
              width per convolution), ``kernel`` (odd, default 3; the padding keeps the size),
              ``pools`` (kernel and stride of the max-pooling after each convolution), ``widths``
              (hidden Linear widths, may be empty), ``classes``. Input of shape (inputs, in_channels,
              height, width). Layers ``conv1``, ``bn1``, ``conv2``, …, ``fc1``, ``fc2``, …

    Returns:
        An ``nn.Sequential`` in training mode whose output has shape (inputs, classes).

    Raises:
        UnknownNameError: if the architecture or one of its options does not exist.
        DataError: if something is missing or of a wrong form; the message names the option.
    """
    if not isinstance(config, Mapping) or "architecture" not in config:
        raise DataError('A model config needs "architecture", e.g. "mlp"; found none.')
    name = config["architecture"]
    if name not in _BUILDERS:
        raise suggest("architecture", name, architecture_names())
    options = config.get("options", {})
    if not isinstance(options, Mapping):
        raise DataError(f'"options" of architecture {name!r} must be a mapping; found {options!r}.')
    function, known = _BUILDERS[name]
    for option in options:
        if option not in known:
            raise suggest(f"option of architecture {name!r}", option, known)
    return function(_Options(name, options))


class _Options:
    """The options of one architecture, checked as they are read."""

    def __init__(self, architecture: str, values: Mapping[str, Any]) -> None:
        self.architecture = architecture
        self.values = values

    def error(self, option: str, expected: str) -> DataError:
        found = repr(self.values[option]) if option in self.values else "nothing"
        return DataError(
            f"Option {option!r} of architecture {self.architecture!r} must be {expected}; found {found}."
        )

    def integer(self, option: str, default: int | None = None) -> int:
        value = self.values.get(option, default)
        if not _is_size(value):
            raise self.error(option, "a whole number of at least 1")
        return value

    def boolean(self, option: str, default: bool) -> bool:
        value = self.values.get(option, default)
        if not isinstance(value, bool):
            raise self.error(option, "true or false")
        return value

    def integers(self, option: str, *, least: int = 1, exactly: int | None = None) -> list[int]:
        value = self.values.get(option)
        expected = (
            f"a list of {exactly if exactly is not None else f'{least} or more'} whole numbers, each ≥ 1"
        )
        if not _is_list(value) or not all(_is_size(item) for item in value):
            raise self.error(option, expected)
        if len(value) < least or (exactly is not None and len(value) != exactly):
            raise self.error(option, expected)
        return list(value)


def _is_size(value: Any) -> TypeGuard[int]:
    # JSON's true is an int in Python; as a width it is a mistake.
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_list(value: Any) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _linear_layers(widths: Sequence[int], *, bias: bool) -> Mapping[str, nn.Module]:
    """Return fc1, relu, fc2, …: a ReLU between two Linear layers, none after the last."""
    layers: dict[str, nn.Module] = {}
    last = len(widths) - 1
    for i in range(1, len(widths)):
        layers[f"fc{i}"] = nn.Linear(widths[i - 1], widths[i], bias=bias)
        if i < last:
            # Never in place: that would overwrite the output a recording hook has just seen.
            layers[f"fc{i}_relu"] = nn.ReLU()
    return layers


def _mlp(options: _Options) -> nn.Module:
    widths = options.integers("widths", least=2)
    layers = OrderedDict[str, nn.Module](flatten=nn.Flatten())
    layers.update(_linear_layers(widths, bias=options.boolean("bias", True)))
    return nn.Sequential(layers)


def _cnn(options: _Options) -> nn.Module:
    height, width = options.integers("image_size", exactly=2)
    channels = [options.integer("in_channels", 1), *options.integers("channels")]
    kernel = options.integer("kernel", 3)
    if kernel % 2 == 0:
        raise options.error("kernel", "odd, so that the padding keeps the image's size")
    pools = _pools(options, len(channels) - 1)
    hidden = options.integers("widths", least=0)
    classes = options.integer("classes")

    layers = OrderedDict[str, nn.Module]()
    for i, (size, stride) in enumerate(pools, start=1):
        # BatchNorm subtracts the mean, so a bias before it would have no effect.
        layers[f"conv{i}"] = nn.Conv2d(channels[i - 1], channels[i], kernel, padding=kernel // 2, bias=False)
        layers[f"bn{i}"] = nn.BatchNorm2d(channels[i])
        layers[f"conv{i}_relu"] = nn.ReLU()
        layers[f"pool{i}"] = nn.MaxPool2d(size, stride)
        if min(height, width) < size:
            raise options.error(
                "pools", f"no larger than the image, which is {height}×{width} at pooling {i}"
            )
        height, width = (height - size) // stride + 1, (width - size) // stride + 1
    layers["flatten"] = nn.Flatten()
    layers.update(_linear_layers([channels[-1] * height * width, *hidden, classes], bias=True))
    return nn.Sequential(layers)


def _pools(options: _Options, count: int) -> list[tuple[int, int]]:
    pools = options.values.get("pools")
    if (
        not _is_list(pools)
        or len(pools) != count
        or not all(_is_list(pair) and len(pair) == 2 and all(map(_is_size, pair)) for pair in pools)
    ):
        raise options.error("pools", f"a list of {count} pairs [kernel, stride], one for each convolution")
    return [(size, stride) for size, stride in pools]


_BUILDERS: dict[str, tuple[Callable[[_Options], nn.Module], tuple[str, ...]]] = {
    "mlp": (_mlp, ("widths", "bias")),
    "cnn": (_cnn, ("image_size", "in_channels", "channels", "kernel", "pools", "widths", "classes")),
}
