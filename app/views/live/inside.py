"""What an edit changed inside a language model: questions, tokens, layers, and everything else."""

from __future__ import annotations

import streamlit as st

from engram_core.errors import EngramError

from ...choice.choice import Choice
from ...compute import texts
from ...compute.edited_view import Visitor
from ...figures.charts.token_heatmaps import layer_token_heatmap, module_heatmap
from ...figures.panels.token_strip import token_strip_html
from ...figures.words.as_text import plain
from ...figures.words.layers import say_kinds
from ...figures.words.live import HOW
from ...figures.words.options import option_word
from ...figures.words.tokens import HOW_TOKENS, say_map, say_modules, say_tokens
from ...page import parts, progress
from ...server.base import Base
from ...session import state
from ..shared import controls

__all__ = ["SECTIONS", "draw"]

PAGE = "live"
SECTIONS = (
    "Questions, before and after",
    "Tokens of a text",
    "Where it answers",
    "Where the engram is",
    "Everything else",
)
_MOST_ROWS = 30  # layers in one picture; more are averaged by block


def draw(base: Base, visitor: Visitor, choice: Choice, *, about: str, text: str) -> None:
    """Draw one section at a time, so that only what is looked at is computed.

    Args:
        base: the model.
        visitor: whose edit it is.
        choice: the edit.
        about: the concept whose questions are on offer.
        text: the prompt, with its answer if that is known.
    """
    controls.ready("section", SECTIONS, SECTIONS[0])
    section = st.segmented_control(
        "Measurements",
        SECTIONS,
        key="section",
        persist_state="session",
        required=True,
        format_func=option_word,
    )
    try:
        if section == SECTIONS[0]:
            _questions(base, choice, choice.concepts[:12] or (about,))
        elif section == SECTIONS[1]:
            _tokens(base, visitor, choice, text)
        elif section == SECTIONS[2]:
            _where(base, choice, _one(choice, about), text)
        elif section == SECTIONS[3]:
            _energy(base, choice, _one(choice, about))
        else:
            _rest(base, choice)
    except EngramError as error:
        st.warning(plain(error))


def _one(choice: Choice, about: str) -> str:
    """Return the concept that a picture of one is about; of several chosen ones it is asked which."""
    if len(choice.concepts) < 2:
        return choice.concepts[0] if choice.concepts else about
    controls.ready("inside", choice.concepts, choice.concepts[0])
    return str(
        st.selectbox(
            f"One of the {len(choice.concepts)} chosen concepts", choice.concepts, key="inside",
            persist_state="session", width=360,
        )
    )  # fmt: skip


def _questions(base: Base, choice: Choice, concepts: tuple[str, ...]) -> None:
    table = progress.run(texts.answers(base, choice, concepts))
    lost = table["base exact"] & ~table["edited exact"]
    unseen = table["split"] == "probe"
    parts.part(PAGE, SECTIONS[0], HOW["questions"], base, choice).table(
        "questions",
        table.sort_values("split", kind="stable"),
        words=(
            f"{len(table)} questions about {', '.join(concepts)}: {int(table['base exact'].sum())} answered "
            f"exactly before, {int(table['edited exact'].sum())} after. Of the {int(unseen.sum())} that were "
            f"never recorded, {int((lost & unseen).sum())} are lost. Mean NLL of the answers "
            f"{table['base nll'].mean():.2f} → {table['edited nll'].mean():.2f} nats per token."
        ),
        code=(
            "import pandas as pd\nfrom engram_core.language import recall\n\n"
            f"concepts = {list(concepts)!r}\n"
            "before, after = (\n"
            "    recall(m, sample.task.tokenizer, sample.task.texts, concepts=concepts)\n"
            "    for m in (sample.model, edited)\n)\n"
            'numbers = ["exact", "nll", "first"]\n'
            "table = pd.concat(\n"
            "    [before.drop(columns=numbers), before[numbers].add_prefix('base '),\n"
            "     after[numbers].add_prefix('edited ')],\n    axis=1,\n)"
        ),
    )


def _tokens(base: Base, visitor: Visitor, choice: Choice, text: str) -> None:
    part = parts.part(PAGE, SECTIONS[1], HOW_TOKENS["strip"], base, choice)
    state.tidy("bylayer", (True, False))
    wanted = st.toggle("Layer by layer", key="bylayer", persist_state="session", help=HOW["by_layer"])
    by_layer = wanted and choice.changes
    by = None
    if by_layer:
        by = "layer" if len(choice.layers) <= _MOST_ROWS else "blocks"
    table = progress.run(texts.changes(base, choice, text, by=by), key=by or "")
    whole = table[table["part"] == "whole edit"]
    code = _code("token_changes", f"sample.model, edited, sample.task.tokenizer, {text!r}, by={by!r}")
    part.table(
        "tokens",
        table,
        words=say_tokens(whole),
        html=token_strip_html(whole, label="The prompt and its known answer"),
        code=code,
    )
    if by_layer:
        by_part = table[table["part"] != "whole edit"]
        parts.Part(PAGE, "Tokens, layer by layer", HOW["by_layer"], base, choice).figure(
            "tokens_by_layer",
            layer_token_heatmap(by_part, rows="part", value="change"),
            words=say_map(by_part, rows="part", value="change"),
            numbers=by_part,
            code=code,
        )


def _where(base: Base, choice: Choice, concept: str, text: str) -> None:
    table = progress.run(texts.reactivation(base, choice, concept, text))
    rows = "layer" if table["layer"].nunique() <= _MOST_ROWS else "block"
    title = f"Where {concept} answers the tokens of the prompt"
    parts.part(PAGE, title, HOW_TOKENS["map"], base, choice).figure(
        "where",
        layer_token_heatmap(table, rows=rows),
        words=say_map(table, rows=rows),
        numbers=table,
        code=_code("reactivation_map", f"sample.model, atlas, {concept!r}, sample.task.tokenizer, {text!r}"),
        names=say_kinds(table["layer"]) if rows == "layer" else "",
    )


def _energy(base: Base, choice: Choice, concept: str) -> None:
    table = progress.run(texts.energy(base, choice, concept))
    title = f"Which modules hold the engram of {concept}"
    parts.part(PAGE, title, HOW_TOKENS["modules"], base, choice).figure(
        "energy",
        module_heatmap(table),
        words=say_modules(table),
        numbers=table,
        code=_code("module_energy", f"atlas, {concept!r}"),
        names=say_kinds(table["module"]),
    )


def _rest(base: Base, choice: Choice) -> None:
    part = parts.part(PAGE, SECTIONS[4], HOW["rest"], base, choice)
    if not choice.changes:
        st.caption("Nothing is edited, so nothing else has changed.")
        return
    table = progress.run(texts.rest(base, choice))
    values = table.set_index("measure")
    said = []
    for row, name in (("recall, others", "Others: recall"), ("degenerate rate", "Degenerate texts:")):
        if row in values.index:
            before, after = values.loc[row, ["before", "after"]]
            said.append(f"{name} {before:.1%} → {after:.1%}.")
    part.table(
        "rest",
        table,
        words=" ".join(said),
        code=_code(
            "damage", "sample.model, edited, sample.task.tokenizer, sample.task.texts, max_new_tokens=24"
        ),
    )


def _code(function: str, arguments: str) -> str:
    return f"from engram_core.language import {function}\ntable = {function}({arguments})"
