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
from ..storing.files import write_text
from ..tuning.recommend import Recommendation
from ..tuning.sweep import confirm, draw_concepts, frontier
from ..tuning.sweep import sweep as run_sweep
from .engrams import EngramOptions
from .grouping import grouped
from .options import AsJson, Cut
from .printing import out_console, print_json
from .progress_bar import bar_of_progress
from .subject import DrawOptions, SubjectOptions
from .sweep_options import SettingOptions, WantedOptions
from .tables import finite, print_table, records

__all__ = ["sweep"]


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
    tried: SettingOptions,
    wanted: WantedOptions,
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
