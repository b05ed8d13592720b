"""What the commands share: options, tables, progress, and how a model is found by its name."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
import torch
import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn

from ..atlas import Atlas
from ..concepts.tasks import Subject
from ..errors import DataError, EngramError, suggest
from ..models.groups import choose_groups
from ..opening.load import load_model, load_subject, with_positions
from ..opening.prepared import prepare
from ..opening.samples import load_sample, missing_samples, sample_names
from ..solving.filters import Sharpness
from ..tuning.sweep import draw_concepts
from . import printing
from .names import concept_strengths, known_name, names_in
from .printing import PlainConsole, plain
from .printing import print_json as print_json

out_console = PlainConsole()
err_console = PlainConsole(stderr=True)
WIDEST = 20  # concepts; a wider matrix does not fit a terminal

# -- options that several commands share ----------------------------------------------------------

ModelName = Annotated[
    str,
    typer.Argument(
        help="A sample model (see `engram samples`), a folder, or a hub name.", show_default=False
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
Layers = Annotated[
    str | None,
    typer.Option(
        help="Comma-separated name suffixes, re:PATTERN for a regular expression, or (when editing) "
        "group:NAME, such as group:attention, group:v+o, 'group:block 0'. Default: all."
    ),
]
ConceptsFile = Annotated[
    Path | None,
    typer.Option(
        "--concepts-file",
        "--texts",
        help="Concepts: texts (JSONL or CSV), or a folder or zip of pictures, one folder per class.",
    ),
]
PositionsName = Annotated[
    Literal["all", "predict", "answer"] | None,
    typer.Option(
        "--positions",
        help="Language models: which tokens of a concept's texts are recorded: all, those that predict the "
        "answer, or the answer's own. Default: all.",
    ),
]
Template = Annotated[
    bool,
    typer.Option("--template", help="Language models: put prompts into the tokenizer's chat template."),
]
Random = Annotated[int | None, typer.Option(min=1, help="This many concepts, drawn at random with --seed.")]
Blocks = Annotated[str | None, typer.Option(help="Comma-separated numbers: layers of these blocks only.")]
Power = Annotated[float, typer.Option("--sharpness", help="Power of the filter; 1 is the paper's engram.")]
Clip = Annotated[bool, typer.Option("--clip", help="Remove no direction more than once.")]
Cut = Annotated[
    float | None, typer.Option(help="Eigenvalue cut as a fraction of the largest; default width × 1.2e-7.")
]
Erased = Annotated[
    list[str] | None,
    typer.Argument(
        help="Concepts to erase, each as NAME or NAME=STRENGTH; a name with = in it is known as it stands. "
        "Put -- before names that begin with a dash."
    ),
]
Kept = Annotated[list[str] | None, typer.Option("--keep", help="Keep only this concept (repeatable).")]
Named = Annotated[
    list[str] | None,
    typer.Option(
        "--concepts",
        help="Only these concepts, separated by commas (repeatable). A name with commas is known as it "
        "stands, or write \\, for a comma in a name. Default: all.",
    ),
]
NullName = Annotated[Literal["nothing", "in place"], typer.Option("--null", help="What keeping starts from.")]
Strength = Annotated[float, typer.Option(help="α; 1 is the engram itself.")]
ScalingName = Annotated[
    Literal["plain", "adaptive"], typer.Option("--scaling", help="How the layers are weighed.")
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the first sham.")]
OutFile = Annotated[Path, typer.Option("--out", "-o", help="File to write (.safetensors).")]


def selection(layers: str | None) -> str | list[str] | None:
    """Read the option --layers."""
    if layers is None:
        return None
    if layers.startswith("re:"):
        return layers.removeprefix("re:")
    return [part.strip() for part in layers.split(",") if part.strip()]


def numbers(text: str | None) -> list[int] | None:
    """Read the option --blocks."""
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise EngramError(f"--blocks takes whole numbers separated by commas; found {text!r}.") from None


@contextmanager
def bar_of_progress() -> Iterator[Callable[[int, int | None, str], None]]:
    """Yield a progress callback that draws a bar on the error stream once a second has passed."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
    )
    started = time.monotonic()
    bar = Progress(*columns, TimeRemainingColumn(), console=err_console, transient=True)
    task = bar.add_task("", total=None)
    shown = False

    def report(done: int, total: int | None, text: str) -> None:
        nonlocal shown
        bar.update(task, completed=done, total=total, description=plain(text))
        if not shown and time.monotonic() - started > 1:
            shown = True
            bar.start()

    try:
        yield report
    finally:
        if shown:
            bar.stop()


def print_table(
    title: str, columns: list[str], rows: list[list[Any]], *, caption: str = "", digits: int = 3
) -> None:
    """Print a table; the first column is its row labels."""
    printing.print_table(out_console, title, columns, rows, caption=caption, digits=digits)


def print_matrix(title: str, frame: pd.DataFrame, column: str, caption: str) -> None:
    """Print one column of a tidy table as concept × probe."""
    wide = frame.pivot(index="concept", columns="probe", values=column)
    order = list(dict.fromkeys(frame["probe"]))
    rows = [[name, *(float(wide.loc[name, p]) for p in order)] for name in dict.fromkeys(frame["concept"])]
    print_table(title, ["", *order], rows, caption=caption, digits=2)


# -- models and concepts ---------------------------------------------------------------------------


def open_subject(
    name: str,
    concepts_file: Path | None = None,
    *,
    positions: str | None = None,
    template: bool = False,
) -> Subject:
    """Find a model by its name, with its concepts and task.

    Args:
        name: a sample model; else a local folder or a hub name.
        concepts_file: texts (JSONL or CSV), or a folder or zip of pictures. A sample has these concepts then
            instead of its own; any model that is no sample needs concepts.
        positions: language models: which tokens are recorded (see `language.LanguageConcepts`).
        template: language models: put prompts into the chat template.

    Raises:
        UnknownNameError: for a name that is no sample and looks like no path or hub name.
        DataError: for a model of one's own without concepts, or texts, positions or a template given to a
            model that takes none.
        StorageError, DependencyError: see `load_subject`.
    """
    settle_threads()
    options: dict[str, Any] = {} if positions is None else {"positions": positions}
    if template:
        options["template"] = True
    if concepts_file is not None:
        return load_subject(name, concepts_file, **options)
    if is_own(name):
        raise DataError(
            f"{name} is no sample model, so its concepts are not known: give --concepts-file FILE (texts in "
            "JSONL or CSV, or a folder of pictures, one folder per class)."
        )
    with bar_of_progress() as bar:
        sample = load_sample(name, progress=bar)  # raises for an unknown one, and names the nearest
    return with_positions(sample, **options) if options else sample


def is_own(name: str) -> bool:
    """Return whether a name is of a folder or of the hub, not of a sample."""
    if name in (*sample_names(), *missing_samples()):
        return False
    looks_like_one = re.fullmatch(r"[\w.-]+/[\w.-]+", name) or name.startswith(("/", "./", "../", "~"))
    return bool(looks_like_one) or os.path.isdir(name)


def open_model(name: str) -> nn.Module:
    """Find a model by its name, without concepts.

    Raises:
        UnknownNameError, StorageError, DependencyError: see `open_subject`.
    """
    return load_model(name) if is_own(name) else open_subject(name).model


def settle_threads() -> None:
    """Choose how many threads compute, unless the user has (``OMP_NUM_THREADS``).

    On two cores one is enough: beside any other work two wait for each other's turn, and take many times as
    long as one. More than eight are no faster for matrices of these sizes.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        torch.set_num_threads(1 if cores <= 2 else min(torch.get_num_threads(), 8))


def extracted(subject: Subject, bar: Any, *, cut: float | None = None, **options: Any) -> Atlas:
    """Return the engrams of all concepts of a subject, from the cache if it has them."""
    return prepare(subject, cut=cut, progress=bar, **options)


def about_subject(subject: Subject) -> dict[str, Any]:
    """Return what a file of this subject carries of its concepts: of a language model, its texts."""
    return subject.concepts.about()


def picked_concepts(
    subject: Subject, concepts: list[str] | None, random: int | None, seed: int, without: Iterable[str] = ()
) -> list[str] | None:
    """Return the concepts named in a list, or drawn at random, or None for all."""
    if concepts is not None and random is not None:
        raise DataError("Give --concepts or --random, not both.")
    if random is not None:
        return draw_concepts(subject.concepts, random, seed=seed, without=without)
    return None if not concepts else names_in(concepts, list(subject.concepts))


def check_named(concepts: list[str] | None, keep: list[str] | None) -> None:
    """Refuse an edit of nothing, before a model is loaded for it."""
    if not concepts and not keep:
        raise EngramError("Name a concept to erase, or one to keep with --keep NAME.")


def check_known(names: Iterable[str] | None, known: Collection[str]) -> list[str]:
    """Return the names as concepts have them; refuse one that none has, before anything is recorded."""
    found = []
    for typed in names or ():
        name = known_name(typed, known)
        if name is None:
            raise suggest("concept", typed, known)
        found.append(name)
    return found


def edited_view(
    subject: Subject,
    bar: Any,
    concepts: list[str] | None,
    keep: list[str] | None,
    *,
    strength: float,
    null: str,
    scaling: Literal["plain", "adaptive"],
    sharpness: Sharpness,
    layers: str | None,
    blocks: str | None,
) -> nn.Module:
    """Record and extract, and return a view with the edit that the options describe."""
    known = list(subject.concepts)
    erase = concept_strengths(concepts or [], strength, known)
    kept = check_known(keep, known)
    atlas = extracted(subject, bar, sharpness=sharpness)
    return atlas.apply(
        subject.model, erase=erase, keep=kept or None, null=null,
        scaling=scaling, layers=picked_layers(atlas, layers), blocks=numbers(blocks),
    )  # fmt: skip


def comma_list(text: str) -> list[str]:
    """Return the parts of a comma-separated list."""
    return [part.strip() for part in text.split(",") if part.strip()]


def picked_layers(atlas: Atlas, layers: str | None) -> str | list[str] | None:
    """Return `selection`, with ``group:NAME`` looked up among the atlas's layers."""
    if layers is not None and layers.startswith("group:"):
        name = layers.removeprefix("group:")
        return list(choose_groups(atlas.layers, [name])[name])
    return selection(layers)
