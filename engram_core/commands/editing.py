"""`engram erase`: an edit, before and after."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
import typer
from torch import nn

from ..controls import gaussian_view
from ..editing import LiveEdit, live_edit
from ..errors import EngramError
from ..spectrum import Sharpness
from ..storage import write_tensors
from ..tasks import Subject
from .shared import (
    AsJson,
    Blocks,
    Clip,
    ConceptsFile,
    Layers,
    ModelName,
    Power,
    ScalingName,
    Seed,
    Strength,
    bar_of_progress,
    extracted,
    numbers,
    open_subject,
    out_console,
    picked_layers,
    print_json,
    print_table,
)

__all__ = ["erase"]


def _strengths(terms: list[str], default: float) -> dict[str, float]:
    found = {}
    for term in terms:
        name, equals, value = term.rpartition("=")
        try:
            found[name if equals else term] = float(value) if equals else default
        except ValueError:
            raise EngramError(f"{term!r}: the strength after = must be a number.") from None
    return found


def erase(
    model: ModelName,
    concepts: Annotated[
        list[str] | None, typer.Argument(help="Concepts to erase, each as NAME or NAME=STRENGTH.")
    ] = None,
    concepts_file: ConceptsFile = None,
    keep: Annotated[
        list[str] | None, typer.Option("--keep", help="Keep only this concept (repeatable).")
    ] = None,
    null: Annotated[
        Literal["nothing", "in place"], typer.Option(help="What keeping starts from.")
    ] = "nothing",
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
    rest: Annotated[
        bool,
        typer.Option("--rest", help="Language models: also measure background text and degenerate text."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Erase concepts, or keep only some; show the scores before and after, and a sham beside them."""
    if not concepts and not keep:
        raise EngramError("Name a concept to erase, or one to keep with --keep NAME.")
    sample = open_subject(model, concepts_file)
    if (folder or lora or rest) and not hasattr(sample.task, "tokenizer"):
        raise EngramError(f"--folder, --lora and --rest are for language models; {model} is none.")
    if lora is not None and (keep or not concepts):
        raise EngramError("--lora writes what is erased, one adapter per concept; name a concept to erase.")
    with bar_of_progress() as bar:
        atlas = extracted(sample, bar, sharpness=Sharpness(sharpness, clip))
        view = atlas.apply(
            sample.model, erase=_strengths(concepts or [], strength), keep=keep or None, null=null,
            scaling=scaling, layers=picked_layers(atlas, layers), blocks=numbers(blocks),
        )  # fmt: skip
        control = live_edit(view)
        if lora is not None:
            _check_lora(control)
        report = control.report()
        base = sample.task.measure(sample.model, sample.concepts)
        after = sample.task.measure(view, sample.concepts)
        sham = sample.task.measure(gaussian_view(atlas, control.edit, seed), sample.concepts)
        harm = _rest(sample, view) if rest else None
    written = [] if out is None else [out]
    if out is not None:
        state = control.bake().state_dict()
        about = {
            "kind": "edited weights",
            "model": atlas.identity.digest,
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
    written += _language_files(sample, view, folder, lora)
    if as_json:
        print_json(
            {
                "model": model,
                "model_hash": atlas.identity.digest,
                "base": base.score,
                "edited": after.score,
                "control": sham.score,
                "erased": report.erased,
                "kept": report.kept,
                "layers": report.per_layer,
                "relative_change": report.relative,
                "seed": seed,
                "file": None if out is None else str(out),
                "files": [str(path) for path in written],
                "rest": None if harm is None else harm.to_dict("records"),
            }
        )
        return
    rows = [
        [name, base.score[name], after.score[name], after.score[name] - base.score[name], sham.score[name]]
        for name in sample.concepts
    ]
    print_table(
        f"{model}: held-out {sample.task.unit}",
        ["concept", "base", "edited", "difference", "sham"],
        rows,
        caption="sham: a Gaussian edit of the same norm in every layer",
    )
    changed = ", ".join(f"{name} {value:.2f}" for name, value in report.per_layer.items())
    out_console.print(f"Changed ‖ΔW‖/‖W‖ = {report.relative:.3f} ({changed}). The base model is untouched.")
    if harm is not None:
        print_table("Everything else", list(harm.columns), harm.to_numpy().tolist())
    for path in written:
        out_console.print(f"wrote {path}")


def _rest(sample: Subject, view: nn.Module) -> pd.DataFrame:
    from ..language import damage

    return damage(sample.model, view, sample.task.tokenizer, sample.task.texts)  # type: ignore[attr-defined]


def _check_lora(control: LiveEdit) -> None:
    """Refuse an edit that is no adapter before anything is measured or written."""
    from ..language.lora import lora_layers

    if control.edit.scaling != "plain" or len(control.edit.layers) != len(control.atlas.layers):
        raise EngramError("--lora holds a whole engram at one strength: use plain scaling in all layers.")
    lora_layers(control.atlas)


def _language_files(sample: Subject, view: nn.Module, folder: Path | None, lora: Path | None) -> list[Path]:
    """Write what can be taken away from a language model; return what was written."""
    written = []
    if folder is not None:
        from ..language import save_edited

        written.append(save_edited(view, folder, sample.task.tokenizer))  # type: ignore[attr-defined]
    if lora is not None:
        from ..language import save_lora

        control = live_edit(view)
        for name, strength in control.edit.erase:
            place = lora / re.sub(r"[^\w.-]+", "-", name).strip("-")
            save_lora(control.atlas, name, place, strength=strength)
            written.append(place)
    return written
