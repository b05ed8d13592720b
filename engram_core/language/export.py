"""Take an edited language model away as an ordinary Hugging Face folder, and say what was done to it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from torch import nn

from ..atlas import Atlas
from ..editing.live_edit import live_edit
from ..errors import DataError, StorageError
from ..models.identity import model_hash
from ..models.linear_maps.adapted_models import inner_model, merged_model
from ..models.view import base_of
from ..numerics.precision import exactly
from ..progress import Progress
from ..storing.files import new_folder
from .concepts import LanguageConcepts

__all__ = ["about_texts", "atlas_settings", "edit_record", "save_edited"]

FORMAT = 1


@exactly
def save_edited(
    view: nn.Module,
    folder: str | os.PathLike[str],
    tokenizer: Any = None,
    *,
    about: dict[str, Any] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write an edited view as a model folder that plain transformers loads.

    The edit is baked into the weights: float32 arithmetic, rounded once to the model's own type. Adapters of
    PEFT are merged too, as they are switched on now, so that the folder needs no ``peft``. Beside
    the model lies ``engram.json``, which says what was erased (see `edit_record`); config.json says
    nothing of it. The folder appears whole or not at all. Takes as much memory as the model.

    Args:
        view: made by ``atlas.apply``.
        folder: must not exist yet, or be empty.
        tokenizer: saved along if given.
        about: more for ``engram.json``, as JSON can hold it (e.g. `about_texts`).
        progress: called with (done, total, layer) after every layer; then the files are written.

    Returns:
        The folder.

    Raises:
        CoverageError: if an edited layer is quantised, or an adapter cannot be merged.
        DataError: if the view is no edited view of a Hugging Face model, or `about` is not JSON.
        StorageError: if the folder is not empty or cannot be written.
    """
    control = live_edit(view)
    if not hasattr(inner_model(base_of(view)), "save_pretrained"):
        raise DataError(
            f"{type(base_of(view)).__name__} is no Hugging Face model, so it has no folder of that kind. "
            "Use bake() and save its state_dict."
        )
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise StorageError(f"{target} exists and is not empty. Name a new folder; nothing was written.")
    try:
        text = json.dumps(edit_record(view) | {"about": about or {}}, indent=2, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise DataError(f"about must hold what JSON can hold: {error}.") from None
    baked: Any = merged_model(control.bake(progress=progress))
    with new_folder(target) as parts:
        baked.save_pretrained(parts)
        if tokenizer is not None:
            tokenizer.save_pretrained(parts)
        (parts / "engram.json").write_text(text + "\n", encoding="utf-8")
    return target


def edit_record(view: nn.Module) -> dict[str, Any]:
    """Return what is in force on a view, as JSON can hold it.

    Args:
        view: an edited view.

    Returns:
        ``on``; ``erased`` and ``kept`` (concept → strength); ``null``; ``scaling`` and its power;
        ``sharpness``; ``layers`` with their factor and relative size of the change; ``relative`` over all of
        them; the eigenvalue ``cut``; the ``base`` (class, name, SHA-256 of its parameters); ``recorded``
        inputs per concept.
    """
    control = live_edit(view)
    atlas, edit, report = control.atlas, control.edit, control.report()
    base = base_of(view)
    return {
        "made_by": "Engram Explorer",
        "format": FORMAT,
        "on": control.on,
        "erased": dict(edit.erase) if control.on else {},
        "kept": dict(edit.keep) if control.on and edit.keep is not None else None,
        "null": edit.null,
        "scaling": edit.scaling,
        "adaptive_power": edit.adaptive_power,
        "sharpness": {"power": atlas.sharpness.power, "clip": atlas.sharpness.clip},
        "relative": report.relative,
        "layers": {
            name: {"factor": report.factors[name], "relative": report.per_layer[name]}
            for name in report.layers
        },
        "cut": {name: atlas.spectrum(name).cut for name in report.layers},
        "recorded": dict(atlas.counts),
        "base": {
            "class": type(base).__name__,
            "name": getattr(getattr(base, "config", None), "name_or_path", "") or None,
            "sha256": model_hash(base),
        },
    }


def about_texts(concepts: LanguageConcepts, atlas: Atlas | None = None) -> dict[str, Any]:
    """Return the texts of a set and how they are recorded, for ``atlas.save(path, about=…)``.

    Args:
        concepts: the set that was recorded.
        atlas: what was extracted from it; its settings are then among the result (see `atlas_settings`).
    """
    about = concepts.about()
    return about if atlas is None else about | {"settings": atlas_settings(atlas)}


def atlas_settings(atlas: Atlas) -> dict[str, Any]:
    """Return what an atlas was extracted with: ``layers``, ``sharpness``, eigenvalue ``cut`` per layer.

    Args:
        atlas: the engrams.
    """
    return {
        "layers": list(atlas.layers),
        "sharpness": {"power": atlas.sharpness.power, "clip": atlas.sharpness.clip},
        "cut": {name: atlas.spectrum(name).cut for name in atlas.layers},
    }
