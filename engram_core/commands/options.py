"""Options that several commands share: their names, what they say of themselves, how they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ..errors import EngramError
from ..opening.samples import sample_names

__all__ = [
    "AsJson",
    "Blocks",
    "Clip",
    "Columns",
    "ConceptsFile",
    "Cut",
    "Erased",
    "Kept",
    "Layers",
    "ModelName",
    "Named",
    "NullName",
    "OutFile",
    "PositionsName",
    "Power",
    "Random",
    "ScalingName",
    "Seed",
    "Strength",
    "Template",
    "comma_list",
    "layer_names",
    "numbers",
]


def _samples_like(typed: str) -> list[str]:
    """Return the samples that a shell may complete what is typed to; a folder is the shell's own affair."""
    return [name for name in sample_names() if name.startswith(typed)]


ModelName = Annotated[
    str,
    typer.Argument(
        help="A sample model (see `engram samples`), a folder, or a hub name.",
        show_default=False,
        autocompletion=_samples_like,
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
Columns = Annotated[
    str | None,
    typer.Option(
        "--columns",
        help="The names that the file of texts uses, by ours: concept=subject,prompt=question,answer=answer.",
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
Power = Annotated[
    float | None,
    typer.Option(
        "--selectivity",
        "--sharpness",
        help="The filter's exponent; 1 is the paper's engram. Default: 1, or that of --atlas.",
        show_default=False,
    ),
]
Clip = Annotated[bool, typer.Option("--cap", "--clip", help="Cap at 1×: remove no direction more than once.")]
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
Kept = Annotated[
    list[str] | None, typer.Option("--isolate", "--keep", help="Isolate this concept (repeatable).")
]
Named = Annotated[
    list[str] | None,
    typer.Option(
        "--concepts",
        help="Only these concepts, separated by commas (repeatable). A name with commas is known as it "
        "stands, or write \\, for a comma in a name. Default: all.",
    ),
]
NullName = Annotated[
    Literal["nothing", "in place"],
    typer.Option("--null", help="Isolate from zero weights (nothing), or subtract the others (in place)."),
]
Strength = Annotated[float, typer.Option(help="α; 1 is the engram itself.")]
ScalingName = Annotated[
    Literal["plain", "adaptive"], typer.Option("--scaling", help="How the layers are weighed.")
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the first control.")]
OutFile = Annotated[Path, typer.Option("--out", "-o", help="File to write (.safetensors).")]


def layer_names(layers: str | None) -> str | list[str] | None:
    """Read the option --layers."""
    if layers is None:
        return None
    if layers.startswith("re:"):
        return layers.removeprefix("re:")
    return comma_list(layers)


def numbers(text: str | None) -> list[int] | None:
    """Read the option --blocks.

    Returns:
        The numbers, or None where the option was not given.

    Raises:
        EngramError: if it holds anything but whole numbers.
    """
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise EngramError(f"--blocks takes whole numbers separated by commas; found {text!r}.") from None


def comma_list(text: str) -> list[str]:
    """Return the parts of a comma-separated list."""
    return [part.strip() for part in text.split(",") if part.strip()]
