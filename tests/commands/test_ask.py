"""`engram ask` says what the core says: both texts, the next token, and the tokens of a text."""

from __future__ import annotations

import json
import math

import pytest
from language_helpers import byte_tokenizer, little_texts, tiny
from typer.testing import CliRunner

import engram_core as ec
from engram_core.cli import app
from engram_core.commands import subject as subjects
from engram_core.concepts.tasks import Subject
from engram_core.errors import DataError, EngramError
from engram_core.language import (
    LanguageConcepts,
    Recall,
    complete,
    generate,
    next_tokens,
    token_changes,
)

PROMPT = "The sky is"


@pytest.fixture
def subject(monkeypatch) -> Subject:
    model, tokenizer, texts = tiny("llama"), byte_tokenizer(chat=True), little_texts()
    subject = Subject(model, LanguageConcepts(tokenizer, texts), Recall(tokenizer, texts))
    monkeypatch.setattr(subjects, "open_subject", lambda *_, **__: subject)
    return subject


@pytest.fixture
def view(subject):
    atlas = ec.extract(subject.model, ec.record(subject.model, subject.concepts))
    return atlas.apply(erase={"sky": 1.5, "grass": 0.5})


def ask(*arguments) -> str:
    ran = CliRunner().invoke(app, ["ask", "mine", *map(str, arguments)])
    if ran.exception is not None and not isinstance(ran.exception, SystemExit):
        raise ran.exception
    assert ran.exit_code == 0, ran.output
    return ran.stdout


def asked(*arguments) -> dict:
    return json.loads(ask(*arguments, "--json"))


def test_both_texts_and_the_next_token_are_the_cores(subject, view) -> None:
    told = asked(PROMPT, "sky=1.5", "grass", "--strength", 0.5, "--max-new-tokens", 7, "--top", 3)
    tokenizer = byte_tokenizer()
    for name, model in (("base", subject.model), ("edited", view)):
        assert told[name]["text"] == complete(model, tokenizer, [PROMPT], max_new_tokens=7)[0]
        assert len(told[name]["ids"]) == 7 and told[name]["end"] == "limit"
    assert told["base"]["ids"] != told["edited"]["ids"] and told["erased"] == {"sky": 1.5, "grass": 0.5}
    table = next_tokens(subject.model, view, tokenizer, PROMPT, k=3)
    assert [row["id"] for row in told["next"]] == table["id"].tolist()
    for column in ("before", "after", "rank_after"):
        assert [row[column] for row in told["next"]] == pytest.approx(table[column].tolist(), abs=1e-5)
    assert told["model_hash"] == ec.model_hash(subject.model) and told["tokens"] is None


def test_drawn_texts_follow_the_seed(subject, view) -> None:
    options = ["--temperature", 1.5, "--max-new-tokens", 9, "--top-p", 0.95]
    texts = {}
    for seed in (3, 4):
        told = asked(PROMPT, "sky=1.5", "grass=0.5", *options, "--seed", seed)
        drawn = generate(
            view, byte_tokenizer(), PROMPT, temperature=1.5, max_new_tokens=9, top_p=0.95, seed=seed
        )
        assert told["edited"]["ids"] == [token.id for token in drawn]
        texts[seed] = told["base"]["ids"]
    assert texts[3] != texts[4]


def test_a_chat_prompt_is_framed(subject, view) -> None:
    plain, framed = (asked(PROMPT, "sky", *more)["next"] for more in ([], ["--chat"]))
    table = next_tokens(subject.model, subject.model, byte_tokenizer(chat=True), PROMPT, k=8, chat=True)
    before = {row["id"]: row["before"] for row in framed}
    assert all(
        before[i] == pytest.approx(p, abs=1e-6) for i, p in zip(table["id"], table["before"], strict=True)
    )
    assert plain != framed


@pytest.mark.parametrize("by", [None, "layer", "blocks"])
def test_every_token_of_a_text_by_part(subject, view, by) -> None:
    text = "The sky is blue"
    options = [] if by is None else ["--by", by]
    told = asked(PROMPT, "sky=1.5", "grass=0.5", "--tokens", text, *options)["tokens"]
    table = token_changes(subject.model, view, byte_tokenizer(), text, by=by)
    assert [(row["part"], row["id"]) for row in told] == list(zip(table["part"], table["id"], strict=True))
    for row, change in zip(told, table["change"], strict=True):
        if math.isnan(change):
            assert row["change"] is None and row["position"] == 0
        else:
            assert row["change"] == pytest.approx(change, abs=1e-5)
    assert (
        len({row["part"] for row in told}) == {None: 1, "layer": 1 + len(view_layers(view)), "blocks": 3}[by]
    )


def view_layers(view) -> tuple[str, ...]:
    return ec.live_edit(view).edit.layers


def test_the_prompt_itself_can_be_the_text(subject) -> None:
    told = asked(PROMPT, "sky", "--tokens", "")["tokens"]
    assert "".join(row["token"] for row in told) == PROMPT


def test_keeping_and_layers_are_the_edit(subject) -> None:
    told = asked(PROMPT, "--keep", "sky", "--layers", "v_proj", "--null", "in place")
    assert told["kept"] == ["sky"]
    assert all(name.endswith("v_proj") for name in told["layers"]) and len(told["layers"]) == 2


def test_people_read_tables(subject, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    told = ask(PROMPT, "sky", "--max-new-tokens", 4, "--tokens", "blue", "--by", "blocks")
    assert told.startswith(f"base:   {PROMPT}") and f"edited: {PROMPT}" in told
    assert "Next token" in told and "block 1" in told and "untouched" in told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([PROMPT], "Name a concept to erase"),
        ([PROMPT, "sky", "--by", "layer"], "--by goes with --tokens"),
        (["", "sky"], "The prompt is empty"),
        ([PROMPT, "sky", "--top-p", "2"], "top_p must be above 0"),
    ],
)
def test_what_cannot_be_asked_is_said(subject, arguments, said) -> None:
    with pytest.raises(EngramError, match=said):
        ask(*arguments)


def test_a_model_of_pictures_is_not_asked() -> None:
    with pytest.raises(EngramError, match="digits-mlp is no language model"):
        ran = CliRunner().invoke(app, ["ask", "digits-mlp", "x", "7"])
        raise ran.exception
    with pytest.raises(DataError, match="no chat template"):
        raise CliRunner().invoke(app, ["ask", "authors-lm", "x", "Sabine Marroweck", "--template"]).exception
