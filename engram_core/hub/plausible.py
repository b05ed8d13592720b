"""Hold a config against the weights beside it, before anything of the size that it asks for is built.

A folder from elsewhere is data: a config may ask for a billion layers, heads that do not divide the width, or
an attention that is fetched as code. What the files hold (names, types and shapes, from their headers) bounds
what the config can mean.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import StorageError
from .safetensors_header import Stored

__all__ = ["check_plausible"]

_DEEPEST = 8
_LONGEST = 4096  # entries of a list; a class list is a dictionary
_DEPTHS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers")
_WIDTHS = ("hidden_size", "n_embd", "d_model")
_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads")
_GROUPED = ("num_key_value_heads", "n_head_kv", "num_kv_heads")
_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
_OWN_HEADS = re.compile(r"head_dim|d_kv|kv_channels|head_size")
_COUNT = re.compile(r"(^|_)(num|n)_[a-z_]+$|_(layers|heads|experts|blocks|groups|channels)$|^depths?$")
_SIZE = re.compile(r"_(size|sizes|dim|width|height|rank|embd|stride)$|^(width|height|channels)$")
_REACH = re.compile(r"^max_|_length$|^n_(positions|ctx)$|window|position")
_FURTHEST = 1 << 27
"""Tokens that a model may claim to reach; the longest today is ten million."""

_CODE = {
    "attn_implementation": ("eager", "sdpa"),
    "experts_implementation": ("eager", "batched_mm", "grouped_mm"),
}
_LABELS = ("id2label", "label2id", "task_specific_params")
"""Entries whose own entries bear names that the config's author gave."""
_TYPES = ("float32", "float16", "bfloat16", "float64")


def check_plausible(file: Path, config: Mapping[str, Any], tensors: Mapping[str, Stored]) -> None:
    """Check a config against the tensors it describes.

    Args:
        file: the config's, for messages.
        config: what it holds.
        tensors: of the weight files, by name.

    Raises:
        StorageError: naming the entry, what it says, and what the files hold.
    """
    held = _Held(tensors)
    for where, key, value in _entries(file, config):
        _check_code(file, where, key, value)
        _check_number(file, where, key, value, held)
    for part in (config, *(p for name in ("text_config",) if isinstance(p := config.get(name), dict))):
        _check_shape(file, part, held)


class _Held:
    """What the files hold: every dimension, the highest number in a name, and how much of all."""

    def __init__(self, tensors: Mapping[str, Stored]):
        self.dimensions = {size for stored in tensors.values() for size in stored.shape}
        self.widest = max(self.dimensions, default=1)
        numbers = (int(n) for name in tensors for n in re.findall(r"(?:^|\.)(\d{1,6})(?=\.)", name))
        self.repeated = max(numbers, default=-1) + 1
        self.largest = max(tensors, key=lambda name: tensors[name].count)
        self.shape = " × ".join(map(str, tensors[self.largest].shape))


def _entries(
    file: Path, value: Any, where: str = "", key: str = "", depth: int = 0
) -> Iterator[tuple[str, str, Any]]:
    """Yield the way to every entry, the name it stands under, and itself; lists count as their entries."""
    if depth > _DEEPEST:
        raise StorageError(f"{file}: {where[:80]} is nested deeper than {_DEEPEST} levels. It is no config.")
    if isinstance(value, Mapping):
        if where:
            yield where, key, value
        for name, inner in value.items():
            if name in _LABELS:
                continue
            path = f"{where}.{name}" if where else str(name)
            yield from _entries(file, inner, path, str(name), depth + 1)
    elif isinstance(value, list):
        if len(value) > _LONGEST:
            raise StorageError(
                f"{file}: {where[:80]} is a list of {len(value):,} entries; at most {_LONGEST:,} are read."
            )
        for inner in value:
            yield from _entries(file, inner, where, key, depth + 1)
    else:
        yield where, key, value


def _wrong(file: Path, where: str, value: Any, why: str) -> StorageError:
    said = repr(value)
    return StorageError(f"{file}: {where[:80]} is {said if len(said) <= 60 else said[:57] + '…'}; {why}.")


def _check_code(file: Path, where: str, key: str, value: Any) -> None:
    """Refuse what names code to be fetched, and types that are none."""
    for name, known in _CODE.items():
        # However it is spelled; a dictionary says it part by part, and its entries come here as well.
        if name in where.lower() and not isinstance(value, Mapping | bool) and value not in (None, *known):
            raise _wrong(
                file, where, value,
                f"that may be code from elsewhere. Known here: {', '.join(known)}. Remove it from a copy",
            )  # fmt: skip
    if key in ("use_kernels", "kernel_config", "custom_generate") and value:
        raise _wrong(
            file, where, value, "that asks for code from elsewhere. Remove it from a copy of the file"
        )
    if key in ("dtype", "torch_dtype") and not isinstance(value, Mapping):
        if value is not None and str(value).removeprefix("torch.") not in _TYPES:
            raise _wrong(file, where, value, f"a model's type is one of {', '.join(_TYPES)}")
    if key == "tie_word_embeddings" and not isinstance(value, bool | None):
        raise _wrong(file, where, value, "it should be true or false")


def _check_number(file: Path, where: str, key: str, value: Any, held: _Held) -> None:
    if isinstance(value, float) and math.isnan(value):
        raise _wrong(file, where, value, "it should be a number")
    strict = key in (*_DEPTHS, *_WIDTHS, *_HEADS, *_GROUPED, "vocab_size", "intermediate_size")
    if strict and value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        if not isinstance(value, Mapping):
            raise _wrong(file, where, value, "it should be a whole number of at least 1")
    if key in _DEPTHS and isinstance(value, int):
        return  # compared with the layers there are
    reach, count, size = _REACH.search(key), _COUNT.search(key), _SIZE.search(key)
    if not (reach or count or size):
        if isinstance(value, int) and abs(value) > 2**53:
            raise _wrong(file, where, value, "no entry of a config is that large")
        return
    if isinstance(value, str) and re.fullmatch(r"\s*[-+]?\d+(\.\d*)?\s*", value):
        raise _wrong(file, where, value, "it should be a number, not a text")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    most = _FURTHEST if reach else max(held.widest, 4096) if count else max(64 * held.widest, 1 << 20)
    if not -1 <= value <= most and not (isinstance(value, float) and math.isinf(value)):
        raise _wrong(
            file, where, value,
            f"the largest of the weights beside it ({held.largest[:80]}) is {held.shape}",
        )  # fmt: skip


def _check_shape(file: Path, config: Mapping[str, Any], held: _Held) -> None:
    """Compare what every part of a model has in common: its width, vocabulary, depth and heads."""
    for key in (*_WIDTHS, "vocab_size"):
        value = config.get(key)
        if isinstance(value, int) and value not in held.dimensions:
            raise _wrong(
                file, key, value,
                f"no weight beside it has that size; the largest ({held.largest[:80]}) is {held.shape}: "
                "weights do not fit config.json",
            )  # fmt: skip
    for key in _DEPTHS:
        value = config.get(key)
        # Some models use one layer many times; none does so that often.
        if isinstance(value, int) and value > max(held.repeated, 128):
            raise _wrong(file, key, value, f"the weights beside it are of {held.repeated} layers")
    for key in _EXPERTS:
        value = config.get(key)
        if isinstance(value, int) and value > max(held.repeated, 8) and value not in held.dimensions:
            raise _wrong(file, key, value, f"no weight beside it is of so many; the largest is {held.shape}")
    width = next((config[key] for key in _WIDTHS if isinstance(config.get(key), int)), None)
    heads = next((config[key] for key in _HEADS if isinstance(config.get(key), int)), None)
    if width and heads and width % heads and not any(_OWN_HEADS.search(k) and v for k, v in config.items()):
        raise StorageError(
            f"{file}: {heads} attention heads do not divide the width {width}, and it names no head_dim."
        )
    for key in _GROUPED if not config.get("kv_lora_rank") else ():  # where keys are made from one code
        value = config.get(key)
        if heads and isinstance(value, int) and value >= 1 and heads % value:
            raise StorageError(f"{file}: {key} {value} does not divide the {heads} attention heads.")
