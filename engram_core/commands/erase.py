"""`engram erase`: an edit, before and after."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from torch import nn

from ..concepts.tasks import Subject
from ..editing.live_edit import LiveEdit, live_edit
from ..errors import EngramError
from ..language import atlas_settings, damage, recall_summary, save_edited
from ..measuring.shams import gaussian_view
from ..storing.tensors import write_tensors
from .adapters import Adapter, check_adapters, print_adapters, save_adapters
from .edit import EditOptions
from .engrams import EngramOptions
from .grouping import grouped
from .options import AsJson, Seed
from .printing import out_console, print_json
from .progress_bar import bar_of_progress
from .subject import SubjectOptions, recall_of
from .tables import WIDEST, finite, print_table

__all__ = ["erase"]


@dataclass(frozen=True)
class _FileOptions:
    """What is written of the edited model."""

    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write the edited weights (.safetensors).")
    ] = None
    folder: Annotated[
        Path | None,
        typer.Option(help="Language models: write the edited model as a Hugging Face folder."),
    ] = None
    lora: Annotated[
        Path | None,
        typer.Option(
            help="Language models: write a LoRA adapter (PEFT) per erased concept into this folder."
        ),
    ] = None
    rank: Annotated[
        int | None,
        typer.Option(
            min=1, help="With --lora: cut every layer to this rank; what that costs is told layer by layer."
        ),
    ] = None

    def check(self, edit: EditOptions) -> None:
        """Refuse what does not go together, before a model is loaded for it.

        Raises:
            EngramError: naming the options.
        """
        if self.lora is not None and (edit.keep or not edit.concepts):
            raise EngramError(
                "--lora writes what is erased, one adapter per concept; name a concept to erase."
            )
        if self.rank is not None and self.lora is None:
            raise EngramError("--rank cuts the adapters that --lora FOLDER writes; name the folder.")


@dataclass(frozen=True)
class _Measured:
    """What the base, the edited and the control model score.

    Attributes:
        scores: by model ("base", "edited", "control") and concept.
        recalled: of a language model, one entry per named concept and phrasing, and for the others
            together, with exact, nll and first by model; None for any other model.
        rest: background and degenerate text, if it was asked for.
    """

    scores: dict[str, dict[str, float]]
    recalled: list[dict[str, Any]] | None
    rest: pd.DataFrame | None


@dataclass(frozen=True)
class _Written:
    """The files that were written."""

    out: Path | None
    folder: Path | None
    adapters: list[Adapter]

    @property
    def paths(self) -> list[Path]:
        """All but the adapters."""
        return [path for path in (self.out, self.folder) if path is not None]


@grouped
def erase(
    chosen: SubjectOptions,
    edit: EditOptions,
    engrams: EngramOptions,
    files: _FileOptions,
    seed: Seed = 0,
    rest: Annotated[
        bool,
        typer.Option("--rest", help="Language models: also measure background text and degenerate text."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Erase concepts, or isolate some; show the scores before and after, and a random control beside them."""
    edit.check()
    engrams.check()
    files.check(edit)
    subject = chosen.open()
    if (files.folder or files.lora or rest) and recall_of(subject) is None:
        raise EngramError(f"--folder, --lora and --rest are for language models; {chosen.model} is none.")
    with bar_of_progress() as bar:
        view = edit.view(subject, engrams, bar)
        control = live_edit(view)
        if files.lora is not None:
            check_adapters(control, files.rank)
        named = [*dict(control.edit.erase), *dict(control.edit.keep or ())]
        measured = _measured(subject, view, named, seed, rest)
    written = _write(subject, view, edit, files, chosen.model)
    if as_json:
        print_json(_result(chosen.model, control, measured, written, seed))
        return
    _print(chosen.model, subject, control, measured, named)
    for path in written.paths:
        out_console.print(f"wrote {path}", soft_wrap=True)
    print_adapters(written.adapters, files.rank)


def _measured(subject: Subject, view: nn.Module, named: list[str], seed: int, rest: bool) -> _Measured:
    """Score the three models on all concepts; of language models also say how surely they answer."""
    control = live_edit(view)
    sham = gaussian_view(control.atlas, control.edit, seed)
    models = {"base": subject.model, "edited": view, "control": sham}
    task = recall_of(subject)
    if task is None:
        scores = {k: subject.task.measure(m, subject.concepts).score for k, m in models.items()}
        return _Measured(scores, None, None)
    tables = {k: task.table(m, subject.concepts) for k, m in models.items()}
    scores = {k: t.groupby("concept", sort=False)["exact"].mean().to_dict() for k, t in tables.items()}
    harm = damage(subject.model, view, task.tokenizer, task.texts) if rest else None
    return _Measured(scores, _recalled(tables, named), harm)


def _recalled(tables: dict[str, pd.DataFrame], named: list[str]) -> list[dict[str, Any]]:
    parts = {k: recall_summary(t, named).to_dict("records") for k, t in tables.items()}
    about = ("concept", "split", "questions")
    return [
        {key: row[key] for key in about}
        | {k: {f: finite(float(part[i][f])) for f in ("exact", "nll", "first")} for k, part in parts.items()}
        for i, row in enumerate(parts["base"])
    ]


def _write(subject: Subject, view: nn.Module, edit: EditOptions, files: _FileOptions, model: str) -> _Written:
    """Write what the options ask for."""
    control = live_edit(view)
    if files.out is not None:
        write_tensors(files.out, control.bake().state_dict(), _about(control, edit))
    folder, task = None, recall_of(subject)
    if files.folder is not None and task is not None:
        about = subject.concepts.about() | {"settings": atlas_settings(control.atlas)}
        folder = save_edited(view, files.folder, task.tokenizer, about=about)
    adapters = (
        [] if files.lora is None else save_adapters(control, files.lora, rank=files.rank, base_model=model)
    )
    return _Written(files.out, folder, adapters)


def _about(control: LiveEdit, edit: EditOptions) -> dict[str, Any]:
    return {
        "kind": "edited weights",
        "model": control.atlas.identity.digest,
        "edit": {
            "erase": dict(control.edit.erase),
            "keep": None if control.edit.keep is None else dict(control.edit.keep),
            "null": edit.null,
            "scaling": edit.scaling,
            "sharpness": {"power": edit.sharpness, "clip": edit.clip},
            "layers": list(control.edit.layers),
        },
    }


def _result(
    model: str, control: LiveEdit, measured: _Measured, written: _Written, seed: int
) -> dict[str, Any]:
    report = control.report()
    return {
        "model": model,
        "model_hash": control.atlas.identity.digest,
        **measured.scores,
        "recall": measured.recalled,
        "erased": report.erased,
        "kept": report.kept,
        "layers": report.per_layer,
        "relative_change": report.relative,
        "seed": seed,
        "file": None if written.out is None else str(written.out),
        "files": [str(path) for path in (*written.paths, *(a.folder for a in written.adapters))],
        "lora": [adapter.to_dict() for adapter in written.adapters],
        "rest": None if measured.rest is None else measured.rest.to_dict("records"),
    }


def _print(model: str, subject: Subject, control: LiveEdit, measured: _Measured, named: list[str]) -> None:
    base, after, sham = (measured.scores[which] for which in ("base", "edited", "control"))
    # Of a hundred concepts only the named ones are shown: recall tells the others' mean below.
    everyone = measured.recalled is None or len(subject.concepts) <= WIDEST
    print_table(
        f"{model}: held-out {subject.task.unit}",
        ["concept", "base", "edited", "difference", "control"],
        [
            [name, base[name], after[name], after[name] - base[name], sham[name]]
            for name in (list(subject.concepts) if everyone else named)
        ],
        caption="control: a random Gaussian edit of the same norm in every layer",
    )
    if measured.recalled is not None:
        _print_recall(measured.recalled)
    report = control.report()
    changed = ", ".join(f"{name} {value:.2f}" for name, value in report.per_layer.items())
    out_console.print(f"Changed ‖ΔW‖/‖W‖ = {report.relative:.3f} ({changed}). The base model is untouched.")
    if measured.rest is not None:
        print_table("Side effects", list(measured.rest.columns), measured.rest.to_numpy().tolist())


def _print_recall(recalled: list[dict[str, Any]]) -> None:
    phrasing = {"record": "recorded", "probe": "unseen"}

    def cell(row: dict[str, Any], figure: str) -> str:
        base, edited, sham = (
            "∞" if row[k][figure] is None else f"{row[k][figure]:.3f}" for k in ("base", "edited", "control")
        )
        return f"{base} → {edited} ({sham})"

    print_table(
        "Recall",
        ["concept", "phrasings", "questions", "exact", "NLL, nats per token", "P(first token)"],
        [
            [row["concept"], phrasing[row["split"]], row["questions"],
             *(cell(row, figure) for figure in ("exact", "nll", "first"))]
            for row in recalled
        ],
        caption="base → edited (control); (others): mean over all other concepts",
    )  # fmt: skip
