"""`engram sweep`: find the strength, and hold it against other concepts."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from ..concepts.tasks import Subject
from ..errors import DataError, EngramError
from ..solving.filters import Sharpness
from ..storing.files import write_text
from ..tuning.recommend import Recommendation, recommend
from ..tuning.sweep import STRENGTHS, confirm, draw_concepts, frontier
from ..tuning.sweep import sweep as run_sweep
from .drawing import figures
from .shared import (
    AsJson,
    ConceptsFile,
    Cut,
    ModelName,
    Named,
    PositionsName,
    Random,
    Seed,
    Template,
    bar_of_progress,
    comma_list,
    extracted,
    open_subject,
    out_console,
    picked_concepts,
    print_json,
    print_table,
)

__all__ = ["sweep"]

_LEVELS = ",".join(f"{s:g}" for s in STRENGTHS)


def sweep(
    model: ModelName,
    concepts_file: ConceptsFile = None,
    positions: PositionsName = None,
    template: Template = False,
    concepts: Named = None,
    random: Random = None,
    seed: Seed = 0,
    together: Annotated[bool, typer.Option("--together", help="Erase them all at once.")] = False,
    sets: Annotated[
        int, typer.Option(min=1, help="With --together and --random N: this many sets of N.")
    ] = 1,
    strengths: Annotated[str, typer.Option(help="Comma-separated strengths to try.")] = _LEVELS,
    scalings: Annotated[str, typer.Option(help="Of plain and adaptive.")] = "plain",
    sharpness: Annotated[
        str, typer.Option(help="Powers of the filter, each as P or Pclip: 1,1.5,2,1.5clip.")
    ] = "1,1.5clip",
    groups: Annotated[
        str | None,
        typer.Option(
            help="Groups of layers: names (all, attention, mlp, q, v+o, 'block 0'), or parts, projections, "
            "blocks for all of a kind. Default: all and parts."
        ),
    ] = None,
    others: Annotated[
        int | None, typer.Option(min=1, help="Score this many others for each erased one. Default: all.")
    ] = None,
    give_up: Annotated[
        float | None, typer.Option(help="Stop raising a strength once the others lose more than this.")
    ] = None,
    measure: Annotated[str, typer.Option(help="score, or what else the task measures, e.g. nll.")] = "score",
    forget: Annotated[
        float | None, typer.Option(help="Recommend: erased score at most this, least damage.")
    ] = None,
    lost: Annotated[
        float | None, typer.Option(help="Recommend: erased loss (or rise, in nats) at least this.")
    ] = None,
    damage: Annotated[
        float | None, typer.Option(help="Recommend: others lose at most this, forget most.")
    ] = None,
    unseen: Annotated[float | None, typer.Option(help="Recommend: unseen phrasings at most this.")] = None,
    confirm_on: Annotated[
        int | None,
        typer.Option("--confirm", min=1, help="Measure the recommended setting on this many OTHER concepts."),
    ] = None,
    cut: Cut = None,
    csv: Annotated[Path | None, typer.Option(help="Write the whole table.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the figure, self-contained.")] = None,
    as_json: AsJson = False,
) -> None:
    """Find the strength: what is forgotten against what is retained, over settings of the edit.

    Without --forget, --lost or --damage the frontier is printed and nothing is recommended. A recommended
    setting looks better on the concepts it was found on than it is: use --confirm.
    """
    wanted = {"forget_at_most": forget, "lost_at_least": lost, "damage_at_most": damage}
    asked = any(value is not None for value in wanted.values())
    if confirm_on is not None and not asked:
        raise EngramError("--confirm measures a recommended setting: say --forget, --lost or --damage.")
    if sets > 1 and not (together and random):
        raise EngramError("--sets goes with --together and --random N.")
    levels, filters = _levels(strengths), _filters(sharpness)
    subject = open_subject(model, concepts_file, positions=positions, template=template)
    names = picked_concepts(subject, concepts, random and random * sets, seed) or list(subject.concepts)
    chosen: dict[str, Any] = {"concepts": names}
    if together:
        chosen = {"together": [names[i::sets] for i in range(sets)]}
    with bar_of_progress() as bar:
        atlas = extracted(subject, bar, cut=cut)
        table = run_sweep(
            subject, atlas, **chosen, strengths=levels, scalings=comma_list(scalings), sharpness=filters,
            groups=None if groups is None else comma_list(groups), others=others, seed=seed, give_up=give_up,
            progress=bar,
        )  # fmt: skip
        best = frontier(table, measure=measure)
        found, problem, confirmed = None, None, None
        if asked:
            try:
                limits = {} if unseen is None else {"forget_unseen": unseen}
                found = recommend(table, **wanted, limits=limits, measure=measure)
            except DataError as error:
                problem = str(error)
        if found is not None and confirm_on is not None:
            confirmed = _confirmed(subject, atlas, found, table, confirm_on, seed, bar)
    if csv is not None:
        write_text(csv, table.to_csv(index=False))
    if html is not None:
        write_text(html, _page(table, best, measure, found, subject.task.unit, model))
    if as_json:
        print_json(_result(model, atlas, table, best, found, problem, confirmed))
    else:
        _print(model, table, best, found, problem, confirmed, measure)
        for file in filter(None, (csv, html)):
            out_console.print(f"wrote {file}", soft_wrap=True)
    if problem is not None:
        raise EngramError(problem)


def _levels(text: str) -> list[float]:
    try:
        return [float(part) for part in comma_list(text)]
    except ValueError:
        raise EngramError(f"--strengths takes numbers separated by commas; found {text!r}.") from None


def _filters(text: str) -> list[Sharpness]:
    found = []
    for part in comma_list(text):
        power = part.removesuffix("clip")
        try:
            found.append(Sharpness(float(power or 1), power != part))
        except ValueError as error:
            if isinstance(error, EngramError):
                raise
            raise EngramError(f"--sharpness takes powers such as 1,1.5,2clip; found {part!r}.") from None
    return found


def _confirmed(
    subject: Subject, atlas: Any, found: Recommendation, table: pd.DataFrame, count: int, seed: int, bar: Any
) -> pd.DataFrame:
    """Measure the setting on concepts that took no part, in sets of the size it was found on."""
    drawn = draw_concepts(subject.concepts, count, seed=seed + 1, without=found.found_on)
    size = len(table.attrs["targets"][0])
    chosen: dict[str, Any] = {"concepts": drawn}
    if size > 1:
        if count % size:
            raise DataError(f"--confirm {count}: give a multiple of {size}, the size of a set.")
        chosen = {"together": [drawn[i :: count // size] for i in range(count // size)]}
    return confirm(
        subject, atlas, found.setting, **chosen, layers=found.layers, found_on=found.found_on, seed=seed,
        progress=bar,
    )  # fmt: skip


def _number(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): _number(v) for k, v in row.items()} for row in table.to_dict("records")]


def _means(confirmed: pd.DataFrame) -> dict[str, float | None]:
    means = confirmed.drop(columns="concept").mean()
    means["worst_forget"], means["worst_damage"] = confirmed["worst_forget"].max(), confirmed["damage"].max()
    return {str(name): _number(float(value)) for name, value in means.items()}


def _result(
    model: str,
    atlas: Any,
    table: pd.DataFrame,
    best: pd.DataFrame,
    found: Recommendation | None,
    problem: str | None,
    confirmed: pd.DataFrame | None,
) -> dict[str, Any]:
    result: dict[str, Any] = {"model": model, "model_hash": atlas.identity.digest} | table.attrs
    result |= {"settings": _records(table), "frontier": _records(best), "recommendation": None}
    if found is not None:
        result["recommendation"] = {
            "setting": found.setting, "layers": list(found.layers), "sentence": found.sentence,
            "figures": {name: _number(value) for name, value in found.figures.items()},
        }  # fmt: skip
    if problem is not None:
        result["problem"] = problem
    if confirmed is not None:
        result["confirmed"] = {
            "mean": _means(confirmed), "count": len(confirmed), "each": _records(confirmed),
        }  # fmt: skip
    return result


def _print(
    model: str,
    table: pd.DataFrame,
    best: pd.DataFrame,
    found: Recommendation | None,
    problem: str | None,
    confirmed: pd.DataFrame | None,
    measure: str,
) -> None:
    tail = "" if measure == "score" else f"_{measure}"
    columns = [f"forget{tail}", f"retain{tail}", f"lost{tail}", f"damage{tail}"]
    if not tail and "forget_unseen" in table:
        columns.insert(1, "forget_unseen")
    about = table.attrs
    size = len(about["targets"][0])
    what = (
        f"{len(about['targets'])} × {size} concepts together"
        if size > 1
        else f"{len(about['targets'])} concepts"
    )
    left = f"; {about['skipped']} stronger settings left out" if about["skipped"] else ""
    print_table(
        f"Frontier of {len(table)} settings on {model}, {what}",
        ["layers", "scaling", "power", "clip", "α", *columns],
        [
            [r["group"], r["scaling"], f"{r['power']:g}", "yes" if r["clip"] else "", f"{r['strength']:g}",
             *(float(r[c]) for c in columns)]
            for r in best.to_dict("records")
        ],
        caption=f"forget: mean {about['unit'] if not tail else measure} of what is erased; "
        f"retain: of the others{left}",
    )  # fmt: skip
    if found is not None:
        out_console.print(found.sentence)
    if confirmed is not None:
        means = _means(confirmed)
        shown = [*columns, "worst_forget", "worst_damage"]
        print_table(
            f"Confirmed on {len(confirmed)} others",
            ["", "mean"],
            [[name, means[name]] for name in shown if means.get(name) is not None],
            caption="worst_…: of all of them, not the mean",
        )


def _page(
    table: pd.DataFrame, best: pd.DataFrame, measure: str, found: Recommendation | None, unit: str, model: str
) -> str:
    figure = figures("frontier").frontier_figure(
        table, best, measure=measure, unit=unit, chosen=None if found is None else found.setting, title=model
    )
    return figure.to_html(include_plotlyjs=True, full_html=True)
