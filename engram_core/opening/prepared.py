"""A subject's engrams, from the cache or made: what model, concepts and settings determine is made once.

The library's `record` and `extract` write nothing to disk; commands and pages come through here.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..atlas import Atlas, extract
from ..concepts.concepts import ConceptSet
from ..concepts.tasks import Classification, Subject
from ..errors import EngramError, ModelMismatchError
from ..models import identity
from ..models.view import base_of
from ..progress import Progress
from ..recording.recording import record
from ..solving.spectrum import Sharpness
from ..storing.cache import cache_folder, discard, find, keep, only_one, slug
from ..storing.files import new_file
from ..storing.tensors import load_atlas, save_atlas

__all__ = ["Prepared", "atlas_key", "prepare", "prepared", "task_key"]

_FILE = "engrams.safetensors"
_WORTH = 1.0  # seconds of work; what takes less is done again


# -- which one is it ------------------------------------------------------------------------------


class _Unkeyed(Exception):
    """Something that cannot be told apart from others by its content."""


def atlas_key(subject: Subject, cut: float | None = None) -> str | None:
    """Return what an atlas depends on, as a hash; None if that cannot be known.

    The model (weights, buffers, structure, settings, code), what is recorded (every input, token and owner),
    the cut, and the code that computes. The sharpness is no part of it: it solves nothing.
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
    """Return what a base model's scores depend on beside its `atlas_key`; None if that cannot be known."""
    task, digest = subject.task, hashlib.sha256()
    try:
        if isinstance(task, Classification):
            _add(digest, (type(task).__name__, task.classes))
            _add(digest, {name: concept.probe for name, concept in subject.concepts.items()})
        else:
            from ..language import LanguageConcepts, Recall

            if type(task) is not Recall:
                return None
            asked = [(c.name, c.record, c.probe) for c in task.texts.concepts]
            digest.update(repr((task.split, task.template, asked)).encode())
            # What the tokenizer makes of every question, asked as the task asks.
            texts = LanguageConcepts(task.tokenizer, task.texts, template=task.template)
            for part in (texts, texts.held_out()):
                _add_concepts(digest, part, base_of(subject.model))
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
        told = [(k, v) for k, v in sorted(plain.items()) if _is_plain(v)]
        digest.update(repr((name, type(module).__qualname__, module.extra_repr(), told)).encode())
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


# -- preparing ------------------------------------------------------------------------------------


@dataclass
class Prepared:
    """A subject's atlas, and what is kept with it.

    Attributes:
        atlas: the engrams of all concepts.
        kept: whether it came from the cache.
        entry: name in the cache; None if it can have none.
        subject: what it is of.
        cut: as asked for.
        seconds: that it took to make.
    """

    atlas: Atlas
    kept: bool
    entry: str | None
    subject: Subject
    cut: float | None
    seconds: float

    def keep(self) -> None:
        """Write it to the cache, if it took long enough to be worth it; problems are only logged."""
        if self.kept or self.entry is None or self.seconds < _WORTH:
            return
        # A model whose files are mapped may have been changed by whoever writes into them.
        identity.forget(self.subject.model)
        self.atlas.identity.check(self.subject.model)
        if _entry_name(self.subject, atlas_key(self.subject, self.cut)) != self.entry:
            raise ModelMismatchError(
                "The model or its concepts were changed while they were recorded. Try again when nothing "
                "writes to their files."
            )
        atlas, about = self.atlas, f"{len(self.atlas.concepts)} concepts, {len(self.atlas.layers)} layers"
        spectra = {atlas.source_key(layer): atlas.spectrum(layer) for layer in atlas.layers}
        states = [spectrum.state(total=True)[0] for spectrum in spectra.values()]
        more = sum(t.numel() * t.element_size() for state in states for t in state.values())
        found = keep(
            self.entry,
            lambda folder: save_atlas(atlas, folder / _FILE, about={}, totals=True),
            size=int(1.1 * (atlas.nbytes + more)), kind="engrams", of=_name(self.subject), about=about,
        )  # fmt: skip
        self.kept = found is not None

    def scores(self) -> dict[str, float] | None:
        """Return the base's kept scores by concept, and the seconds per input as ``""``; None if unknown."""
        path = self._scores_file()
        try:
            told = json.loads(path.read_text(encoding="utf-8")) if path is not None else None
        except (OSError, ValueError):
            return None
        if not isinstance(told, dict) or set(told) - {""} != set(self.atlas.concepts):
            return None
        good = all(isinstance(v, (int, float)) and math.isfinite(v) for v in told.values())
        return {name: float(value) for name, value in told.items()} if good else None

    def keep_scores(self, scores: Mapping[str, float]) -> None:
        """Keep the base's scores beside the atlas, if that is kept."""
        path = self._scores_file()
        if path is not None and self.kept:
            with contextlib.suppress(EngramError), new_file(path) as temporary:
                temporary.write_text(json.dumps(dict(scores)), encoding="utf-8")

    def _scores_file(self) -> Path | None:
        root, key = cache_folder(), task_key(self.subject)
        if root is None or self.entry is None or key is None:
            return None
        folder = root / self.entry
        return folder / f"scores-{key[:16]}.json" if folder.is_dir() else None


def _name(subject: Subject) -> str:
    return str(getattr(subject, "name", type(base_of(subject.model)).__name__))


def _entry_name(subject: Subject, key: str | None) -> str | None:
    return None if key is None else f"{slug(_name(subject))}-engrams-{key[:16]}"


@contextlib.contextmanager
def prepared(
    subject: Subject, *, cut: float | None = None, progress: Progress | None = None, use_cache: bool = True
) -> Iterator[Prepared]:
    """Yield a subject's atlas; another process that wants the same waits until the block has ended.

    Whoever has something to show before it is written calls `Prepared.keep` afterwards, in the block.
    """
    key = atlas_key(subject, cut) if use_cache and cache_folder() is not None and _on_cpu(subject) else None
    entry = _entry_name(subject, key)

    def waiting(seconds: float) -> None:
        if progress is not None:
            progress(0, None, f"waiting {seconds:.0f} s for another process that prepares the same")

    with ExitStack() as stack:
        found = _read(subject, entry)
        if found is None and entry is not None:
            stack.enter_context(only_one(entry, waiting))
            found = _read(subject, entry)
        if found is not None:
            yield Prepared(found, True, entry, subject, cut, 0.0)
            return
        began = time.perf_counter()
        recording = record(subject.model, subject.concepts, progress=progress)
        atlas = extract(subject.model, recording, cut=cut, progress=progress)
        del recording
        yield Prepared(atlas, False, entry, subject, cut, time.perf_counter() - began)


def prepare(
    subject: Subject,
    *,
    cut: float | None = None,
    sharpness: float | Sharpness = 1.0,
    progress: Progress | None = None,
    use_cache: bool = True,
) -> Atlas:
    """Return the atlas of all concepts of a subject: from this machine's cache, or recorded, solved and kept.

    Equal to ``extract(model, record(model, concepts), cut=cut, sharpness=sharpness)``.
    The cache is a folder of this user (see `cache.cache_folder`); work of less than a second is not kept,
    nor is anything whose inputs or model cannot be told apart from others by their content (inputs that are
    iterators, models with hooks, models that are not on the CPU).

    Args:
        subject: a sample, or any `Subject`.
        cut: see `extract`.
        sharpness: see `extract`.
        progress: called with (done, total or None, text).
        use_cache: False neither reads nor writes it.

    Raises:
        EngramError: see `record` and `extract`.
    """
    with prepared(subject, cut=cut, progress=progress, use_cache=use_cache) as found:
        found.keep()
        atlas = found.atlas
    sharp = sharpness if isinstance(sharpness, Sharpness) else Sharpness(float(sharpness))
    return atlas if sharp == atlas.sharpness else atlas.sharpen(sharp.power, clip=sharp.clip)


def _on_cpu(subject: Subject) -> bool:
    return all(p.device.type == "cpu" for p in base_of(subject.model).parameters())


def _read(subject: Subject, entry: str | None) -> Atlas | None:
    folder = None if entry is None else find(entry)
    if folder is None:
        return None
    try:
        atlas = load_atlas(folder / _FILE, subject.model)
    except EngramError:  # gone since, or no atlas after all: it is made again, and takes this one's place
        discard(folder)
        return None
    return atlas
