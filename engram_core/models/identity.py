"""Which model is this? A content hash, and a guard against weights that changed since."""

from __future__ import annotations

import functools
import hashlib
import weakref
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..errors import ModelMismatchError
from .linear_maps.adapted_models import adapter_states
from .linear_maps.frozen import stored_tensors
from .linear_maps.parametrized import parametrization_buffers
from .view import base_of, plain_path

__all__ = ["ModelIdentity", "counters", "model_hash"]

_Versions = tuple[tuple[str, int, int, bytes], ...]
_Print = tuple[Any, ...]
_hashes: weakref.WeakKeyDictionary[nn.Module, tuple[_Versions, str]] = weakref.WeakKeyDictionary()
_prints: weakref.WeakKeyDictionary[nn.Module, tuple[_Versions, dict[str, _Print]]] = (
    weakref.WeakKeyDictionary()
)

_SAMPLED = 16  # values per parameter
_COLUMNS, _ROWS = 4096, 64  # of 8-byte words that are added up at a time: 2 MB, which caches hold


def _versions(model: nn.Module) -> _Versions:
    """Return what every parameter's address, change counter and a few values are: new after any edit."""
    named = _named(model)
    samples = [_sample(p) for _, p in named]
    if len({sample.device for sample in samples}) > 1:  # a model on several devices
        samples = [sample.cpu() for sample in samples]
    # One transfer for all of them. Compared as bytes, because NaN equals nothing, itself included.
    values = torch.cat(samples).cpu().numpy().tobytes() if samples else b""
    found, start = [], 0
    for (name, p), sample in zip(named, samples, strict=True):
        stop = start + 8 * sample.numel()
        # What is unpacked for a look lies elsewhere at every look.
        place = (_address(p), _counter(p)) if isinstance(p, nn.Parameter) else (0, 0)
        found.append((name, *place, values[start:stop]))
        start = stop
    return tuple(found)


def _named(model: nn.Module) -> list[tuple[str, Tensor]]:
    """Return the parameters by name, and what else decides over the weights in force.

    That is what quantised layers store, the buffers of parametrisations, and which adapters are on. The names
    are those of the model before any part of it is compiled.
    """
    nothing = torch.empty(0)
    named = [
        *model.named_parameters(remove_duplicate=False), *stored_tensors(model),
        *parametrization_buffers(model), *((state, nothing) for state in adapter_states(model)),
    ]  # fmt: skip
    return [(plain_path(name), t) for name, t in named if not is_lazy(t)]


def counters(model: nn.Module) -> tuple[tuple[int, int], ...]:
    """Return every parameter's address and change counter: far quicker than a look at the values.

    A write through ``.data`` leaves them as they are.

    Args:
        model: any model.
    """
    return tuple((_address(p), _counter(p)) for p in model.parameters() if not is_lazy(p))


def _address(parameter: Tensor) -> int:
    try:
        return parameter.data_ptr()
    except (RuntimeError, ValueError):  # subclasses without memory of their own
        return id(parameter)


def _counter(parameter: Tensor) -> int:
    if is_lazy(parameter) or parameter.is_inference():  # which have none
        return -1
    return parameter._version


def _sample(parameter: Tensor) -> Tensor:
    """Return a few values as float64: writing through `.data` leaves the change counter as it was."""
    parts = _parts(parameter)
    if not parts or not parts[0].numel():
        return torch.empty(0, dtype=torch.float64)
    part = parts[0]
    step = max(1, part.numel() // _SAMPLED)
    row = part.shape[-1] if part.ndim else 1
    if step % row == 0:  # not the same column each time: it may be one that no edit reaches
        step = max(1, step - 2 * row // 5)
    values = part.reshape(-1)[::step]
    return (torch.view_as_real(values).reshape(-1) if values.is_complex() else values).double()


def _parts(tensor: Tensor) -> list[Tensor]:
    """Return the plain tensors that hold a tensor's content; none if it has no content (meta, lazy)."""
    if is_lazy(tensor) or tensor.is_meta:
        return []
    tensor = tensor.detach()
    if hasattr(tensor, "__tensor_flatten__"):  # quantised and other wrappers
        return [part for name in tensor.__tensor_flatten__()[0] for part in _parts(getattr(tensor, name))]
    if tensor.layout is torch.sparse_coo:
        whole = tensor.coalesce()
        return [whole.indices(), whole.values()]
    if tensor.layout is not torch.strided:
        return [tensor.to_dense()]
    return [tensor.int_repr() if tensor.is_quantized else tensor.resolve_conj().resolve_neg()]


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def model_hash(model: nn.Module) -> str:
    """Return the SHA-256 of the model's class name and parameters (names, types, shapes, values).

    Buffers stay out: they may be caches that a forward pass fills. Only those of quantised and parametrised
    layers count, what such layers keep packed, and which adapters of PEFT are on. The result is remembered
    until a weight changes.

    Args:
        model: any model or view.
    """
    model = base_of(model)
    versions = _versions(model)
    known = _hashes.get(model)
    if known is not None and known[0] == versions:
        return known[1]
    digest = hashlib.sha256(type(model).__name__.encode())
    for name, parameter in sorted(_named(model), key=lambda pair: pair[0]):
        parts = _parts(parameter)
        shape = tuple(parameter.shape) if parts or parameter.is_meta else None
        digest.update(f"{name}|{parameter.dtype}|{shape}".encode())
        for part in parts:
            if part.numel():
                raw: Any = _bytes(part.cpu()).numpy()
                digest.update(raw)
    result = digest.hexdigest()
    _hashes[model] = (versions, result)
    return result


@functools.cache
def _weights(device: torch.device) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return (torch.randint(-(2**62), 2**62, (_COLUMNS,), generator=generator) * 2 + 1).to(device)


def _sum(tensor: Tensor) -> tuple[int, int]:
    """Return two numbers made of all bytes of a tensor and their places, at the speed of memory.

    Sums of 8-byte words by row and by column, weighed by the place and wrapping around: the same on every
    device. No change of one or two words leaves it as it is, and other changes practically never do.
    """
    flat = _bytes(tensor)
    size = flat.numel()
    whole = size // (8 * _COLUMNS) * 8 * _COLUMNS
    if size > whole:
        padded = torch.zeros(8 * _COLUMNS, dtype=torch.uint8, device=flat.device)
        padded[: size - whole] = flat[whole:]
        tail = [padded.view(torch.int64)[None]]
    else:
        tail = []
    words = flat[:whole].clone() if flat.storage_offset() % 8 else flat[:whole]
    chunks = [*words.view(torch.int64).view(-1, _COLUMNS).split(_ROWS), *tail] if whole else tail
    columns = torch.zeros(_COLUMNS, dtype=torch.int64, device=flat.device)
    rows = torch.zeros((), dtype=torch.int64, device=flat.device)
    start = 0
    for chunk in chunks:
        places = torch.arange(start, start + len(chunk), device=flat.device) * 2 + 1
        rows += (chunk.sum(1) * places * -7046029254386353131).sum()
        columns += chunk.sum(0) * (2 * start + 1)
        start += len(chunk)
    # Kept apart: the highest bit of a word is the same in both, and would cancel.
    return int(rows), int((columns * _weights(flat.device)).sum())


def _print(parameter: Tensor) -> _Print:
    parts = _parts(parameter)
    shape = tuple(parameter.shape) if parts or parameter.is_meta else None
    return (str(parameter.dtype), shape, *[_sum(part) for part in parts if part.numel()])


def _fingerprints(model: nn.Module, versions: _Versions) -> dict[str, _Print]:
    """Return what the content of every parameter comes down to, by name; remembered until one changes."""
    known, old = _prints.get(model), dict[str, tuple[Any, ...]]()
    if known is not None:
        if known[0] == versions:
            return known[1]
        old = {version[0]: version for version in known[0]}
    found: dict[str, _Print] = {}
    tied: dict[int, _Print] = {}
    for version, (name, p) in zip(versions, _named(model), strict=True):
        if known is not None and old.get(name) == version:
            found[name] = known[1][name]
        else:
            found[name] = tied[id(p)] if id(p) in tied else _print(p)
        tied[id(p)] = found[name]
    _prints[model] = (versions, found)
    return found


def forget(model: nn.Module) -> None:
    """Have the next look at a model read every weight again.

    Args:
        model: any model or view.
    """
    _hashes.pop(base_of(model), None)
    _prints.pop(base_of(model), None)


class ModelIdentity:
    """The model something was made from.

    The hash of a large model takes a second, so it is taken when a file is written or a loaded file
    meets a model. Until then the parameters' change counters and addresses stand for it, and, where these
    have changed, sums over all that the parameters hold.
    """

    def __init__(self, model: nn.Module | None = None, digest: str | None = None) -> None:
        self._model = None if model is None else weakref.ref(base_of(model))
        self._versions: _Versions = ()
        self._prints: dict[str, _Print] | None = None
        self._kind = "" if model is None else type(base_of(model)).__name__
        if model is not None:
            self._versions = _versions(base_of(model))
            self._prints = _fingerprints(base_of(model), self._versions)
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
        """Raise unless the parameters hold what they held, wherever they lie now."""
        now = _versions(model)
        if now == self._versions:
            return
        changed = self._changed(model, now)
        if changed:
            raise ModelMismatchError(
                f"The model's weights changed since it was recorded ({', '.join(changed[:3])}"
                f"{' …' if len(changed) > 3 else ''}). Record it again."
            )
        self._versions = now  # moved, or written with what was there before

    def _changed(self, model: nn.Module, now: _Versions) -> list[str]:
        mine, theirs = self._prints or {}, _fingerprints(model, now)
        return [name for name in sorted({*mine, *theirs}) if mine.get(name) != theirs.get(name)]

    def check(self, model: nn.Module) -> None:
        """Raise ModelMismatchError unless `model` (or its base) is the model this was made from.

        Args:
            model: the model to compare.
        """
        model = base_of(model)
        if self._model is not None and self._model() is model:
            self._unchanged(model)
            return
        if self._digest is None and self._model is not None and self._model() is None:
            # The model is gone, and its content is not: another with the same is as good.
            same = type(model).__name__ == self._kind and not self._changed(model, _versions(model))
            if same:
                self._digest = model_hash(model)
                return
        if model_hash(model) != self.digest:
            raise ModelMismatchError(
                f"This belongs to another model: it was made from one with hash {self.digest[:12]}…, "
                f"and this {type(model).__name__} has hash {model_hash(model)[:12]}…. "
                "Record this model, or load the weights the file was made from."
            )
