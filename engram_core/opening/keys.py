"""What a result depends on, as a hash: two results of one key are one and the same."""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..concepts.concepts import ConceptSet
from ..concepts.tasks import Subject
from ..errors import EngramError
from ..models import identity
from ..models.view import base_of

__all__ = ["atlas_key", "task_key"]


class _Unkeyed(Exception):
    """Something that cannot be told apart from others by its content."""


def atlas_key(subject: Subject, cut: float | None = None) -> str | None:
    """Return what an atlas depends on, as a hash; None if that cannot be known.

    The model (weights, buffers, structure, settings, code), what is recorded (every input, token and owner),
    the cut, and the code that computes. The sharpness is no part of it: it solves nothing.

    Args:
        subject: a model with concepts and a task.
        cut: see `extract`.
    """
    model = base_of(subject.model)
    digest = hashlib.sha256()
    try:
        for part in (_computed_by(), identity.model_hash(model), _structure(model), repr(cut)):
            digest.update(part.encode() + b"\n")
        _add_concepts(digest, subject.concepts, model)
    except Exception:  # code of others runs here; what is wrong with it is said when it is recorded
        return None
    return digest.hexdigest()


def task_key(subject: Subject) -> str | None:
    """Return what a base model's scores depend on beside its `atlas_key`; None if that cannot be known.

    Args:
        subject: a model with concepts and a task.
    """
    digest, model = hashlib.sha256(), base_of(subject.model)
    try:
        parts = subject.task.depends_on(subject.concepts)
        if parts is None:
            return None
        for part in parts:
            if isinstance(part, ConceptSet):
                _add_concepts(digest, part, model)
            else:
                _add(digest, part)
    except (_Unkeyed, EngramError):
        return None
    return digest.hexdigest()


@cache
def _computed_by() -> str:
    """Return a hash of the code that computes, so that no result outlives it."""
    folder, digest = Path(__file__).parents[1], hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        name = file.relative_to(folder)
        if name.parts[0] not in ("commands", "sample_models"):  # which only show, and train
            digest.update(name.as_posix().encode() + b"\n" + file.read_bytes())
    versions = {"python": platform.python_version(), "machine": platform.machine()}
    for package in ("torch", "numpy", "scipy", "transformers", "tokenizers"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    digest.update(json.dumps(versions).encode())
    return digest.hexdigest()


def _structure(model: nn.Module) -> str:
    """Return what a forward pass depends on beside the weights: buffers, modules, settings and code."""
    digest = hashlib.sha256()
    for name, module in model.named_modules():
        if module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module):
            raise _Unkeyed  # anything may happen there
        plain = {k: v for k, v in vars(module).items() if not k.startswith("_") and k != "training"}
        attributes = [(k, v) for k, v in sorted(plain.items()) if _is_plain(v)]
        digest.update(repr((name, type(module).__qualname__, module.extra_repr(), attributes)).encode())
    for kind in sorted({type(m) for m in model.modules()}, key=lambda k: (k.__module__, k.__qualname__)):
        for parent in kind.__mro__:
            if not parent.__module__.startswith("torch."):
                digest.update(repr([_code(v) for v in vars(parent).values()]).encode())
    for name, buffer in model.named_buffers():
        digest.update(name.encode())
        _add(digest, buffer)
    config: Any = getattr(model, "config", None)
    if hasattr(config, "to_dict"):
        settings = {k: v for k, v in config.to_dict().items() if k != "_name_or_path"}
        digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
    return digest.hexdigest()


def _is_plain(value: Any) -> bool:
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return all(_is_plain(each) for each in value)
    return value is None or isinstance(value, (str, bytes, int, float, torch.dtype))


def _code(value: Any) -> Any:
    """Return a function's code as data; of a code object's constants some are code themselves."""
    value = getattr(value, "__func__", value)
    if isinstance(value, FunctionType):
        value = value.__code__
    if isinstance(value, CodeType):
        return (value.co_code, value.co_names, [_code(each) for each in value.co_consts])
    return repr(value) if value is None or isinstance(value, (str, bytes, int, float, tuple)) else ""


def _add_concepts(digest: Any, concepts: ConceptSet, model: nn.Module) -> None:
    prepared = concepts.prepared(model)
    if prepared is None:
        for name, concept in concepts.items():
            _add(digest, (name, concept.record))
        _add(digest, concepts.background)
        return
    names, stream, _, total = prepared
    _add(digest, (names, total))
    for _said, batch, owner in stream:
        _add(digest, (batch.args, dict(batch.kwargs), owner))


def _add(digest: Any, value: Any) -> None:
    """Take in a value with its form, so that no two values give the same bytes."""
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value) if value.dtype.isnative and value.dtype != object else _refused()
    if isinstance(value, Tensor):
        if value.layout != torch.strided or value.is_meta or value.is_quantized or value.is_nested:
            raise _Unkeyed
        digest.update(f"{value.dtype}|{tuple(value.shape)}|".encode())
        flat = value.detach().cpu().contiguous().reshape(-1)
        content: Any = flat.view(torch.uint8).numpy() if flat.numel() else b""
        digest.update(content)
    elif isinstance(value, Mapping):
        digest.update(f"mapping {len(value)}|".encode())
        for key, each in value.items():
            _add(digest, str(key))
            _add(digest, each)
    elif isinstance(value, (tuple, list)):
        digest.update(f"{type(value).__name__} {len(value)}|".encode())
        for each in value:
            _add(digest, each)
    elif value is None or isinstance(value, (str, int, float, bool)):
        digest.update(f"{value!r}|".encode())
    else:
        raise _Unkeyed  # an iterator would be used up by looking at it


def _refused() -> Any:
    raise _Unkeyed
