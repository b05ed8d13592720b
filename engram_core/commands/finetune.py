"""`engram finetune`: erase and compose memories of a fine-tune, held against its base."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ..errors import EngramError
from ..fine_tuning.trial import Row, Trial, try_fine_tune
from ..fine_tuning.writing import written_shares
from ..language.published import parse_columns
from ..opening.fine_tunes import load_fine_tune
from .options import AsJson, Columns, ConceptsFile, Seed, Template, comma_list
from .printing import print_json
from .progress_bar import bar_of_progress
from .subject import settle_threads
from .tables import print_table

__all__ = ["finetune"]

_TITLES = {
    "erase": "Erase, out of the fine-tune alone",
    "compose": "Compose, from the base",
    "erase_from_weights": "For comparison: erase out of the whole weights",
}


def finetune(
    model: Annotated[
        str,
        typer.Argument(help="The fine-tuned model: a folder, a hub name, or the folder of a PEFT adapter."),
    ],
    texts: ConceptsFile = None,
    base: Annotated[
        str | None, typer.Option(help="What it started from: a sample, a folder, or a hub name.")
    ] = None,
    known: Annotated[
        str | None,
        typer.Option(
            help="Texts about what the base knew. Default: the concepts of a sample that is the base."
        ),
    ] = None,
    counts: Annotated[
        str, typer.Option(help="How many memories at once, separated by commas; all stands for all.")
    ] = "1,8,all",
    template: Template = False,
    columns: Columns = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Erase and compose memories of a fine-tune, at settings found on other memories of it.

    The engrams are parts of what the fine-tune wrote: the difference of its weights and those of its base.
    """
    if texts is None:
        raise EngramError(
            "Say what the fine-tune learned: give --texts FILE, one line to a prompt and answer."
        )
    wanted = _counts(counts)
    settle_threads()
    options: dict[str, Any] = {"template": True} if template else {}
    if columns is not None:
        options["columns"] = parse_columns(columns)
    fine_tune = load_fine_tune(model, texts, base=base, known=known, **options)
    have = len(fine_tune.subject.concepts)
    with bar_of_progress() as bar:
        atlases = fine_tune.atlases(bar)
        chosen = [have if count is None else count for count in wanted if count is None or count <= have]
        trial = try_fine_tune(fine_tune, atlases=atlases, counts=chosen, seed=seed, progress=bar)
    pretrained = atlases["fine-tune"].pretrained
    assert pretrained is not None
    outside = [d for d in pretrained.differences() if not d.covered]
    written = written_shares(atlases["fine-tune"]).groupby("layer", sort=False)["share"].mean()
    if as_json:
        print_json(
            {
                "model": model, "concepts": have, **trial.to_dict(), "written_by_layer": written.to_dict(),
                "outside": [{"name": d.name, "relative": d.relative, "share": d.share} for d in outside],
            }
        )  # fmt: skip
        return
    _print(trial)
    if outside:
        share = sum(d.share for d in outside)
        print_table(
            "Changed outside the covered layers: stays as the fine-tuned model has it",
            ["parameter", "change / before", "share of the whole change"],
            [[d.name, d.relative, d.share] for d in outside[:20]],
            caption=f"{len(outside)} parameters, {share:.1%} of the squared change",
        )


def _counts(text: str) -> list[int | None]:
    """Read the option --counts; None stands for all."""
    try:
        return [None if part == "all" else int(part) for part in comma_list(text)]
    except ValueError:
        raise EngramError(
            f"--counts takes whole numbers or all, separated by commas; found {text!r}."
        ) from None


def _print(trial: Trial) -> None:
    for form, title in _TITLES.items():
        print_table(
            title,
            ["memories", "chosen", "other new", "old", "unseen phrasings", "filter", "found on"],
            [_line(row) for row in trial.rows[form]],
            caption=f"mean score; base: new {trial.before.chosen:.3f}, fine-tuned: {trial.after.chosen:.3f}",
        )


def _line(row: Row) -> list[Any]:
    sharp, figures = row.found.setting.sharpness, row.figures
    return [
        row.count, figures.chosen, figures.other_new, figures.old, figures.paraphrases,
        f"min(1, {sharp.gain:g} μ^{sharp.power:g})", "themselves" if row.all_of_them else "others",
    ]  # fmt: skip
