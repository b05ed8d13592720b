"""`engram map`: inputs by their traces or hidden states, and engrams by their cosines, as coordinates."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import typer

from ..atlas import Atlas
from ..concepts.tasks import Subject
from ..errors import DataError
from ..mapping.inputs import MapInputs, answers, draw_inputs, some_concepts
from ..mapping.projection import joint_projection, project
from ..mapping.strengths import TraceStrengths, hidden_states, trace_strengths
from ..solving.filters import Sharpness
from ..solving.similarity import engram_cosines
from ..storing.files import write_text
from .drawing import figures
from .names import names_in
from .shared import (
    AsJson,
    Clip,
    ConceptsFile,
    ModelName,
    Named,
    PositionsName,
    Power,
    Strength,
    Template,
    bar_of_progress,
    check_known,
    extracted,
    open_subject,
    out_console,
    print_json,
    print_table,
)

__all__ = ["map_points"]

_SHOWN = 20  # rows of the printed table


def map_points(
    model: ModelName,
    of: Annotated[
        Literal["traces", "hidden", "engrams"],
        typer.Option(
            "--of", help="Inputs by trace strengths, inputs by what --layer reads, or the engrams themselves."
        ),
    ] = "traces",
    method: Annotated[Literal["pca", "umap"], typer.Option(help="How points are laid out.")] = "pca",
    dimensions: Annotated[int, typer.Option(min=2, max=3, help="2 or 3.")] = 2,
    erase: Annotated[
        list[str] | None, typer.Option("--erase", help="Also the model without this concept (repeatable).")
    ] = None,
    strength: Strength = 1.0,
    sharpness: Power = 1.0,
    clip: Clip = False,
    concepts: Named = None,
    layer: Annotated[
        str | None, typer.Option(help="The layer for --of hidden (default: the last); for engrams: only it.")
    ] = None,
    fit: Annotated[
        Literal["joint", "base"],
        typer.Option(help="Make the map of base and edited points together, or of the base alone."),
    ] = "joint",
    per_concept: Annotated[int, typer.Option(min=1, help="Most inputs of one concept.")] = 40,
    most: Annotated[int, typer.Option(min=2, help="Most inputs in all.")] = 600,
    recorded: Annotated[bool, typer.Option("--recorded", help="Recorded inputs, not held-out ones.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draw and of UMAP.")] = 0,
    concepts_file: ConceptsFile = None,
    positions: PositionsName = None,
    template: Template = False,
    csv: Annotated[Path | None, typer.Option(help="Write the coordinates to this file.")] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", help="Write the map as one offline page (needs plotly).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Lay inputs or engrams out on a map; with --erase, base and edited inputs on one map."""
    subject = open_subject(model, concepts_file, positions=positions, template=template)
    known = list(subject.concepts)
    named = names_in(concepts, known) if concepts else None
    erase = check_known(erase, known)
    about: dict[str, Any] = {
        "model": model,
        "of": of,
        "method": method,
        "dimensions": dimensions,
        "seed": seed,
    }
    with bar_of_progress() as bar:
        atlas = extracted(subject, bar, sharpness=Sharpness(sharpness, clip))
        if of == "engrams":
            if erase:
                raise DataError(
                    "Engrams are taken from the base; an edit does not move them. Leave --erase out."
                )
            found = engram_cosines(atlas, layer, concepts=named, progress=bar)
            placed = project(found.matrix, method=method, dimensions=dimensions, seed=seed)
            table = found.nearest().join(placed.table())
            about |= {"layers": list(found.layers), "explained": list(placed.explained)}
            about |= {"method": placed.method, "note": placed.note}
        else:
            names = some_concepts(atlas.concepts, erase or (), seed=seed) if named is None else tuple(named)
            inputs = draw_inputs(
                subject, names, per_concept=per_concept, most=most, recorded=recorded, seed=seed
            )
            edited = None if not erase else atlas.apply(erase=dict.fromkeys(erase, strength))
            table, more = _points(
                subject, atlas, inputs, edited, of, layer, bar, method=method, dimensions=dimensions,
                seed=seed, fit=fit,
            )  # fmt: skip
            about |= more | {"erase": dict.fromkeys(erase or (), strength), "fit": fit}
    if csv is not None:
        write_text(csv, table.to_csv(index=False))
    if html_file is not None:
        _write_page(html_file, table, about)
    if as_json:
        rows = table.astype(object).where(table.notna(), None).to_dict("records")
        print_json(about | {"points": rows})
        return
    _print(model, of, table, about)
    for path in (csv, html_file):
        if path is not None:
            out_console.print(f"wrote {path}", soft_wrap=True)


def _points(
    subject: Subject, atlas: Atlas, inputs: MapInputs, edited: Any, of: str, layer: str | None, bar: Any,
    **options: Any,
) -> tuple[pd.DataFrame, dict[str, Any]]:  # fmt: skip
    def measured(which: Any) -> Any:
        if of == "hidden":
            return hidden_states(which, atlas, inputs, layer or atlas.layers[-1])
        chosen = None if layer is None else [layer]
        return trace_strengths(which, atlas, inputs, layers=chosen, progress=bar)

    before = measured(atlas.model)
    after = before if edited is None else measured(edited)
    joint = joint_projection(before.matrix, after.matrix, **options)
    table = inputs.table()
    table["answer"] = answers(subject, inputs)
    if edited is not None:
        table["edited_answer"] = answers(subject, inputs, edited)
    if isinstance(before, TraceStrengths):
        table["own"], table["specificity"] = before.own, before.specificity
    coordinates = joint.table()
    if edited is None:
        coordinates = joint.base.table()
    layers = list(before.layers) if isinstance(before, TraceStrengths) else [before.layer]
    return pd.concat([table, coordinates], axis=1), {
        "inputs": len(inputs), "available": sum(inputs.available.values()), "layers": layers,
        "explained": list(joint.base.explained), "method": joint.base.method, "note": joint.base.note,
        "movement_shown": None if np.isnan(joint.shown) else joint.shown,
    }  # fmt: skip


def _print(model: str, of: str, table: pd.DataFrame, about: dict[str, Any]) -> None:
    shares = ", ".join(f"{share:.0%}" for share in about["explained"])
    caption = f"axes show {shares} of the variance" if shares else "UMAP axes have no unit"
    if about["note"]:
        caption += f". {about['note']}"
    if of == "engrams":
        rows = table.head(_SHOWN).to_numpy(object).tolist()
        print_table(
            f"{model}: engrams by cosine", list(table.columns), rows, caption=_of(len(table), caption)
        )
        return
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
        f"{model}: {about['inputs']} of {about['available']} inputs by "
        + ("trace strengths" if of == "traces" else f"what {about['layers'][0]} reads")
        + ", mean per concept",
        ["concept", *mean.columns],
        rows[:_SHOWN],
        caption=_of(len(rows), caption),
    )


def _of(count: int, caption: str) -> str:
    return caption if count <= _SHOWN else f"{_SHOWN} of {count}; {caption}"


def _write_page(path: Path, table: pd.DataFrame, about: dict[str, Any]) -> None:
    scatter = figures("scatter")
    axes = [axis for axis in "xyz" if axis in table]
    points = table[axes].to_numpy(float)
    edited = [f"edited_{axis}" for axis in axes]
    end = table[edited].to_numpy(float) if edited[0] in table else None
    many = "number" in table
    cloud = scatter.Cloud(
        points=points if end is None else end,
        hover=[
            html.escape(f"{row.concept} {row.number}" if many else str(row.concept))
            for row in table.itertuples()
        ],
        categories=list(table["concept"]) if many else None,
        order=list(dict.fromkeys(table["concept"])),
        values=None if many else table["norm"].to_numpy(float),
        value_name="‖E‖, Frobenius norm",
        start=None if end is None else points,
        end=end,
        arrows=np.array([], int) if end is None else np.argsort(-table["moved"].to_numpy())[:40],
        axes=scatter.axes_of(about["method"], about["explained"], len(axes)),
        names=() if many or len(table) > 40 else list(table["concept"]),
    )
    write_text(path, scatter.scatter(cloud).to_html(include_plotlyjs=True))
