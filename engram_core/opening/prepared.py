"""A subject's engrams, from the cache or made: what model, concepts and settings determine is made once.

The library's `record` and `extract` write nothing to disk; commands and pages come through here.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ..atlas import Atlas, extract
from ..concepts.tasks import Subject
from ..errors import EngramError, ModelMismatchError
from ..models import identity
from ..models.view import base_of
from ..progress import Progress
from ..recording.record import record
from ..solving.filters import Sharpness
from ..storing.cache import find, only_one, slug, store
from ..storing.cache_settings import cache_folder
from ..storing.files import discard, new_file
from .keys import atlas_key, task_key

__all__ = ["Prepared", "prepare", "prepared"]

_FILE = "engrams.safetensors"
_WORTH = 1.0  # seconds of work; what takes less is done again


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

    def store(self) -> None:
        """Write it to the cache, if it took long enough to be worth it; problems are only logged.

        Raises:
            ModelMismatchError: if the model or its concepts were changed meanwhile.
        """
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
        found = store(
            self.entry,
            lambda folder: atlas.save(folder / _FILE, about={}, totals=True),
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

    def write_scores(self, scores: Mapping[str, float]) -> None:
        """Keep the base's scores beside the atlas, if that is kept.

        Args:
            scores: by concept, and the seconds per input as "".
        """
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

    Whoever has something to show before it is written calls `Prepared.store` afterwards, in the block.

    Args:
        subject: a sample, or any `Subject`.
        cut: see `extract`.
        progress: called with (done, total or None, text).
        use_cache: False neither reads nor writes it.
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
        found.store()
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
        atlas = Atlas.load(folder / _FILE, subject.model)
    except EngramError:  # gone since, or no atlas after all: it is made again, and takes this one's place
        discard(folder)
        return None
    return atlas
