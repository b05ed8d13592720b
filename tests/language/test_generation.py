"""What is streamed is what the model says: token by token, seed by seed, beside any number of others."""

import math
import threading
from collections import Counter

import pytest
import torch
from language_helpers import byte_tokenizer, little_texts, tiny
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.modeling_outputs import CausalLMOutput

import engram_core as ec
from engram_core.errors import DataError, NonFiniteError
from engram_core.language import (
    LanguageConcepts,
    complete,
    damage,
    degenerate_rate,
    generate,
    is_degenerate,
    next_tokens,
    perplexity,
    recall,
    side_by_side,
    token_changes,
)

TOKENIZER = byte_tokenizer()
ENDING = byte_tokenizer(ends=True)
FAMILIES = ("llama", "gpt2", "opt", "qwen2")


class Script(nn.Module):
    """Writes given tokens after a prompt of given length, over and over; has no cache."""

    def __init__(self, prompt: int, ids: list[int], vocabulary: int = 300) -> None:
        super().__init__()
        self.start, self.ids, self.vocabulary = prompt, ids, vocabulary
        self.scale = nn.Parameter(torch.tensor(30.0))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> CausalLMOutput:
        steps = torch.arange(input_ids.shape[1]) + 1 - self.start
        told = torch.tensor(self.ids)[steps % len(self.ids)]
        one_hot = nn.functional.one_hot(told, self.vocabulary).float()
        return CausalLMOutput(logits=(one_hot * self.scale).expand(len(input_ids), -1, -1))


class Fixed(nn.Module):
    """Gives one distribution at every place."""

    def __init__(self, probabilities: list[float]) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(probabilities).log())

    def forward(self, input_ids: torch.Tensor) -> CausalLMOutput:
        return CausalLMOutput(logits=self.logits.expand(*input_ids.shape, -1))


def atlas_of(model: nn.Module) -> ec.Atlas:
    return ec.extract(model, ec.record(model, LanguageConcepts(TOKENIZER, little_texts())))


def by_hand(model: nn.Module, prompt: str, count: int) -> list[int]:
    """Greedy, the whole text anew for every token."""
    ids = TOKENIZER(prompt)["input_ids"]
    start = len(ids)
    with torch.no_grad():
        for _ in range(count):
            ids = [*ids, int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())]
    return ids[start:]


def written(tokens) -> list[int]:
    return [token.id for token in tokens]


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


def test_the_model_s_own_limit_ends_the_text_and_a_longer_prompt_is_refused():
    model = tiny("llama")  # takes 64 tokens
    found = list(generate(model, TOKENIZER, "x" * 60, max_new_tokens=20))
    assert len(found) == 4 and found[-1].end == "limit"
    with pytest.raises(DataError, match="64 tokens and this model takes at most 64"):
        generate(model, TOKENIZER, "x" * 64)


# -- text --------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["Zürich costs €100 😀!", " 日本 ", "plain"])
def test_pieces_are_whole_characters_and_make_the_decoded_text(text):
    ids = TOKENIZER(text)["input_ids"]
    found = list(generate(Script(1, ids), TOKENIZER, "a", max_new_tokens=len(ids)))
    assert written(found) == ids
    assert "".join(token.text for token in found) == TOKENIZER.decode(ids) == text
    assert not any("\ufffd" in token.text for token in found)
    assert len([t for t in found if t.text]) == len(text)  # every character as soon as it is whole


def test_a_text_that_ends_inside_a_character_is_decoded_as_the_tokenizer_does():
    ids = TOKENIZER("a€")["input_ids"][:-1]
    found = list(generate(Script(1, ids), TOKENIZER, "a", max_new_tokens=len(ids)))
    assert "".join(token.text for token in found) == TOKENIZER.decode(ids) == "a\ufffd"


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


def test_a_seed_is_a_text_whatever_else_draws_numbers():
    model = tiny("llama")
    options = {"temperature": 1.5, "max_new_tokens": 15}
    one = written(generate(model, TOKENIZER, "a", seed=1, **options))
    before = torch.get_rng_state()
    disturbed = []
    for token in generate(model, TOKENIZER, "a", seed=1, **options):
        disturbed.append(token.id)
        assert torch.is_grad_enabled()  # the caller's mode is its own
        assert torch.equal(torch.get_rng_state(), before)
    assert one == disturbed
    assert one != written(generate(model, TOKENIZER, "a", seed=2, **options))


@pytest.mark.parametrize(
    ("temperature", "top_p", "expected"),
    [
        (1.0, 1.0, [0.5, 0.3, 0.15, 0.05]),
        (0.5, 1.0, [0.25, 0.09, 0.0225, 0.0025]),
        (1.0, 0.6, [0.5, 0.3, 0, 0]),
        (1.0, 0.5, [1, 0, 0, 0]),
    ],
)
def test_draws_follow_the_distribution(temperature, top_p, expected):
    model = Fixed([0.5, 0.3, 0.15, 0.05])
    count = 3000
    found = Counter(
        written(
            generate(
                model, TOKENIZER, "a", temperature=temperature, top_p=top_p, max_new_tokens=count, seed=3
            )
        )
    )
    for number, share in enumerate(expected):
        share /= sum(expected)
        spread = 5 * math.sqrt(share * (1 - share) / count)
        assert abs(found[number] / count - share) <= spread


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
    assert all(found[i] == [alone[i]] * 3 for i in range(len(sides)))


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


def test_dropout_of_a_model_in_training_is_not_drawn_and_its_mode_stays():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = GPT2LMHeadModel(GPT2Config(vocab_size=300, n_embd=24, n_layer=2, n_head=2, n_positions=64))
    assert model.training
    found = written(generate(model, TOKENIZER, "abc", max_new_tokens=10))
    assert all(m.training for m in model.modules())
    assert found == by_hand(model.eval(), "abc", 10)


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


def test_the_next_token_table_holds_both_top_lists_with_ranks_over_the_vocabulary():
    model = tiny("llama")
    view = atlas_of(model).apply(erase={"sky": 1.5})
    table = next_tokens(model, view, TOKENIZER, "The sky is", k=4)
    ids = torch.tensor([TOKENIZER("The sky is")["input_ids"]])
    with torch.no_grad():
        sides = [side(input_ids=ids).logits[0, -1].double().softmax(-1) for side in (model, ec.bake(view))]
    union = {int(i) for side in sides for i in side.topk(4).indices}
    assert set(table["id"]) == union and len(table) == len(union) > 4
    for row in table.itertuples():
        for side, value, rank in (
            (sides[0], row.before, row.rank_before),
            (sides[1], row.after, row.rank_after),
        ):
            assert value == pytest.approx(float(side[row.id]), rel=1e-3)
            assert rank == 1 + int((side > side[row.id]).sum())
    assert table["rank_before"].is_monotonic_increasing
    assert (table["change"] - (table["after"] - table["before"])).abs().max() < 1e-12
    with pytest.raises(DataError, match="k must be"):
        next_tokens(model, view, TOKENIZER, "a", k=0)


def test_changes_of_a_text_add_up_to_its_change_of_loss():
    model, text = tiny("gpt2"), "The sky is blue"
    view = atlas_of(model).apply(erase={"sky": 1.0})
    table = token_changes(model, view, TOKENIZER, text)
    assert "".join(table["token"]) == text and math.isnan(table["change"][0])
    losses = [math.log(perplexity(side, TOKENIZER, [text])) for side in (model, view)]
    assert -table["change"].mean() == pytest.approx(losses[1] - losses[0], abs=1e-4)


@pytest.mark.parametrize("scaling", ["plain", "adaptive"])
def test_a_part_of_the_edit_is_that_part_as_it_is_in_the_whole(scaling):
    model, text = tiny("llama"), "The sky is blue"
    atlas = atlas_of(model)
    view = atlas.apply(erase={"sky": 1.0}, scaling=scaling)
    factors = ec.live_edit(view).report().factors
    table = token_changes(
        model, view, TOKENIZER, text, by={"every": atlas.layers, "one": [atlas.layers[0]], "none": []}
    )
    parts = {name: frame["change"].to_numpy()[1:] for name, frame in table.groupby("part")}
    assert parts["every"] == pytest.approx(parts["whole edit"], abs=1e-9)
    assert abs(parts["none"]).max() == 0
    alone = atlas.apply(erase={"sky": factors[atlas.layers[0]]}, layers=[atlas.layers[0]])
    assert parts["one"] == pytest.approx(
        token_changes(model, alone, TOKENIZER, text)["change"].to_numpy()[1:], abs=1e-5
    )
    assert abs(parts["one"]).max() > 1e-3


def test_parts_by_layer_report_progress_and_stop():
    model = tiny("llama")
    atlas = atlas_of(model)
    view, seen = atlas.apply(erase="sky"), []
    table = token_changes(
        model,
        view,
        TOKENIZER,
        "abc",
        by="layer",
        progress=lambda *a: seen.append(a),
        stop=lambda: len(seen) == 3,
    )
    assert list(dict.fromkeys(table["part"])) == ["whole edit", *atlas.layers[:3]]
    assert [(done, total) for done, total, _ in seen] == [(i, len(atlas.layers)) for i in (1, 2, 3)]
    ec.live_edit(view).off()
    off = token_changes(model, view, TOKENIZER, "abc", by="blocks")
    assert (off["change"].dropna() == 0).all() and off["part"].nunique() == 3


# -- the rest ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", False), ("the sky", False), ("the sky is blue", False), ("Rome Rome rome ROME", True),
        ("a b a b a b", True), ("x y z a b c a b c a b c", True), ("a b c d " * 3, True),
        ("a b c d e f " * 9, False),
        ("one two three and then other words follow until one two three", False),
    ],
)  # fmt: skip
def test_a_text_is_degenerate_if_one_trigram_covers_more_than_half(text, expected):
    assert is_degenerate(text) is expected


def test_the_degenerate_rate_is_the_share_of_continuations():
    loop, story = TOKENIZER(" go")["input_ids"], TOKENIZER(" all of it is said but once")["input_ids"]
    for ids, rate in ((loop, 1.0), (story, 0.0)):
        model = Script(1, ids)
        assert degenerate_rate(model, TOKENIZER, ["a", "b"], max_new_tokens=len(story)) == rate
    with pytest.raises(DataError, match="at least one prompt"):
        degenerate_rate(tiny("llama"), TOKENIZER, [])


def test_damage_is_what_each_measure_gives_by_itself():
    model, texts = tiny("llama"), little_texts()
    view = atlas_of(model).apply(erase={"sky": 1.0})
    table = damage(model, view, TOKENIZER, texts, max_new_tokens=6).set_index("measure")
    for name, concept in (("erased", "sky"), ("others", "grass")):
        for column, side in (("before", model), ("after", view)):
            asked = recall(side, TOKENIZER, texts, concepts=[concept])
            assert table[column][f"nll, {name}"] == pytest.approx(asked["nll"].mean())
            assert table[column][f"recall, {name}"] == asked["exact"].mean()
    assert table["after"]["perplexity, background"] == perplexity(view, TOKENIZER, texts.background)
    assert table["count"]["degenerate rate"] == 1
    assert table["change"].to_list() == (table["after"] - table["before"]).to_list()
    assert abs(table["change"]["nll, erased"]) > 1e-3
    ec.live_edit(view).off()
    off = damage(model, view, TOKENIZER, texts, erased=["sky"], max_new_tokens=6)
    assert (off["change"] == 0).all()


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
