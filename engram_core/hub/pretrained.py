"""Load a checked folder with transformers: from the files that were checked, and whole or not at all."""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ..errors import EngramError, StorageError, with_article
from ..libraries import TRANSFORMERS, first_line, foreign_errors, maps_weights, need, quiet
from ..storing.workplaces import Scratch
from .folder import ModelFolder
from .json_file import read_json

__all__ = ["load_pretrained"]

_SLACK = 1 << 22
"""Weights that a model may have beyond twice what is stored: small ones have heads that are not stored."""
_MOST_CONSTANTS = 1 << 30  # bytes
_OTHERWISE = "From Python, engram_core.record takes any model with inputs of your own"
_HARMLESS = ("position_ids", "inv_freq", "masked_bias", "attn.bias", "attention.bias", "token_type_ids")
"""Constants that older versions stored; they are made anew, and no weight is lost with them."""


@contextmanager
def _view(folder: ModelFolder) -> Iterator[Path]:
    """Yield a folder with the config and the weights that were checked, and nothing else.

    transformers chooses among the files it finds: a whole file before parts, an adapter, another library's
    format. Here it finds one choice.
    """
    with Scratch("model") as place:
        (place / "config.json").write_text(json.dumps(folder.config), encoding="utf-8")
        generation = folder.path / "generation_config.json"
        if generation.is_file():
            (place / generation.name).write_text(json.dumps(read_json(generation)), encoding="utf-8")
        if len(folder.weights) == 1:
            _link(folder.weights[0], place / "model.safetensors")
        else:
            names = {file: f"part-{i:05}.safetensors" for i, file in enumerate(folder.weights)}
            for file, name in names.items():
                _link(file, place / name)
            index = {"metadata": {}, "weight_map": {n: names[t.file] for n, t in folder.tensors.items()}}
            (place / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
        yield place


def _link(file: Path, place: Path) -> None:
    try:
        place.symlink_to(file.resolve())
    except OSError:  # a system without links
        shutil.copyfile(file, place)


def load_pretrained(folder: ModelFolder, auto: Any, known: Any, what: str, *, dtype: Any, device: Any) -> Any:
    """Load a checked folder's model, in evaluation mode; every weight must come from the folder, and be used.

    Args:
        folder: from `inspect_folder`.
        auto: transformers' class that picks the model's own class.
        known: model types that class knows, with the names of those classes.
        what: the kind of model in words, for messages.
        dtype: torch type of the weights.
        device: where to.

    Returns:
        The model.

    Raises:
        StorageError: an unknown kind of model, or weights that do not fit.
    """
    transformers = need("transformers", what)
    _check_kind(folder, transformers, known, what)
    # One lock around the whole: what is kept from printing is so for the whole process.
    with TRANSFORMERS, quiet(transformers), _view(folder) as place:
        try:
            _check_size(folder, transformers, auto, place)
            model, found = auto.from_pretrained(
                place, dtype=dtype, local_files_only=True, use_safetensors=True, trust_remote_code=False,
                output_loading_info=True, ignore_mismatched_sizes=True, **_how_read(transformers),
            )  # fmt: skip
        except EngramError:
            raise
        except BaseException as error:  # of whatever kind: none of them is ours
            if not foreign_errors(error):
                raise
            said = first_line(error).replace(str(place), str(folder.path))
            kind = type(error).__name__
            if kind.startswith("StrictDataclass"):
                raise StorageError(f"{folder.path / 'config.json'}: {_entry(folder, said)}.") from None
            raise StorageError(
                f"{folder.path} cannot be loaded: {said} ({kind}). Its config.json does not describe these "
                "weights, or a file is damaged."
            ) from None
    folder.check_unchanged()
    _check_whole(folder, type(model).__name__, found)
    # A setting of old scripts, under which a model's parts cannot read one another's answers.
    model.config.return_dict = True
    # Not where the view was: who saves or names the model wants the folder it is from.
    model.name_or_path = model.config._name_or_path = os.fspath(folder.path)
    return model.to(device).eval()


def _entry(folder: ModelFolder, said: str) -> str:
    """Return what transformers says of an entry of a config, without the names of its own parts."""
    field = re.match(r"Validation error for field '(\w+)'", said)
    if field is None:
        return re.sub(r"^Class validation error for validator '\w+': (\w+: )?", "", said)
    value = repr(folder.config.get(field[1]))
    value = value if len(value) <= 60 else value[:57] + "…"
    return f"{field[1]} is {value}, which this kind of model does not take"


def _how_read(transformers: Any) -> dict[str, Any]:
    """Return the option that has weights read and not mapped, where that is wanted and can be had."""
    known = inspect.signature(transformers.PreTrainedModel.from_pretrained).parameters
    return {"disable_mmap": True} if not maps_weights() and "disable_mmap" in known else {}


def _check_size(folder: ModelFolder, transformers: Any, auto: Any, place: Path) -> None:
    """Build the model without memory, and compare what it would hold with what the files hold.

    transformers makes every weight that the files lack, at full size, before it says that they lack it.
    """
    config = transformers.AutoConfig.from_pretrained(place, local_files_only=True, trust_remote_code=False)
    with torch.device("meta"):
        bare = auto.from_config(config, trust_remote_code=False)
    wanted = sum(p.numel() for p in bare.parameters())
    stored = sum(tensor.count for tensor in folder.tensors.values())
    if wanted > 2 * stored + _SLACK:
        raise StorageError(
            f"{folder.path}: config.json asks for {wanted:,} weights, and the files hold {stored:,}: they "
            "are not of one model."
        )
    nbytes = sum(b.numel() * b.element_size() for b in bare.buffers())
    if nbytes > _MOST_CONSTANTS:
        raise StorageError(
            f"{folder.path}: config.json asks for {nbytes / 2**30:,.1f} GB of constants beside the weights; "
            f"at most {_MOST_CONSTANTS >> 30} GB are made."
        )


def _check_kind(folder: ModelFolder, transformers: Any, known: Any, what: str) -> None:
    kind = folder.model_type
    if kind not in known:
        every = transformers.models.auto.configuration_auto.CONFIG_MAPPING_NAMES
        if not kind:
            said = "its config.json names no model_type"
        elif kind in every:
            said = f"{kind!r} is no {what}. {_OTHERWISE}"
        else:
            said = f"transformers {transformers.__version__} does not know the architecture {kind[:80]!r}"
        raise StorageError(f"{folder.path} cannot be loaded as {with_article(what)}: {said}.")
    named = folder.config.get("architectures") or []
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise StorageError(f"{folder.path / 'config.json'}: architectures should be a list of class names.")
    for key in ("hidden_act", "hidden_activation", "activation_function"):
        named_act = folder.config.get(key)
        if named_act is not None and named_act not in list(transformers.activations.ACT2FN):
            raise StorageError(
                f"{folder.path / 'config.json'}: {key} is {str(named_act)[:60]!r}, and no activation is "
                "called so."
            )
    classes = known[kind]
    mine = {name.casefold() for name in ((classes,) if isinstance(classes, str) else classes)}
    others = [name for name in named if name in dir(transformers)]
    # A base model without a head is whole where the head is tied; what is missing is found when it is loaded.
    if others and not any(name.casefold() in mine or name.endswith("Model") for name in others):
        raise StorageError(
            f"{folder.path} cannot be loaded as {with_article(what)}: its config.json says that the weights "
            f"are of {with_article(others[0])}. {_OTHERWISE}."
        )


def _check_whole(folder: ModelFolder, kind: str, found: dict[str, Any]) -> None:
    """Refuse what transformers fills up with random numbers, or leaves out, with a warning only."""
    wrong = sorted(found.get("mismatched_keys") or (), key=lambda entry: str(entry[0]))
    if wrong:
        name, stored, wanted = (*wrong[0], None, None)[:3]
        raise StorageError(
            f"{folder.path}: weights do not fit config.json: {len(wrong)} of other shapes, e.g. {name}: the "
            f"file holds {_shape(stored)}, and {with_article(kind)} of this config has {_shape(wanted)}."
        )
    missing = sorted(map(str, found["missing_keys"]))
    if missing:
        raise StorageError(
            f"{folder.path} lacks {len(missing)} weights of {with_article(kind)} ({_few(missing)}): the "
            "files belong to another model or to a part of one."
        )
    unused = sorted(
        name for name in map(str, found.get("unexpected_keys") or ()) if not name.endswith(_HARMLESS)
    )
    if unused:
        raise StorageError(
            f"{folder.path} holds {len(unused)} weights that {with_article(kind)} of this config has no "
            f"place for ({_few(unused)}): config.json is of a smaller or of another model."
        )
    if found.get("error_msgs"):
        raise StorageError(f"{folder.path} cannot be loaded: {str(found['error_msgs'][0])[:200]}.")


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (" …" if len(names) > 3 else "")


def _shape(shape: Any) -> str:
    return " × ".join(map(str, shape or ("another shape",)))
