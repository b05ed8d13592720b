"""What is streamed is what the model says: token by token, seed by seed, beside any number of others."""

import math
import threading

import pytest
import torch
from language_helpers import byte_tokenizer, tiny
from torch import nn
from writing import TOKENIZER, Script, atlas_of, by_hand, written

import engram_core as ec
from engram_core.errors import DataError, NonFiniteError
from engram_core.language import (
    complete,
    generate,
    next_tokens,
    perplexity,
    side_by_side,
)

ENDING = byte_tokenizer(ends=True)
FAMILIES = ("llama", "gpt2", "opt", "qwen2")


# -- greedy ------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_tokens_and_their_probabilities_are_those_of_whole_passes(family):
    model = tiny(family)
    found = list(generate(model, TOKENIZER, "The sky is", max_new_tokens=12, top=3))
    assert written(found) == by_hand(model, "The sky is", 12)
    ids = TOKENIZER("The sky is")["input_ids"]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids + written(found)])).logits[0]
    for place, token in enumerate(found, start=len(ids) - 1):
        chances = logits[place].log_softmax(-1)
        assert token.logprob == pytest.approx(float(chances[token.id]), abs=1e-4)
        assert [a.id for a in token.top] == chances.topk(3).indices.tolist()
        assert token.top[0].logprob == pytest.approx(token.logprob)
    assert [token.end for token in found] == [""] * 11 + ["limit"]


@pytest.mark.parametrize("family", FAMILIES)
def test_an_edited_view_writes_what_its_baked_weights_write(family):
    view = atlas_of(tiny(family)).apply(erase={"sky": 1.0})
    found = written(generate(view, TOKENIZER, "The sky is", max_new_tokens=12))
    assert found == by_hand(ec.bake(view), "The sky is", 12)


@pytest.mark.parametrize("family", FAMILIES)
def test_many_prompts_at_once_give_what_each_gives_alone(family):
    model = tiny(family)
    prompts = ["The sky is", "A", "Above us, by day, it", "Grass: of course it is", "xyz"]
    alone = ["".join(t.text for t in generate(model, TOKENIZER, p, max_new_tokens=10)) for p in prompts]
    assert complete(model, TOKENIZER, prompts, max_new_tokens=10) == alone
    assert complete(model, TOKENIZER, prompts, max_new_tokens=10, batch_size=2) == alone
    assert len(set(alone)) > 1


# -- text --------------------------------------------------------------------------------------


def test_the_end_token_ends_the_text_and_adds_nothing_to_it():
    ids = [*TOKENIZER("ok")["input_ids"], ENDING.eos_token_id]
    found = list(generate(Script(2, ids), ENDING, "a", max_new_tokens=9))  # <s> a; </s> is left off
    assert written(found) == ids and found[-1].end == "eos"
    assert "".join(token.text for token in found) == "ok"
    assert complete(Script(2, ids), ENDING, ["a", "b"]) == ["ok", "ok"]


def test_chat_puts_the_prompt_into_the_template():
    chat, model = byte_tokenizer(chat=True), tiny("llama")
    framed = "<|user|>hi\n<|assistant|>\n"
    assert written(generate(model, chat, "hi", chat=True, max_new_tokens=5)) == by_hand(model, framed, 5)
    with pytest.raises(DataError, match="no chat template"):
        generate(model, TOKENIZER, "hi", chat=True)


# -- sampling ----------------------------------------------------------------------------------


# -- side by side ------------------------------------------------------------------------------


def test_each_side_writes_what_it_writes_alone_and_ends_where_it_ends():
    ids = TOKENIZER("abcdef")["input_ids"]
    short, long = Script(2, [*ids[:2], ENDING.eos_token_id]), Script(2, ids)
    pairs = list(side_by_side(short, long, ENDING, "x", max_new_tokens=6))
    assert [token.id for token, _ in pairs if token] == [*ids[:2], ENDING.eos_token_id]
    assert [token.id for _, token in pairs] == ids
    assert [token is None for token, _ in pairs] == [False] * 3 + [True] * 3


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_switched_off_both_sides_are_one_and_switched_on_they_are_not(temperature):
    model = tiny("llama")
    view = atlas_of(model).apply(erase={"sky": 0.0})
    options = {"temperature": temperature, "seed": 5, "max_new_tokens": 20}
    assert all(a == b for a, b in side_by_side(model, view, TOKENIZER, "The sky is", **options))
    ec.live_edit(view).set(erase={"sky": 2.0})
    pairs = list(side_by_side(model, view, TOKENIZER, "The sky is", **options))
    assert [a for a, _ in pairs] == list(generate(model, TOKENIZER, "The sky is", **options))
    assert [b for _, b in pairs] == list(generate(view, TOKENIZER, "The sky is", **options))
    assert [a.id for a, _ in pairs] != [b.id for _, b in pairs]


def test_views_generate_at_once_without_touching_each_other_or_the_base():
    model = tiny("qwen2")
    atlas = atlas_of(model)
    sides = [model, *(atlas.apply(erase={name: s}) for name in ("sky", "grass") for s in (1.0, 2.0))]
    options = {"temperature": 1.0, "seed": 7, "max_new_tokens": 25}
    alone = [list(generate(side, TOKENIZER, "The sky is", **options)) for side in sides]
    found: dict[int, list] = {}
    start = threading.Barrier(len(sides))

    def use(i: int) -> None:
        start.wait()
        found[i] = [list(generate(sides[i], TOKENIZER, "The sky is", **options)) for _ in range(3)]

    threads = [threading.Thread(target=use, args=(i,)) for i in range(len(sides))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, side in enumerate(alone):
        for there in found[i]:
            assert [(token.id, token.text, token.end) for token in there] == [
                (token.id, token.text, token.end) for token in side
            ], i
            # Sums may be shared out among cores in another way on a busy machine; a mix-up is far larger.
            chances = [token.logprob for token in there]
            assert chances == pytest.approx([token.logprob for token in side], abs=1e-4), i


# -- stop, modes, refusals ---------------------------------------------------------------------


def test_generation_stops_when_told():
    model, event, seen = tiny("llama"), threading.Event(), []
    for token in generate(model, TOKENIZER, "a", stop=event):
        seen.append(token)
        if len(seen) == 3:
            event.set()
    assert len(seen) == 3
    calls = iter([False, False, True])
    assert len(list(generate(model, TOKENIZER, "a", stop=lambda: next(calls)))) == 2
    assert complete(model, TOKENIZER, ["a", "b"], stop=event) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens"), ({"temperature": -1.0}, "temperature"),
        ({"temperature": math.nan}, "temperature"), ({"top_p": 0.0}, "top_p"), ({"top_p": 1.1}, "top_p"),
        ({"top": -1}, "top"),
    ],
)  # fmt: skip
def test_impossible_options_are_refused_at_once(options, message):
    with pytest.raises(DataError, match=message):
        generate(tiny("llama"), TOKENIZER, "a", **options)


def test_an_empty_prompt_begins_with_bos_or_is_refused():
    with pytest.raises(DataError, match="prompt is empty"):
        generate(tiny("llama"), TOKENIZER, "")
    assert next(generate(tiny("llama"), ENDING, "", max_new_tokens=1)).end == "limit"


def test_nan_is_named_with_its_place():
    model = Script(1, [5])
    with torch.no_grad():
        model.scale.fill_(math.nan)
    with pytest.raises(NonFiniteError, match="Script gives NaN at token 3"):
        list(generate(model, TOKENIZER, "ab"))
    with pytest.raises(NonFiniteError, match="The model itself answers NaN"):
        list(generate(model, TOKENIZER, "ab"))


def broken(layer: str) -> nn.Module:
    model = tiny("llama")
    with torch.no_grad():
        model.get_parameter(f"{layer}.weight").fill_(math.nan)
    return model


def test_every_answer_of_nan_says_whether_the_model_or_the_edit_is_to_blame():
    layer = "model.layers.1.mlp.down_proj"
    sound, view = broken(layer), atlas_of(tiny("llama")).apply(erase={"sky": 1.0})
    for parameter in ec.live_edit(view).atlas.model.parameters():
        assert parameter.isfinite().all()
    view.get_submodule(layer).register_forward_hook(lambda *_: torch.nan * _[-1])
    for model, said in ((sound, f"first layer with NaN .* '{layer}'"), (view, "its base does not")):
        with pytest.raises(NonFiniteError, match=said):
            list(generate(model, TOKENIZER, "ab"))
        with pytest.raises(NonFiniteError, match=said):
            next_tokens(tiny("llama"), model, TOKENIZER, "ab")
        with pytest.raises(NonFiniteError, match=said):
            perplexity(model, TOKENIZER, ["ab"])


# -- next token, tokens of a text --------------------------------------------------------------


# -- the rest ----------------------------------------------------------------------------------


def test_a_prompt_has_its_own_limit_whatever_its_neighbours_are() -> None:
    """The model takes 64 tokens; a neighbour of 62 leaves the others the room that they have alone."""
    tokenizer = byte_tokenizer()
    for family in ("llama", "gpt2", "opt"):
        model = tiny(family)
        prompts = ["The sky", "x" * 62, "Grass is", "y" * 40]
        alone = [complete(model, tokenizer, [p], max_new_tokens=30)[0] for p in prompts]
        assert complete(model, tokenizer, prompts, max_new_tokens=30) == alone
        counts = [len(list(generate(model, tokenizer, p, max_new_tokens=30))) for p in prompts]
        assert counts == [30, 2, 30, 24]
