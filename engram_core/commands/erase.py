"""`engram erase`: an edit, before and after."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from torch import nn

from ..concepts.tasks import Subject
from ..editing.live_edit import live_edit
from ..errors import EngramError
from ..measuring.shams import gaussian_view
from ..solving.filters import Sharpness
from ..storing.tensors import write_tensors
from .erase_files import check_adapters, print_adapters, save_adapters, save_folder
from .shared import (
    WIDEST,
    AsJson,
    Blocks,
    Clip,
    ConceptsFile,
    Erased,
    Kept,
    Layers,
    ModelName,
    NullName,
    PositionsName,
    Power,
    ScalingName,
    Seed,
    Strength,
    Template,
    bar_of_progress,
    check_named,
    edited_view,
    open_subject,
    out_console,
    print_json,
    print_table,
)

__all__ = ["erase"]


def erase(
    model: ModelName,
    concepts: Erased = None,
    concepts_file: ConceptsFile = None,
    positions: PositionsName = None,
    template: Template = False,
    keep: Kept = None,
    null: NullName = "nothing",
    strength: Strength = 1.0,
    scaling: ScalingName = "plain",
    sharpness: Power = 1.0,
    clip: Clip = False,
    layers: Layers = None,
    blocks: Blocks = None,
    seed: Seed = 0,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write the edited weights (.safetensors).")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(help="Language models: write the edited model as a Hugging Face folder."),
    ] = None,
    lora: Annotated[
        Path | None,
        typer.Option(
            help="Language models: write a LoRA adapter (PEFT) per erased concept into this folder."
        ),
    ] = None,
    rank: Annotated[
        int | None,
        typer.Option(
            min=1, help="With --lora: cut every layer to this rank; what that costs is told layer by layer."
        ),
    ] = None,
    rest: Annotated[
        bool,
        typer.Option("--rest", help="Language models: also measure background text and degenerate text."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Erase concepts, or keep only some; show the scores before and after, and a sham beside them."""
    check_named(concepts, keep)
    if lora is not None and (keep or not concepts):
        raise EngramError("--lora writes what is erased, one adapter per concept; name a concept to erase.")
    if rank is not None and lora is None:
        raise EngramError("--rank cuts the adapters that --lora FOLDER writes; name the folder.")
    sample = open_subject(model, concepts_file, positions=positions, template=template)
    spoken = sample.task.reads_text
    if (folder or lora or rest) and not spoken:
        raise EngramError(f"--folder, --lora and --rest are for language models; {model} is none.")
    with bar_of_progress() as bar:
        view = edited_view(
            sample, bar, concepts, keep, strength=strength, null=null, scaling=scaling,
            sharpness=Sharpness(sharpness, clip), layers=layers, blocks=blocks,
        )  # fmt: skip
        control = live_edit(view)
        if lora is not None:
            check_adapters(control, rank)
        report = control.report()
        named = [*dict(control.edit.erase), *dict(control.edit.keep or ())]
        models = {
            "base": sample.model,
            "edited": view,
            "control": gaussian_view(control.atlas, control.edit, seed),
        }
        scores, recalled = _measured(sample, models, named)
        base, after, sham = scores["base"], scores["edited"], scores["control"]
        harm = _rest(sample, view) if rest else None
    written = [] if out is None else [out]
    if out is not None:
        state = control.bake().state_dict()
        about = {
            "kind": "edited weights",
            "model": control.atlas.identity.digest,
            "edit": {
                "erase": dict(control.edit.erase),
                "keep": None if control.edit.keep is None else dict(control.edit.keep),
                "null": null,
                "scaling": scaling,
                "sharpness": {"power": sharpness, "clip": clip},
                "layers": list(control.edit.layers),
            },
        }
        write_tensors(out, state, about)
    if folder is not None:
        written.append(save_folder(sample, view, folder))
    adapters = [] if lora is None else save_adapters(control, lora, rank=rank, base_model=model)
    if as_json:
        print_json(
            {
                "model": model,
                "model_hash": control.atlas.identity.digest,
                "base": base,
                "edited": after,
                "control": sham,
                "recall": recalled,
                "erased": report.erased,
                "kept": report.kept,
                "layers": report.per_layer,
                "relative_change": report.relative,
                "seed": seed,
                "file": None if out is None else str(out),
                "files": [str(path) for path in (*written, *(a.folder for a in adapters))],
                "lora": [adapter.to_dict() for adapter in adapters],
                "rest": None if harm is None else harm.to_dict("records"),
            }
        )
        return
    # Of a hundred concepts only the named ones are shown: recall tells the others' mean below.
    shown = list(sample.concepts) if recalled is None or len(sample.concepts) <= WIDEST else named
    print_table(
        f"{model}: held-out {sample.task.unit}",
        ["concept", "base", "edited", "difference", "sham"],
        [[name, base[name], after[name], after[name] - base[name], sham[name]] for name in shown],
        caption="sham: a Gaussian edit of the same norm in every layer",
    )
    if recalled is not None:
        _print_recall(recalled)
    changed = ", ".join(f"{name} {value:.2f}" for name, value in report.per_layer.items())
    out_console.print(f"Changed ‖ΔW‖/‖W‖ = {report.relative:.3f} ({changed}). The base model is untouched.")
    if harm is not None:
        print_table("Everything else", list(harm.columns), harm.to_numpy().tolist())
    for path in written:
        out_console.print(f"wrote {path}", soft_wrap=True)
    print_adapters(adapters, rank)


def _measured(
    sample: Subject, models: dict[str, nn.Module], named: list[str]
) -> tuple[dict[str, dict[str, float]], list[dict[str, Any]] | None]:
    """Score the models on all concepts; of language models also say how surely they answer.

    Returns:
        Score by model and concept; and for a language model one entry per named concept and phrasing, and
        for the others together, with exact, nll and first by model.
    """
    if not sample.task.reads_text:
        task = sample.task
        return {k: task.measure(m, sample.concepts).score for k, m in models.items()}, None
    from ..language import recall_summary

    tables = {k: sample.task.table(m, sample.concepts) for k, m in models.items()}  # type: ignore[attr-defined]
    scores = {k: t.groupby("concept", sort=False)["exact"].mean().to_dict() for k, t in tables.items()}
    parts = {k: recall_summary(t, named).to_dict("records") for k, t in tables.items()}
    about = ("concept", "split", "questions")
    recalled = [
        {key: row[key] for key in about}
        | {k: {f: _number(part[i][f]) for f in ("exact", "nll", "first")} for k, part in parts.items()}
        for i, row in enumerate(parts["base"])
    ]
    return scores, recalled


def _number(value: float) -> float | None:
    """JSON knows no infinity."""
    return float(value) if math.isfinite(value) else None


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
        caption="base → edited (sham); (others): mean over all other concepts",
    )  # fmt: skip


def _rest(sample: Subject, view: nn.Module) -> pd.DataFrame:
    from ..language import damage

    return damage(sample.model, view, sample.task.tokenizer, sample.task.texts)  # type: ignore[attr-defined]
