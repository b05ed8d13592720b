"""`engram sweep`: find the strength, and hold it against other concepts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from ..atlas import Atlas
from ..concepts.tasks import Subject
from ..errors import DataError, EngramError
from ..opening.plugins import provided
from ..solving.filters import Sharpness
from ..storing.files import write_text
from ..tuning.recommend import Recommendation, recommend
from ..tuning.sweep import STRENGTHS, confirm, draw_concepts, frontier
from ..tuning.sweep import sweep as run_sweep
from .engrams import EngramOptions
from .grouping import grouped
from .options import AsJson, Cut, comma_list
from .printing import out_console, print_json
from .progress_bar import bar_of_progress
from .subject import DrawOptions, SubjectOptions
from .tables import finite, print_table, records

__all__ = ["sweep"]

_LEVELS = ",".join(f"{s:g}" for s in STRENGTHS)


@dataclass(frozen=True)
class _SettingOptions:
    """Which settings of the edit are tried, and on how many concepts at once."""

    together: Annotated[bool, typer.Option("--together", help="Erase them all at once.")] = False
    sets: Annotated[int, typer.Option(min=1, help="With --together and --random N: this many sets of N.")] = 1
    strengths: Annotated[str, typer.Option(help="Comma-separated strengths to try.")] = _LEVELS
    scalings: Annotated[str, typer.Option(help="Of plain and adaptive.")] = "plain"
    sharpness: Annotated[
        str,
        typer.Option(
            "--selectivity", "--sharpness",
            help="Exponents of the filter, each as P, or as Pcap to cap it at 1×: 1,1.5,2,1.5cap.",
        ),
    ] = "1,1.5cap"  # fmt: skip
    groups: Annotated[
        str | None,
        typer.Option(
            help="Groups of layers: names (all, attention, mlp, q, v+o, 'block 0'), or parts, projections, "
            "blocks for all of a kind. Default: all and parts."
        ),
    ] = None
    others: Annotated[
        int | None, typer.Option(min=1, help="Score this many others for each erased one. Default: all.")
    ] = None
    give_up: Annotated[
        float | None, typer.Option(help="Stop raising a strength once the others lose more than this.")
    ] = None

    def settings(self) -> dict[str, Any]:
        """Return what `tuning.sweep.sweep` is told of them.

        Raises:
            EngramError: for a strength or a power that is no number.
        """
        return {
            "strengths": _levels(self.strengths), "scalings": comma_list(self.scalings),
            "sharpness": _filters(self.sharpness),
            "groups": None if self.groups is None else comma_list(self.groups),
            "others": self.others, "give_up": self.give_up,
        }  # fmt: skip

    def targets(self, names: list[str]) -> dict[str, Any]:
        """Return what is erased: concept by concept, or in sets."""
        if self.together:
            return {"together": [names[i :: self.sets] for i in range(self.sets)]}
        return {"concepts": names}


@dataclass(frozen=True)
class _WantedOptions:
    """What the recommended setting has to keep, and what it is confirmed on."""

    measure: Annotated[str, typer.Option(help="score, or what else the task measures, e.g. nll.")] = "score"
    forget: Annotated[
        float | None,
        typer.Option(
            "--forget", "--lost",
            help="Recommend: the erased lose at least this (a share, or nats), with the least damage.",
        ),
    ] = None  # fmt: skip
    left: Annotated[
        float | None, typer.Option(help="Recommend: the erased score at most this, with the least damage.")
    ] = None
    damage: Annotated[
        float | None, typer.Option(help="Recommend: others lose at most this, forget most.")
    ] = None
    unseen: Annotated[float | None, typer.Option(help="Recommend: unseen phrasings at most this.")] = None
    confirm: Annotated[
        int | None,
        typer.Option("--confirm", min=1, help="Measure the recommended setting on this many OTHER concepts."),
    ] = None

    @property
    def bounds(self) -> dict[str, float | None]:
        """What `tuning.recommend.recommend` is asked for."""
        return {"forget_at_most": self.left, "lost_at_least": self.forget, "damage_at_most": self.damage}

    @property
    def asked(self) -> bool:
        """Whether anything is to be recommended."""
        return any(value is not None for value in self.bounds.values())

    def recommended(self, table: pd.DataFrame) -> tuple[Recommendation | None, str | None]:
        """Return the recommended setting, or why there is none; neither if none was asked for."""
        if not self.asked:
            return None, None
        try:
            limits = {} if self.unseen is None else {"forget_unseen": self.unseen}
            return recommend(table, **self.bounds, limits=limits, measure=self.measure), None
        except DataError as error:
            return None, str(error)


@dataclass(frozen=True)
class _Found:
    """What a sweep found.

    Attributes:
        model: as it was named.
        digest: of the model's weights.
        table: one row per setting.
        best: the rows on the frontier.
        setting: the recommended one, or None.
        problem: why none was, where one was asked for.
        confirmed: one row per other concept, or None.
    """

    model: str
    digest: str
    table: pd.DataFrame
    best: pd.DataFrame
    setting: Recommendation | None
    problem: str | None
    confirmed: pd.DataFrame | None

    def to_dict(self) -> dict[str, Any]:
        """Return what --json prints."""
        result: dict[str, Any] = {"model": self.model, "model_hash": self.digest} | self.table.attrs
        result |= {
            "settings": records(self.table), "frontier": records(self.best), "recommendation": None,
        }  # fmt: skip
        if self.setting is not None:
            result["recommendation"] = {
                "setting": self.setting.setting, "layers": list(self.setting.layers),
                "sentence": self.setting.sentence,
                "figures": {name: finite(value) for name, value in self.setting.figures.items()},
            }  # fmt: skip
        if self.problem is not None:
            result["problem"] = self.problem
        if self.confirmed is not None:
            result["confirmed"] = {
                "mean": _means(self.confirmed), "count": len(self.confirmed),
                "each": records(self.confirmed),
            }  # fmt: skip
        return result


@grouped
def sweep(
    chosen: SubjectOptions,
    draw: DrawOptions,
    tried: _SettingOptions,
    wanted: _WantedOptions,
    engrams: EngramOptions,
    cut: Cut = None,
    csv: Annotated[Path | None, typer.Option(help="Write the whole table.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the figure, self-contained.")] = None,
    as_json: AsJson = False,
) -> None:
    """Find the strength: what is forgotten against what is retained, over settings of the edit.

    Without --forget, --left or --damage the frontier is printed and nothing is recommended. A recommended
    setting looks better on the concepts it was found on than it is: use --confirm.
    """
    if wanted.confirm is not None and not wanted.asked:
        raise EngramError("--confirm measures a recommended setting: say --forget, --left or --damage.")
    if tried.sets > 1 and not (tried.together and draw.random):
        raise EngramError("--sets goes with --together and --random N.")
    settings = tried.settings()
    engrams.check(cut=cut)
    subject = chosen.open()
    names = draw.names(subject, sets=tried.sets)
    with bar_of_progress() as bar:
        atlas = engrams.of(subject, bar, cut=cut)
        table = run_sweep(
            subject,
            atlas,
            **tried.targets(names or list(atlas.concepts)),
            **settings,
            seed=draw.seed,
            progress=bar,
        )
        best = frontier(table, measure=wanted.measure)
        setting, problem = wanted.recommended(table)
        confirmed = None
        if setting is not None and wanted.confirm is not None:
            confirmed = _confirmed(subject, atlas, setting, table, wanted.confirm, draw.seed, bar)
    found = _Found(chosen.model, atlas.identity.digest, table, best, setting, problem, confirmed)
    if csv is not None:
        write_text(csv, table.to_csv(index=False))
    if html is not None:
        write_text(html, _page(found, wanted.measure, subject.task.unit))
    if as_json:
        print_json(found.to_dict())
    else:
        _print(found, wanted.measure)
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
        power = part.removesuffix("clip").removesuffix("cap")  # "clip" is what it was called before
        try:
            found.append(Sharpness(float(power or 1), power != part))
        except ValueError as error:
            if isinstance(error, EngramError):
                raise
            raise EngramError(f"--selectivity takes exponents such as 1,1.5,2cap; found {part!r}.") from None
    return found


def _confirmed(
    subject: Subject,
    atlas: Atlas,
    setting: Recommendation,
    table: pd.DataFrame,
    count: int,
    seed: int,
    bar: Any,
) -> pd.DataFrame:
    """Measure the setting on concepts that took no part, in sets of the size it was found on."""
    drawn = draw_concepts(subject.concepts, count, seed=seed + 1, without=setting.found_on)
    size = len(table.attrs["targets"][0])
    targets: dict[str, Any] = {"concepts": drawn}
    if size > 1:
        if count % size:
            raise DataError(f"--confirm {count}: give a multiple of {size}, the size of a set.")
        targets = {"together": [drawn[i :: count // size] for i in range(count // size)]}
    return confirm(
        subject, atlas, setting.setting, **targets, layers=setting.layers, found_on=setting.found_on,
        seed=seed, progress=bar,
    )  # fmt: skip


def _means(confirmed: pd.DataFrame) -> dict[str, float | None]:
    means = confirmed.drop(columns="concept").mean()
    means["worst_forget"], means["worst_damage"] = confirmed["worst_forget"].max(), confirmed["damage"].max()
    return {str(name): finite(float(value)) for name, value in means.items()}


def _page(found: _Found, measure: str, unit: str) -> str:
    draw = provided(
        "engram_core.figures", "sweep", purpose="--html", instead="--csv and --json need nothing."
    )
    chosen = None if found.setting is None else found.setting.setting
    page: str = draw(found.table, found.best, measure=measure, unit=unit, chosen=chosen, title=found.model)
    return page


def _print(found: _Found, measure: str) -> None:
    tail = "" if measure == "score" else f"_{measure}"
    columns = [f"forget{tail}", f"retain{tail}", f"lost{tail}", f"damage{tail}"]
    if not tail and "forget_unseen" in found.table:
        columns.insert(1, "forget_unseen")
    about = found.table.attrs
    targets, size = len(about["targets"]), len(about["targets"][0])
    what = f"{targets} × {size} concepts together" if size > 1 else f"{targets} concepts"
    left = f"; {about['skipped']} stronger settings left out" if about["skipped"] else ""
    print_table(
        f"Frontier of {len(found.table)} settings on {found.model}, {what}",
        ["layers", "scaling", "selectivity", "cap", "α", *columns],
        [
            [r["group"], r["scaling"], f"{r['power']:g}", "yes" if r["clip"] else "", f"{r['strength']:g}",
             *(float(r[c]) for c in columns)]
            for r in found.best.to_dict("records")
        ],
        caption=f"forget: mean {about['unit'] if not tail else measure} of what is erased; "
        f"retain: of the others{left}",
    )  # fmt: skip
    if found.setting is not None:
        out_console.print(found.setting.sentence)
    if found.confirmed is not None:
        means = _means(found.confirmed)
        shown = [*columns, "worst_forget", "worst_damage"]
        print_table(
            f"Confirmed on {len(found.confirmed)} others",
            ["", "mean"],
            [[name, means[name]] for name in shown if means.get(name) is not None],
            caption="worst_…: of all of them, not the mean",
        )
