"""`engram ask`: one prompt, continued by the base and the edited model, and what changed in between."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import pandas as pd
import typer
from torch import nn

from ..concepts.tasks import Subject
from ..editing.live_edit import live_edit
from ..errors import EngramError
from ..solving.filters import Sharpness
from .shared import (
    AsJson,
    Blocks,
    Clip,
    ConceptsFile,
    Erased,
    Kept,
    Layers,
    ModelName,
    NullName,
    PositionsName,
    Power,
    ScalingName,
    Strength,
    Template,
    bar_of_progress,
    check_named,
    edited_view,
    open_subject,
    out_console,
    print_json,
    print_table,
)

__all__ = ["ask"]


def ask(
    model: ModelName,
    prompt: Annotated[str, typer.Argument(help="What both models go on from.", show_default=False)],
    concepts: Erased = None,
    concepts_file: ConceptsFile = None,
    positions: PositionsName = None,
    template: Template = False,
    keep: Kept = None,
    null: NullName = "nothing",
    strength: Strength = 1.0,
    scaling: ScalingName = "plain",
    sharpness: Power = 1.0,
    clip: Clip = False,
    layers: Layers = None,
    blocks: Blocks = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Most tokens that each writes.")] = 24,
    temperature: Annotated[
        float, typer.Option(min=0.0, help="0 takes the likeliest token; above, tokens are drawn.")
    ] = 0.0,
    top_p: Annotated[float, typer.Option(help="Draw among the likeliest that reach this sum.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the draws; the same for both models.")] = 0,
    chat: Annotated[
        bool, typer.Option("--chat", help="Put the prompt into the tokenizer's chat template.")
    ] = False,
    top: Annotated[int, typer.Option(min=1, help="Next tokens shown of each model.")] = 8,
    tokens: Annotated[
        str | None,
        typer.Option(help="Also how much the edit changes every token of this text; '' is the prompt."),
    ] = None,
    by: Annotated[
        Literal["layer", "blocks", "projections"] | None,
        typer.Option(help="With --tokens: also with one layer, block or projection of the edit alone."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask a language model before and after an edit: both texts, the next token, the tokens that changed."""
    check_named(concepts, keep)
    if by is not None and tokens is None:
        raise EngramError("--by goes with --tokens TEXT (--tokens '' for the prompt itself).")
    subject = open_subject(model, concepts_file, positions=positions, template=template)
    if not subject.task.reads_text:
        raise EngramError(f"{model} is no language model, so there is nothing to ask it. Use engram erase.")
    with bar_of_progress() as bar:
        view = edited_view(
            subject, bar, concepts, keep, strength=strength, null=null, scaling=scaling,
            sharpness=Sharpness(sharpness, clip), layers=layers, blocks=blocks,
        )  # fmt: skip
        texts = _continued(
            subject, view, prompt, max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p,
            seed=seed, chat=chat,
        )  # fmt: skip
        following = _next(subject, view, prompt, top, chat)
        changes = None if tokens is None else _changes(subject, view, tokens or prompt, by, bar)
    control = live_edit(view)
    report = control.report()
    if as_json:
        print_json(
            {
                "model": model,
                "model_hash": control.atlas.identity.digest,
                "prompt": prompt,
                "chat": chat,
                "erased": report.erased,
                "kept": report.kept,
                "layers": report.per_layer,
                "relative_change": report.relative,
                "writing": {
                    "max_new_tokens": max_new_tokens, "temperature": temperature, "top_p": top_p,
                    "seed": seed,
                },
                "base": texts["base"],
                "edited": texts["edited"],
                "next": _records(following),
                "tokens": None if changes is None else _records(changes),
            }
        )  # fmt: skip
        return
    for name, written in texts.items():
        out_console.print(f"{name + ':':8}{prompt}", end="", soft_wrap=True)
        out_console.print(written["text"], style="bold", soft_wrap=True)
    print_table(
        "Next token",
        ["token", "base", "edited", "difference", "rank, base", "rank, edited"],
        [
            [repr(row["token"]), row["before"], row["after"], row["change"], row["rank_before"],
             row["rank_after"]]
            for row in following.to_dict("records")
        ],
        caption="probabilities; rank 1 is the likeliest of the whole vocabulary",
    )  # fmt: skip
    if changes is not None:
        _print_changes(changes)
    out_console.print(f"Changed ‖ΔW‖/‖W‖ = {report.relative:.3f}. The base model is untouched.")


def _continued(subject: Subject, view: nn.Module, prompt: str, **options: Any) -> dict[str, dict[str, Any]]:
    """Return what each model writes: text, token numbers, their log-probabilities, how it ended."""
    from ..language import side_by_side

    tokenizer = subject.task.tokenizer  # type: ignore[attr-defined]
    sides: tuple[list[Any], list[Any]] = ([], [])
    for pair in side_by_side(subject.model, view, tokenizer, prompt, **options):
        for side, token in zip(sides, pair, strict=True):
            if token is not None:
                side.append(token)
    return {
        name: {
            "text": "".join(token.text for token in side),
            "ids": [token.id for token in side],
            "logprobs": [_number(token.logprob) for token in side],
            "end": side[-1].end,
        }
        for name, side in zip(("base", "edited"), sides, strict=True)
    }


def _next(subject: Subject, view: nn.Module, prompt: str, top: int, chat: bool) -> pd.DataFrame:
    from ..language import next_tokens

    tokenizer = subject.task.tokenizer  # type: ignore[attr-defined]
    return next_tokens(subject.model, view, tokenizer, prompt, k=top, chat=chat)


def _changes(subject: Subject, view: nn.Module, text: str, by: str | None, bar: Any) -> pd.DataFrame:
    from ..language import token_changes

    tokenizer = subject.task.tokenizer  # type: ignore[attr-defined]
    return token_changes(subject.model, view, tokenizer, text, by=by, progress=bar)


def _print_changes(changes: pd.DataFrame) -> None:
    """Print one row per token; with parts of the edit, a column of changes for each."""
    parts = list(dict.fromkeys(changes["part"]))
    whole = changes[changes["part"] == parts[0]].to_dict("records")
    alone = {part: changes.loc[changes["part"] == part, "change"].tolist() for part in parts[1:]}

    def said(value: float) -> str:
        return "–" if math.isnan(value) else f"{value:+.3f}"

    print_table(
        "Tokens",
        ["token", "base", "edited", "change", *alone],
        [
            [repr(row["token"]), *(said(row[name]) for name in ("before", "after", "change")),
             *(said(values[i]) for values in alone.values())]
            for i, row in enumerate(whole)
        ],
        caption="log-probability in nats, given what comes before; the first token is predicted by nothing",
    )  # fmt: skip


def _number(value: Any) -> Any:
    """JSON knows no infinity and no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): _number(v) for k, v in row.items()} for row in table.to_dict("records")]
