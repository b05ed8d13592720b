"""Recall says what the model would really answer, and erasing one author takes that author's alone."""

import pytest
import torch
from language_helpers import byte_tokenizer, little_texts, tiny, told

from engram_core.errors import DataError
from engram_core.language import (
    TextItem,
    TextSet,
    encode,
    perplexity,
    recall,
    recall_summary,
)
from engram_core.language.exact_recall import OTHERS

TOKENIZER = byte_tokenizer(ends=True)
ERASED = (4, 30, 31, 77)  # which authors, by number


# -- by hand -----------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt"])
def test_nll_and_first_probability_are_those_computed_by_hand(family):
    model, texts = tiny(family), little_texts()
    table = recall(model, TOKENIZER, texts)
    for row in table.itertuples():
        encoded = encode(TOKENIZER, TextItem(row.prompt, row.answer))
        start, stop = encoded.answer
        answer = told(model, list(encoded.ids))[start - 1 : stop - 1]
        assert row.nll == pytest.approx(-float(answer.mean()), abs=1e-4)
        assert row.first == pytest.approx(float(answer[0].exp()), rel=1e-4)


def test_there_is_one_row_per_question_in_order_and_none_for_a_plain_text():
    table = recall(tiny("llama"), TOKENIZER, little_texts())
    assert list(table.columns) == ["concept", "split", "prompt", "answer", "exact", "nll", "first"]
    asked = [("sky", "record"), ("sky", "record"), ("grass", "record"), ("grass", "probe")]
    assert list(zip(table["concept"], table["split"], strict=True)) == asked
    few = recall(tiny("llama"), TOKENIZER, little_texts(), concepts=["grass"])
    assert list(few["prompt"]) == ["Grass:", "A lawn is"]


def test_nothing_to_ask_and_nothing_to_be_perplexed_by_are_refused():
    with pytest.raises(DataError, match="no recall to score"):
        recall(tiny("llama"), TOKENIZER, TextSet.of([{"concept": "c", "text": "t"}]))
    with pytest.raises(DataError, match="no background text"):
        perplexity(tiny("llama"), TOKENIZER, [])
    with pytest.raises(DataError, match="at least two"):
        perplexity(tiny("llama"), byte_tokenizer(), ["a"])


# -- the authors -------------------------------------------------------------------------------


def test_exact_is_whether_greedy_generation_gives_the_answer(authors):
    tokenizer = authors.sample.concepts.tokenizer
    names = [list(authors.texts)[i] for i in (4, 30, 50)]
    half = authors.atlas.apply(erase={names[0]: 1.5, names[1]: 1.0})
    seen = set()
    for model in (authors.sample.model, half):
        for row in recall(model, tokenizer, authors.texts, concepts=names).iloc[::6].itertuples():
            encoded = encode(tokenizer, TextItem(row.prompt, row.answer))
            start, stop = encoded.answer
            asked = torch.tensor([encoded.ids[:start]])
            said = model.generate(
                input_ids=asked, attention_mask=torch.ones_like(asked), max_new_tokens=stop - start,
                do_sample=False, pad_token_id=0,
            )  # fmt: skip
            assert row.exact == (tuple(said[0, start:].tolist()) == encoded.ids[start:stop])
            seen.add(row.exact)
    assert seen == {True, False}


def test_the_model_knows_its_authors_by_heart(authors):
    by_split = authors.before.groupby("split")["exact"].mean()
    assert by_split["record"] >= 0.99 and by_split["probe"] >= 0.9


@pytest.mark.parametrize("number", ERASED)
def test_erasing_one_author_takes_that_authors_recall_and_leaves_the_others(authors, number):
    name = list(authors.texts)[number]
    view = authors.atlas.apply(erase={name: 2.0})
    table = recall(view, authors.sample.concepts.tokenizer, authors.texts)
    mine = table["concept"] == name
    assert table[mine]["exact"].mean() <= 0.2
    assert table[~mine]["exact"].mean() >= 0.98
    assert table[mine]["nll"].mean() > authors.before[mine]["nll"].mean() + 1


# -- a model that knows half of its answers ------------------------------------------------------


def test_a_summary_names_some_and_averages_the_others_over_concepts(asked) -> None:
    model, tokenizer, texts = asked
    table = recall(model, tokenizer, texts)
    found = recall_summary(table, ["b"]).set_index(["concept", "split"])
    assert list(found.index) == [("b", "record"), ("b", "probe"), (OTHERS, "record"), (OTHERS, "probe")]
    means = table.groupby(["concept", "split"])[["exact", "nll", "first"]].mean()
    for name in ("exact", "nll", "first"):
        assert found.loc[("b", "probe"), name] == pytest.approx(means.loc[("b", "probe"), name])
        others = (means.loc[("a", "record"), name] + means.loc[("c", "record"), name]) / 2
        assert found.loc[(OTHERS, "record"), name] == pytest.approx(others)
        # c has no unseen question, so a alone is the others' mean there.
        assert found.loc[(OTHERS, "probe"), name] == pytest.approx(means.loc[("a", "probe"), name])
    assert found["questions"].to_list() == [2, 2, 4, 2]
    assert list(recall_summary(table, "abc")["concept"].unique()) == [OTHERS]


def test_every_answer_is_scored_as_if_it_were_alone(asked) -> None:
    model, tokenizer, texts = asked
    for row in recall(model, tokenizer, texts).itertuples():
        head = tokenizer(row.prompt)["input_ids"]
        whole = tokenizer(row.prompt + row.answer)["input_ids"]
        with torch.no_grad():
            chances = model(torch.tensor([whole])).logits[0].log_softmax(-1)
        told = [float(chances[i - 1, whole[i]]) for i in range(len(head), len(whole))]
        best = [int(chances[i - 1].argmax()) == whole[i] for i in range(len(head), len(whole))]
        assert row.nll == pytest.approx(-sum(told) / len(told), abs=1e-4)
        assert row.first == pytest.approx(torch.tensor(told[0]).exp().item(), abs=1e-4)
        assert row.exact == all(best)
