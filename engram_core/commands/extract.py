"""`engram extract`: every concept's engram, how large it is and how separable."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from ..atlas import Atlas
from ..atlas import extract as extract_atlas
from ..concepts.tasks import Subject
from ..errors import EngramError
from ..language import atlas_settings
from ..recording.record import record as record_model
from ..recording.recording import Recording
from ..solving.filters import Sharpness
from ..solving.tables import layer_table
from .grouping import grouped
from .options import AsJson, Blocks, Clip, Cut, Layers, Power, layer_names, numbers
from .printing import out_console, print_json
from .progress_bar import bar_of_progress
from .subject import SubjectOptions, extracted
from .tables import print_table

__all__ = ["extract"]


@dataclass(frozen=True)
class _SolveOptions:
    """What is solved, and from what."""

    recording: Annotated[Path | None, typer.Option(help="A file from `engram record`.")] = None
    layers: Layers = None
    blocks: Blocks = None
    cut: Cut = None
    sharpness: Power = None
    clip: Clip = False

    @property
    def power(self) -> float:
        """Selectivity."""
        return 1.0 if self.sharpness is None else self.sharpness

    def solved(self, subject: Subject, bar: Any) -> tuple[Atlas, dict[str, Any]]:
        """Return the engrams, and what their file says of the concepts."""
        options: dict[str, Any] = {"cut": self.cut, "sharpness": Sharpness(self.power, self.clip)}
        if self.recording is None and self.layers is None and self.blocks is None:
            return extracted(subject, bar, **options), subject.concepts.about()
        if self.recording is None:
            recorded = record_model(subject.model, subject.concepts, progress=bar)
            recorded.about = subject.concepts.about()
        else:
            recorded = Recording.load(self.recording)
        atlas = extract_atlas(
            subject.model, recorded, layers=layer_names(self.layers), blocks=numbers(self.blocks),
            progress=bar, **options,
        )  # fmt: skip
        # A recording says itself which texts it is of; they need not be those of the model named here.
        return atlas, recorded.about


@grouped
def extract(
    chosen: SubjectOptions,
    solve: _SolveOptions,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write (.safetensors).")] = None,
    as_json: AsJson = False,
) -> None:
    """Extract every concept's engram; print how large and how separable they are."""
    if solve.recording is not None and (chosen.positions is not None or chosen.template):
        raise EngramError(
            "--positions and --template say what is recorded, and --recording has been made already: give "
            "them to engram record."
        )
    sample = chosen.open()
    with bar_of_progress() as bar:
        atlas, about = solve.solved(sample, bar)
    if out is not None:
        atlas.save(out, about=about | {"settings": atlas_settings(atlas)})
    table = layer_table(atlas)
    spectra = {layer: _totals(atlas, layer) for layer in atlas.layers}
    if as_json:
        print_json(
            {
                "model": chosen.model,
                "model_hash": atlas.identity.digest,
                "file": None if out is None else str(out),
                "sharpness": {"power": solve.power, "clip": solve.clip},
                "layers": spectra,
                "notes": list(atlas.notes),
                "engrams": table.to_dict("records"),
            }
        )
        return
    _print(spectra, table, list(atlas.notes))
    if out is not None:
        out_console.print(f"wrote {out}", soft_wrap=True)


def _totals(atlas: Atlas, layer: str) -> dict[str, Any]:
    spectrum = atlas.spectrum(layer)
    return {
        "form": spectrum.form, "cut": spectrum.cut, "width": spectrum.width, "kept": spectrum.rank.tolist(),
    }  # fmt: skip


def _print(spectra: dict[str, dict[str, Any]], table: pd.DataFrame, notes: list[str]) -> None:
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
    for note in notes:
        out_console.print(note)
