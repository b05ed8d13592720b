"""The edited model, its adapters and its engrams as files: made on request, and deleted again."""

from __future__ import annotations

import json
import shutil
import threading
import weakref
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors import SafetensorError
from safetensors.torch import save_file

import engram_core as ec
from engram_core.errors import EngramError
from engram_core.language import about_texts, adapter_folders, atlas_settings, save_edited, save_lora
from engram_core.language.export import edit_record
from engram_core.language.lora import check_lora, lora_bytes
from engram_core.models.view import model_bytes
from engram_core.progress import Progress
from engram_core.solving.atlas_state import atlas_bytes
from engram_core.storing.workplaces import Scratch

from ..choice.choice import ERASE, Choice
from ..server.base import Base
from ..server.fair_lock import COMPUTE_LOCK
from .edited_view import edited_view

__all__ = ["ADAPTERS", "ATLAS", "KEPT", "MODEL", "Taken", "kinds", "make", "refusal", "size"]

MODEL, ADAPTERS, ATLAS = "Edited model", "LoRA adapters", "Engrams"
KEPT = 15 * 60.0
"""Seconds that a file is kept for whoever asked for it."""

Step = Callable[[float, str], None]
"""Called with the share done and what is being done; may raise, to give up."""


class Taken:
    """A file on its way to a visitor: deleted when it is let go, after `KEPT` seconds at the latest.

    Attributes:
        path: where it lies.
        name: what it is called when it is downloaded.
        bytes: its size.
        errors: of adapters: concept, layer, rank, error; else None.
    """

    def __init__(self, path: Path, name: str, scratch: Scratch, errors: pd.DataFrame | None = None) -> None:
        self.path, self.name, self.errors = path, name, errors
        self.bytes = path.stat().st_size
        self._delete = weakref.finalize(self, scratch.delete)
        # A visitor who leaves without a word may be remembered for hours.
        self._timer = threading.Timer(KEPT, self._delete)
        self._timer.daemon = True
        self._timer.start()

    @property
    def there(self) -> bool:
        """Whether it has not been deleted yet."""
        return self._delete.alive and self.path.is_file()

    def delete(self) -> None:
        """Delete it now."""
        self._timer.cancel()
        self._delete()


def kinds(base: Base) -> tuple[str, ...]:
    """Return what can be taken away from a model."""
    return (MODEL, ADAPTERS, ATLAS) if base.is_text else (MODEL, ATLAS)


def refusal(base: Base, choice: Choice, kind: str) -> str:
    """Return why this cannot be taken away as things stand, in a sentence; "" if it can."""
    if kind == ATLAS:
        return ""
    if not choice.changes:
        return "Nothing is erased, so the edited model is the base. Choose a concept first."
    if kind == MODEL:
        return ""
    if choice.mode != ERASE:
        return "An adapter erases a concept; to isolate concepts, export the whole edited model."
    if choice.scaling != "plain":
        return "An adapter holds an engram at one strength in all its layers: choose plain scaling."
    try:
        for strength in _taken(choice).values():
            check_lora(base.variant(choice.power, choice.clip), strength=strength, layers=list(choice.layers))
    except EngramError as error:
        return str(error)
    return ""


def _taken(choice: Choice) -> dict[str, float]:
    return {name: strength for name, strength in choice.strengths.items() if strength}


def size(base: Base, choice: Choice, kind: str, rank: int | None = None, *, every: bool = True) -> int:
    """Return about how many bytes the file will have; see `make`."""
    if kind == MODEL:
        return model_bytes(base.sample.model)
    atlas = base.variant(choice.power, choice.clip)
    if kind == ADAPTERS:
        return sum(lora_bytes(atlas, name, rank=rank, layers=choice.layers) for name in _taken(choice))
    return atlas_bytes(atlas, None if every else choice.concepts)


def make(
    base: Base, choice: Choice, kind: str, *, rank: int | None = None, every: bool = True, step: Step
) -> Taken:
    """Make the file that is exported.

    Args:
        base: the model.
        choice: the edit; its sharpness counts for all kinds.
        kind: one of `kinds`.
        rank: of adapters: cut every layer to it; None keeps the whole engram.
        every: of engrams: those of all concepts, or of the chosen ones only.
        step: told how far it is; between two calls this has the machine to itself.

    Returns:
        The file, on its way to the visitor.

    Raises:
        EngramError: if the core refuses, or there is no room on the disk.
    """
    try:
        scratch = Scratch("take")
    except OSError as error:
        raise EngramError(f"The file could not be written: {error.strerror or error}.") from error
    try:
        folder = scratch.path
        needed = size(base, choice, kind, rank, every=every)
        needed *= 1 if kind == ATLAS else 2  # the folder, and its archive
        if needed > shutil.disk_usage(folder).free:
            raise EngramError(
                f"The server's disk has no room for it: {needed / 2**20:,.0f} MB are needed for a while. "
                "Use the command line on a machine that has."
            )
        name = f"engram-{base.facts.name}-{kind.split()[-1].lower()}"
        if kind == ATLAS:
            step(0.0, "Writing the engrams")
            file = folder / f"{name}.safetensors"
            atlas = base.variant(choice.power, choice.clip)
            atlas.save(file, concepts=None if every else choice.concepts, about=_about(base, choice))
            return Taken(file, file.name, scratch)
        parts = folder / name
        errors = None
        if kind == MODEL:
            _write_model(base, choice, parts, step)
        else:
            errors = _write_adapters(base, choice, parts, rank, step)
        step(0.9, "Packing")
        return Taken(_packed(parts), f"{name}.zip", scratch, errors)
    except (OSError, SafetensorError) as error:
        scratch.delete()
        raise EngramError(
            f"The file could not be written: {getattr(error, 'strerror', None) or error}."
        ) from error
    except BaseException:  # a visitor who moves on ends the run from within `step`
        scratch.delete()
        raise


def _about(base: Base, choice: Choice) -> dict[str, Any]:
    """Return the texts and settings that a file carries."""
    about = about_texts(base.sample.concepts) if base.is_text else {}  # type: ignore[arg-type]
    return about | {"settings": atlas_settings(base.variant(choice.power, choice.clip))}


@contextmanager
def _turns(step: Step, first: float, last: float, doing: str) -> Iterator[Progress]:
    """Yield the core's progress: after every layer somebody else has a turn, after the last one all have."""
    held = True
    COMPUTE_LOCK.acquire()

    def progress(done: int, total: int | None, layer: str) -> None:
        nonlocal held
        total = total or done
        COMPUTE_LOCK.release()
        held = False
        step(first + (last - first) * done / total, f"{doing}: {layer}")
        if done < total:  # what follows is writing, which waits for the disk and not for the processor
            COMPUTE_LOCK.acquire()
            held = True

    try:
        yield progress
    finally:
        if held:
            COMPUTE_LOCK.release()


def _write_model(base: Base, choice: Choice, folder: Path, step: Step) -> None:
    step(0.0, "Writing the edit into a copy of the weights")
    with COMPUTE_LOCK:
        view = edited_view(base, choice)
    model = base.sample.model
    with _turns(step, 0.0, 0.6, "Writing the edit into a copy of the weights") as progress:
        if hasattr(model, "save_pretrained"):
            tokenizer = base.sample.task.tokenizer if base.is_text else None  # type: ignore[attr-defined]
            save_edited(view, folder, tokenizer, about=_about(base, choice), progress=progress)
            form = Path(base.sample.folder) / "preprocessor_config.json"
            if form.is_file() and not base.is_text:  # how a picture becomes an input
                shutil.copy(form, folder)
            return
        baked = ec.live_edit(view).bake(progress=progress)
    folder.mkdir()
    # The library refuses two names of one tensor, and not every architecture is without.
    state = {key: tensor.clone().contiguous() for key, tensor in baked.state_dict().items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    config = base.sample.config
    _write_json(folder / "config.json", config.get("model", config))
    _write_json(folder / "engram.json", edit_record(view) | {"about": _about(base, choice)})


def _write_adapters(base: Base, choice: Choice, folder: Path, rank: int | None, step: Step) -> pd.DataFrame:
    atlas = base.variant(choice.power, choice.clip)
    folders, taken, tables = adapter_folders(atlas.concepts), _taken(choice), []
    named = getattr(getattr(base.sample.model, "config", None), "name_or_path", "") or base.facts.name
    for number, (name, strength) in enumerate(taken.items()):
        first, last = (0.9 * place / len(taken) for place in (number, number + 1))
        with _turns(step, first, last, f"Adapter of {name}") as progress:
            table = save_lora(
                atlas, name, folder / folders[name], strength=strength, rank=rank,
                layers=list(choice.layers), base_model=named, progress=progress,
            )  # fmt: skip
        table.insert(0, "concept", name)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _packed(folder: Path) -> Path:
    """Put a folder into an archive beside it; a file is deleted as soon as it is packed."""
    archive = folder.parent / f"{folder.name}.zip"
    # Weights hardly shrink, and packing them tight would take minutes.
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED, allowZip64=True) as packed:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            packed.write(file, file.relative_to(folder.parent))
            file.unlink()
    shutil.rmtree(folder)
    return archive
