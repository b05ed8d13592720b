"""`engram ask`: one prompt, continued by the base and the edited model, and what changed in between."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pandas as pd
import typer
from torch import nn

from ..editing.live_edit import live_edit
from ..errors import EngramError
from ..language import next_tokens, side_by_side, token_changes
from .edit import EditOptions
from .engrams import EngramOptions
from .grouping import grouped
from .options import AsJson
from .printing import out_console, print_json
from .progress_bar import bar_of_progress
from .subject import SubjectOptions, recall_of
from .tables import finite, print_table, records

__all__ = ["ask"]


@dataclass(frozen=True)
class _WritingOptions:
    """How both models go on."""

    max_new_tokens: Annotated[int, typer.Option(min=1, help="Most tokens that each writes.")] = 24
    temperature: Annotated[
        float, typer.Option(min=0.0, help="0 takes the likeliest token; above, tokens are drawn.")
    ] = 0.0
    top_p: Annotated[float, typer.Option(help="Draw among the likeliest that reach this sum.")] = 1.0
    seed: Annotated[int, typer.Option(min=0, help="Of the draws; the same for both models.")] = 0
    chat: Annotated[
        bool, typer.Option("--chat", help="Put the prompt into the tokenizer's chat template.")
    ] = False


@dataclass(frozen=True)
class _TokenOptions:
    """What is shown beside the two texts."""

    top: Annotated[int, typer.Option(min=1, help="Next tokens shown of each model.")] = 8
    tokens: Annotated[
        str | None,
        typer.Option(help="Also how much the edit changes every token of this text; '' is the prompt."),
    ] = None
    by: Annotated[
        Literal["layer", "blocks", "projections"] | None,
        typer.Option(help="With --tokens: also with one layer, block or projection of the edit alone."),
    ] = None

    def check(self) -> None:
        """Refuse what does not go together, before a model is loaded for it.

        Raises:
            EngramError: naming the options.
        """
        if self.by is not None and self.tokens is None:
            raise EngramError("--by goes with --tokens TEXT (--tokens '' for the prompt itself).")


@dataclass(frozen=True)
class _Answer:
    """What both models say.

    Attributes:
        texts: by model: text, token numbers, their log-probabilities, how it ended.
        following: the next tokens (see `language.next_tokens`).
        changes: of every token of a text (see `language.token_changes`), or None.
    """

    texts: dict[str, dict[str, Any]]
    following: pd.DataFrame
    changes: pd.DataFrame | None


@grouped
def ask(
    chosen: SubjectOptions,
    prompt: Annotated[str, typer.Argument(help="What both models go on from.", show_default=False)],
    edit: EditOptions,
    engrams: EngramOptions,
    writing: _WritingOptions,
    shown: _TokenOptions,
    as_json: AsJson = False,
) -> None:
    """Ask a language model before and after an edit: both texts, the next token, the tokens that changed."""
    edit.check()
    engrams.check()
    shown.check()
    subject = chosen.open()
    task = recall_of(subject)
    if task is None:
        raise EngramError(
            f"{chosen.model} is no language model, so there is nothing to ask it. Use engram erase."
        )
    with bar_of_progress() as bar:
        view = edit.view(subject, engrams, bar)
        answer = _answered((subject.model, view), task.tokenizer, prompt, writing, shown, bar)
    if as_json:
        print_json(_result(chosen.model, view, prompt, writing, answer))
    else:
        _print(prompt, view, answer)


def _answered(
    models: tuple[nn.Module, nn.Module],
    tokenizer: Any,
    prompt: str,
    writing: _WritingOptions,
    shown: _TokenOptions,
    bar: Any,
) -> _Answer:
    """Ask the base and the edited model."""
    texts = _continued(models, tokenizer, prompt, writing)
    following = next_tokens(*models, tokenizer, prompt, k=shown.top, chat=writing.chat)
    changes = None
    if shown.tokens is not None:
        changes = token_changes(*models, tokenizer, shown.tokens or prompt, by=shown.by, progress=bar)
    return _Answer(texts, following, changes)


def _continued(
    models: tuple[nn.Module, nn.Module], tokenizer: Any, prompt: str, writing: _WritingOptions
) -> dict[str, dict[str, Any]]:
    sides: tuple[list[Any], list[Any]] = ([], [])
    for pair in side_by_side(
        *models, tokenizer, prompt, max_new_tokens=writing.max_new_tokens, temperature=writing.temperature,
        top_p=writing.top_p, seed=writing.seed, chat=writing.chat,
    ):  # fmt: skip
        for side, token in zip(sides, pair, strict=True):
            if token is not None:
                side.append(token)
    return {
        name: {
            "text": "".join(token.text for token in side),
            "ids": [token.id for token in side],
            "logprobs": [finite(token.logprob) for token in side],
            "end": side[-1].end,
        }
        for name, side in zip(("base", "edited"), sides, strict=True)
    }


def _result(
    model: str, view: nn.Module, prompt: str, writing: _WritingOptions, answer: _Answer
) -> dict[str, Any]:
    control = live_edit(view)
    report = control.report()
    return {
        "model": model,
        "model_hash": control.atlas.identity.digest,
        "prompt": prompt,
        "chat": writing.chat,
        "erased": report.erased,
        "kept": report.kept,
        "layers": report.per_layer,
        "relative_change": report.relative,
        "writing": {
            "max_new_tokens": writing.max_new_tokens, "temperature": writing.temperature,
            "top_p": writing.top_p, "seed": writing.seed,
        },
        "base": answer.texts["base"],
        "edited": answer.texts["edited"],
        "next": records(answer.following),
        "tokens": None if answer.changes is None else records(answer.changes),
    }  # fmt: skip


def _print(prompt: str, view: nn.Module, answer: _Answer) -> None:
    for name, written in answer.texts.items():
        out_console.print(f"{name + ':':8}{prompt}", end="", soft_wrap=True)
        out_console.print(written["text"], style="bold", soft_wrap=True)
    print_table(
        "Next token",
        ["token", "base", "edited", "difference", "rank, base", "rank, edited"],
        [
            [repr(row["token"]), row["before"], row["after"], row["change"], row["rank_before"],
             row["rank_after"]]
            for row in answer.following.to_dict("records")
        ],
        caption="probabilities; rank 1 is the likeliest of the whole vocabulary",
    )  # fmt: skip
    if answer.changes is not None:
        _print_changes(answer.changes)
    relative = live_edit(view).report().relative
    out_console.print(f"Changed ‖ΔW‖/‖W‖ = {relative:.3f}. The base model is untouched.")


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
