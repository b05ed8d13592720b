"""Which model is this? A content hash, and a guard against weights that changed since."""

from __future__ import annotations

import hashlib
import weakref
from typing import Any

import torch
from torch import Tensor, nn

from .errors import ModelMismatchError
from .view import base_of

__all__ = ["ModelIdentity", "model_hash"]

_Versions = tuple[tuple[str, int, int, bytes], ...]
_hashes: weakref.WeakKeyDictionary[nn.Module, tuple[_Versions, str]] = weakref.WeakKeyDictionary()

_SAMPLED = 16  # values per parameter


def _versions(model: nn.Module) -> _Versions:
    """Return what every parameter's address, change counter and a few values are: new after any edit."""
    named = list(model.named_parameters(remove_duplicate=False))
    samples = [_sample(p) for _, p in named]
    # One transfer for all of them. Compared as bytes, because NaN equals nothing, itself included.
    values = torch.cat(samples).cpu().numpy().tobytes() if samples else b""
    found, start = [], 0
    for (name, p), sample in zip(named, samples, strict=True):
        stop = start + 8 * sample.numel()
        found.append((name, p.data_ptr(), _counter(p), values[start:stop]))
        start = stop
    return tuple(found)


def _counter(parameter: Tensor) -> int:
    return -1 if parameter.is_inference() else parameter._version  # inference tensors have none


def _sample(parameter: Tensor) -> Tensor:
    """Return a few values as float64: writing through `.data` leaves the change counter as it was."""
    if parameter.is_meta or not parameter.numel():
        return torch.empty(0, dtype=torch.float64)
    step = max(1, parameter.numel() // _SAMPLED)
    row = parameter.shape[-1] if parameter.ndim else 1
    if step % row == 0:  # not the same column each time: it may be one that no edit reaches
        step = max(1, step - 2 * row // 5)
    return parameter.detach().reshape(-1)[::step].double()


def _bytes(tensor: Tensor) -> Any:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy()


def model_hash(model: nn.Module) -> str:
    """Return the SHA-256 of the model's class name and parameters (names, types, shapes, values).

    Buffers stay out: they may be caches that a forward pass fills. The result is remembered until a
    weight changes.
    """
    model = base_of(model)
    versions = _versions(model)
    known = _hashes.get(model)
    if known is not None and known[0] == versions:
        return known[1]
    digest = hashlib.sha256(type(model).__name__.encode())
    for name, parameter in sorted(model.named_parameters(remove_duplicate=False)):
        digest.update(f"{name}|{parameter.dtype}|{tuple(parameter.shape)}".encode())
        if parameter.numel():
            digest.update(_bytes(parameter))
    result = digest.hexdigest()
    _hashes[model] = (versions, result)
    return result


class ModelIdentity:
    """The model something was made from.

    The hash of a large model takes a second, so it is taken when a file is written or a loaded file
    meets a model, and until then the parameters' change counters stand for it.
    """

    def __init__(self, model: nn.Module | None = None, digest: str | None = None) -> None:
        self._model = None if model is None else weakref.ref(base_of(model))
        self._versions = None if model is None else _versions(base_of(model))
        self._digest = digest

    @property
    def digest(self) -> str:
        """SHA-256 of the model as it was.

        Raises:
            ModelMismatchError: if the model is gone or was changed before its hash was ever taken.
        """
        if self._digest is None:
            model = None if self._model is None else self._model()
            if model is None:
                raise ModelMismatchError(
                    "The model this was made from no longer exists, so its hash cannot be taken. "
                    "Keep the model until the file is saved."
                )
            self._unchanged(model)
            self._digest = model_hash(model)
        return self._digest

    def _unchanged(self, model: nn.Module) -> None:
        now = _versions(model)
        if now != self._versions:
            changed = sorted({n for n, *_ in set(now) ^ set(self._versions or ())})
            raise ModelMismatchError(
                f"The model's weights changed since it was recorded ({', '.join(changed[:3])}"
                f"{' …' if len(changed) > 3 else ''}). Record it again."
            )

    def check(self, model: nn.Module) -> None:
        """Raise ModelMismatchError unless `model` (or its base) is the model this was made from."""
        model = base_of(model)
        if self._model is not None and self._model() is model:
            self._unchanged(model)
            return
        if model_hash(model) != self.digest:
            raise ModelMismatchError(
                f"This belongs to another model: it was made from one with hash {self.digest[:12]}…, "
                f"and this {type(model).__name__} has hash {model_hash(model)[:12]}…. "
                "Record this model, or load the weights the file was made from."
            )
