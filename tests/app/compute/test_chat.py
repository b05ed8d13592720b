"""A conversation with both models: each side goes on from its own answers, as the core would by itself."""

from __future__ import annotations

from itertools import pairwise

import pandas as pd
import pytest

import engram_core as ec
from app.choice.choice import clean
from app.compute.chat import converse
from app.page.chat_snippet import chat_code
from app.server.opened_models import running_load
from engram_core.errors import DataError
from engram_core.language import generate
from engram_core.language.tokenizing import framed

AUTHOR = "Fabrice Pelliningway"
OPTIONS = {"max_new_tokens": 5, "temperature": 0.0, "seed": 0}
SAID = [f"{AUTHOR} was born in", "And Sabine Marroweck was born in"]
TEMPLATE = "{% for m in messages %}{{ m['content'] }} {% endfor %}"


@pytest.fixture
def base(monkeypatch):
    load = running_load("authors-lm")
    load.join()
    base = load.base()
    monkeypatch.setattr(base.sample.task.tokenizer, "chat_template", TEMPLATE)
    return base


def alone(base, model, said) -> list[str]:
    before: list[tuple[str, str]] = []
    for text in said:
        tokens = generate(model, base.sample.task.tokenizer, text, chat=True, before=before, **OPTIONS)
        before.append((text, "".join(token.text for token in tokens)))
    return [answer for _, answer in before]


def test_each_side_answers_by_itself_and_remembers_its_own_answers(base):
    choice = clean({"concepts": [AUTHOR]}, base.facts)
    steps = list(converse(base, choice, SAID, **OPTIONS))
    assert steps[-1].done and not any(step.done for step in steps[:-1])
    view = base.atlas.apply(erase={AUTHOR: choice.strength})
    assert list(steps[-1].base) == alone(base, base.sample.model, SAID)
    assert list(steps[-1].edited) == alone(base, view, SAID)
    assert steps[-1].base[0] != steps[-1].edited[0]
    # It is written as it comes, and what stands is never taken back.
    assert len(steps) > 5
    for first, second in pairwise(steps):
        assert all(b.startswith(a) for a, b in zip(first.base, second.base, strict=False))


def test_a_longer_conversation_and_another_edit_ask_only_what_is_new(base, monkeypatch):
    from app.compute import chat

    asked = []

    def watched(model, *given, **options):
        asked.append(model is base.sample.model)
        return generate(model, *given, **options)

    monkeypatch.setattr(chat, "generate", watched)
    options = OPTIONS | {"max_new_tokens": 4}
    off = clean({"concepts": [AUTHOR]}, base.facts)
    first = list(converse(base, off, SAID[:1], **options))[-1]
    assert asked == [True, False]
    asked.clear()
    second = list(converse(base, off, SAID, **options))[-1]
    assert sorted(asked) == [False, True] and second.base[:1] == first.base
    asked.clear()
    list(converse(base, clean({"concepts": [AUTHOR], "strength": 1.0}, base.facts), SAID, **options))
    assert asked == [False, False]


def test_the_python_beside_it_gives_the_same_answers(base):
    choice = clean({"concepts": [AUTHOR]}, base.facts)
    talk = list(converse(base, choice, SAID, **OPTIONS))[-1]
    edited = base.atlas.apply(erase={AUTHOR: choice.strength})
    scope: dict = {"sample": base.sample, "edited": edited, "ec": ec}
    exec(chat_code(SAID, **OPTIONS), scope)
    table: pd.DataFrame = scope["table"]
    assert tuple(table["base"]) == talk.base and tuple(table["edited"]) == talk.edited
    assert list(table["prompt"]) == SAID and list(table["number"]) == [1, 2]


def test_a_template_gets_every_turn_in_its_role(base):
    tokenizer = base.sample.task.tokenizer
    tokenizer.chat_template = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}{% endfor %}"
    assert framed(tokenizer, "c", [("a", "b")]) == "[user] a[assistant] b[user] c"
    assert framed(tokenizer, "c") == "[user] c"


def test_a_model_without_a_template_is_told_so(base, monkeypatch):
    monkeypatch.setattr(base.sample.task.tokenizer, "chat_template", None)
    choice = clean({"concepts": [AUTHOR]}, base.facts)
    with pytest.raises(DataError, match="no chat template"):
        list(converse(base, choice, ["somebody else"], **OPTIONS))
