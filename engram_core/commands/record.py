"""`engram record` and `engram extract`: from a model to its engrams."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..atlas import extract as extract_atlas
from ..errors import EngramError
from ..language.export import atlas_settings
from ..recording.record import record as record_model
from ..recording.recording import Recording
from ..solving.filters import Sharpness
from ..solving.tables import layer_table
from .shared import (
    AsJson,
    Blocks,
    Clip,
    ConceptsFile,
    Cut,
    Layers,
    ModelName,
    OutFile,
    PositionsName,
    Power,
    Template,
    about_subject,
    bar_of_progress,
    extracted,
    numbers,
    open_subject,
    out_console,
    print_json,
    print_table,
    selection,
)

__all__ = ["extract", "record"]


def record(
    model: ModelName,
    out: OutFile,
    concepts_file: ConceptsFile = None,
    positions: PositionsName = None,
    template: Template = False,
    layers: Layers = None,
    blocks: Blocks = None,
    as_json: AsJson = False,
) -> None:
    """Record a model over all its concepts, and write the statistics."""
    sample = open_subject(model, concepts_file, positions=positions, template=template)
    with bar_of_progress() as bar:
        recording = record_model(
            sample.model, sample.concepts, layers=selection(layers), blocks=numbers(blocks), progress=bar
        )
        recording.about = about_subject(sample)
        recording.save(out)
    result: dict[str, Any] = {
        "model": model,
        "model_hash": recording.identity.digest,
        "file": str(out),
        "inputs": recording.counts,
        "rows": {layer: recording.sources[i].count for layer, i in recording.source_of.items()},
        "skipped": {i.name: i.reason for i in recording.layers if not i.covered},
    }
    if as_json:
        print_json(result)
        return
    print_table(
        f"Recorded {model} → {out}", ["layer", "rows"], [[k, f"{v:,}"] for k, v in result["rows"].items()]
    )
    for name, reason in result["skipped"].items():
        out_console.print(f"skipped {name}: {reason}")


def extract(
    model: ModelName,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write (.safetensors).")] = None,
    concepts_file: ConceptsFile = None,
    positions: PositionsName = None,
    template: Template = False,
    recording: Annotated[Path | None, typer.Option(help="A file from `engram record`.")] = None,
    layers: Layers = None,
    blocks: Blocks = None,
    cut: Cut = None,
    sharpness: Power = 1.0,
    clip: Clip = False,
    as_json: AsJson = False,
) -> None:
    """Extract every concept's engram; print how large and how separable they are."""
    if recording is not None and (positions is not None or template):
        raise EngramError(
            "--positions and --template say what is recorded, and --recording has been made already: give "
            "them to engram record."
        )
    sample = open_subject(model, concepts_file, positions=positions, template=template)
    with bar_of_progress() as bar:
        options: dict[str, Any] = {"cut": cut, "sharpness": Sharpness(sharpness, clip)}
        if recording is None and layers is None and blocks is None:
            atlas, about = extracted(sample, bar, **options), about_subject(sample)
        else:
            if recording is None:
                recorded = record_model(sample.model, sample.concepts, progress=bar)
                recorded.about = about_subject(sample)
            else:
                recorded = Recording.load(recording)
            atlas, about = extract_atlas(
                sample.model, recorded, layers=selection(layers), blocks=numbers(blocks), progress=bar,
                **options,
            ), recorded.about  # fmt: skip
    if out is not None:
        # A recording says itself which texts it is of; they need not be those of the model named here.
        atlas.save(out, about=about | {"settings": atlas_settings(atlas)})
    table = layer_table(atlas)
    spectra: dict[str, dict[str, Any]] = {
        layer: {
            "form": atlas.spectrum(layer).form,
            "cut": atlas.spectrum(layer).cut,
            "width": atlas.spectrum(layer).width,
            "kept": atlas.spectrum(layer).rank.tolist(),
        }
        for layer in atlas.layers
    }
    if as_json:
        print_json(
            {
                "model": model,
                "model_hash": atlas.identity.digest,
                "file": None if out is None else str(out),
                "sharpness": {"power": sharpness, "clip": clip},
                "layers": spectra,
                "notes": list(atlas.notes),
                "engrams": table.to_dict("records"),
            }
        )
        return
    print_table(
        "Totals",
        ["layer", "form", "width", "kept by the cut"],
        [[k, v["form"], v["width"], v["kept"][0]] for k, v in spectra.items()],
    )
    print_table(
        "Engrams",
        ["layer", "concept", "‖E‖/‖W‖", "rank ≤", "leak", "residue"],
        table[["layer", "concept", "relative", "rank", "leak", "residue"]].to_numpy(object).tolist(),
        caption="leak: share of the response that goes to other concepts; residue: share that stays behind",
    )
    for note in atlas.notes:
        out_console.print(note)
    if out is not None:
        out_console.print(f"wrote {out}", soft_wrap=True)
