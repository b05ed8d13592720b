"""`engram map`: inputs by their traces or hidden states, and engrams by their cosines, as coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import typer
from torch import nn

from ..atlas import Atlas
from ..concepts.tasks import Subject
from ..errors import DataError
from ..mapping.inputs import MapInputs, answers, draw_inputs, some_concepts
from ..mapping.projection import joint_projection, project
from ..mapping.strengths import HiddenStates, TraceStrengths, hidden_states, trace_strengths
from ..opening.plugins import provided
from ..solving.similarity import engram_cosines
from ..storing.files import write_text
from .engrams import EngramOptions
from .grouping import grouped
from .names import names_in
from .options import AsJson, Clip, Named, Power, Strength
from .printing import out_console, print_json
from .progress_bar import bar_of_progress
from .subject import SubjectOptions, check_known
from .tables import print_table

__all__ = ["map_points"]

_SHOWN = 20  # rows of the printed table


@dataclass(frozen=True)
class _MapOptions:
    """What the points are, and how they are laid out."""

    of: Annotated[
        Literal["traces", "hidden", "engrams"],
        typer.Option(
            "--of", help="Inputs by trace strengths, inputs by what --layer reads, or the engrams themselves."
        ),
    ] = "traces"
    method: Annotated[Literal["pca", "umap"], typer.Option(help="How points are laid out.")] = "pca"
    dimensions: Annotated[int, typer.Option(min=2, max=3, help="2 or 3.")] = 2
    layer: Annotated[
        str | None, typer.Option(help="The layer for --of hidden (default: the last); for engrams: only it.")
    ] = None
    fit: Annotated[
        Literal["joint", "base"],
        typer.Option(help="Make the map of base and edited points together, or of the base alone."),
    ] = "joint"
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draw and of UMAP.")] = 0

    def engrams(self, atlas: Atlas, named: list[str] | None, bar: Any) -> tuple[pd.DataFrame, dict[str, Any]]:
        """Lay the engrams out by their cosines; return a row per engram, and what is said of the map."""
        found = engram_cosines(atlas, self.layer, concepts=named, progress=bar)
        placed = project(found.matrix, method=self.method, dimensions=self.dimensions, seed=self.seed)
        return found.nearest().join(placed.table()), {
            "layers": list(found.layers), "explained": list(placed.explained), "method": placed.method,
            "note": placed.note,
        }  # fmt: skip

    def inputs(
        self, subject: Subject, atlas: Atlas, inputs: MapInputs, edited: nn.Module | None, bar: Any
    ) -> tuple[pd.DataFrame, dict[str, Any]]:
        """Lay inputs out, as the base and the edited model see them on one map; return as `engrams` does."""
        before = self._measured(atlas.model, atlas, inputs, bar)
        after = before if edited is None else self._measured(edited, atlas, inputs, bar)
        joint = joint_projection(
            before.matrix, after.matrix, method=self.method, dimensions=self.dimensions, seed=self.seed,
            fit=self.fit,
        )  # fmt: skip
        table = inputs.table()
        table["answer"] = answers(subject, inputs)
        if edited is not None:
            table["edited_answer"] = answers(subject, inputs, edited)
        if isinstance(before, TraceStrengths):
            table["own"], table["specificity"] = before.own, before.specificity
        coordinates = joint.base.table() if edited is None else joint.table()
        layers = list(before.layers) if isinstance(before, TraceStrengths) else [before.layer]
        return pd.concat([table, coordinates], axis=1), {
            "inputs": len(inputs), "available": sum(inputs.available.values()), "layers": layers,
            "explained": list(joint.base.explained), "method": joint.base.method, "note": joint.base.note,
            "movement_shown": None if np.isnan(joint.shown) else joint.shown,
        }  # fmt: skip

    def _measured(
        self, model: nn.Module, atlas: Atlas, inputs: MapInputs, bar: Any
    ) -> TraceStrengths | HiddenStates:
        if self.of == "hidden":
            return hidden_states(model, atlas, inputs, self.layer or atlas.layers[-1])
        layers = None if self.layer is None else [self.layer]
        return trace_strengths(model, atlas, inputs, layers=layers, progress=bar)


@dataclass(frozen=True)
class _InputOptions:
    """Which inputs become points."""

    per_concept: Annotated[int, typer.Option(min=1, help="Most inputs of one concept.")] = 40
    most: Annotated[int, typer.Option(min=2, help="Most inputs in all.")] = 600
    recorded: Annotated[bool, typer.Option("--recorded", help="Recorded inputs, not held-out ones.")] = False

    def drawn(self, subject: Subject, names: tuple[str, ...], seed: int) -> MapInputs:
        """Draw them."""
        return draw_inputs(
            subject, names, per_concept=self.per_concept, most=self.most, recorded=self.recorded, seed=seed
        )


@grouped
def map_points(
    chosen: SubjectOptions,
    layout: _MapOptions,
    drawn: _InputOptions,
    engrams: EngramOptions,
    concepts: Named = None,
    erase: Annotated[
        list[str] | None, typer.Option("--erase", help="Also the model without this concept (repeatable).")
    ] = None,
    strength: Strength = 1.0,
    sharpness: Power = None,
    clip: Clip = False,
    csv: Annotated[Path | None, typer.Option(help="Write the coordinates to this file.")] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", help="Write the map as one offline page (needs plotly).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Lay inputs or engrams out on a map; with --erase, base and edited inputs on one map."""
    engrams.check()
    subject = chosen.open()
    known = list(subject.concepts)
    named = names_in(concepts, known) if concepts else None
    erased = dict.fromkeys(check_known(erase, known), strength)
    about: dict[str, Any] = {
        "model": chosen.model, "of": layout.of, "method": layout.method, "dimensions": layout.dimensions,
        "seed": layout.seed,
    }  # fmt: skip
    with bar_of_progress() as bar:
        atlas = engrams.of(subject, bar, power=sharpness, clip=clip)
        if layout.of == "engrams":
            if erased:
                raise DataError(
                    "Engrams are taken from the base; an edit does not move them. Leave --erase out."
                )
            table, more = layout.engrams(atlas, named, bar)
            about |= more
        else:
            names = some_concepts(atlas.concepts, erased, seed=layout.seed) if named is None else tuple(named)
            inputs = drawn.drawn(subject, names, layout.seed)
            edited = atlas.apply(erase=erased) if erased else None
            table, more = layout.inputs(subject, atlas, inputs, edited, bar)
            about |= more | {"erase": erased, "fit": layout.fit}
    if csv is not None:
        write_text(csv, table.to_csv(index=False))
    if html_file is not None:
        write_text(html_file, _page(table, about))
    if as_json:
        rows = table.astype(object).where(table.notna(), None).to_dict("records")
        print_json(about | {"points": rows})
        return
    _print(table, about)
    for path in (csv, html_file):
        if path is not None:
            out_console.print(f"wrote {path}", soft_wrap=True)


def _page(table: pd.DataFrame, about: dict[str, Any]) -> str:
    draw = provided("engram_core.figures", "map", purpose="--html", instead="--csv and --json need nothing.")
    page: str = draw(table, about={"erase": {}} | about)
    return page


def _print(table: pd.DataFrame, about: dict[str, Any]) -> None:
    shares = ", ".join(f"{share:.0%}" for share in about["explained"])
    caption = f"axes show {shares} of the variance" if shares else "UMAP axes have no unit"
    if about["note"]:
        caption += f". {about['note']}"
    if about["of"] == "engrams":
        _print_engrams(table, about["model"], caption)
    else:
        _print_inputs(table, about, caption)


def _print_engrams(table: pd.DataFrame, model: str, caption: str) -> None:
    rows = table.head(_SHOWN).to_numpy(object).tolist()
    print_table(f"{model}: engrams by cosine", list(table.columns), rows, caption=_of(len(table), caption))


def _print_inputs(table: pd.DataFrame, about: dict[str, Any], caption: str) -> None:
    numeric = [name for name in ("own", "specificity", "relative") if name in table]
    mean = table.groupby("concept", sort=False)[numeric].mean()
    mean.insert(0, "inputs", table.groupby("concept", sort=False).size())
    if "edited_answer" in table:
        changed = table["answer"] != table["edited_answer"]
        mean["changed answers"] = changed.groupby(table["concept"], sort=False).sum()
    # In the units of the cloud's radius, as the page says it.
    mean = mean.rename(columns={"relative": "moved"})
    rows = [[name, *row] for name, row in zip(mean.index, mean.to_numpy(object).tolist(), strict=True)]
    print_table(
        f"{about['model']}: {about['inputs']} of {about['available']} inputs by "
        + ("trace strengths" if about["of"] == "traces" else f"what {about['layers'][0]} reads")
        + ", mean per concept",
        ["concept", *mean.columns],
        rows[:_SHOWN],
        caption=_of(len(rows), caption),
    )


def _of(count: int, caption: str) -> str:
    return caption if count <= _SHOWN else f"{_SHOWN} of {count}; {caption}"
