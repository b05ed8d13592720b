"""The probability of an answer, against the product of its tokens' probabilities, one pass each."""

from __future__ import annotations

import math

import pytest
import torch

from engram_core.errors import DataError
from engram_core.language.answer_probability import probability_of_answer
from engram_core.language.exact_recall import recall
from engram_core.opening.samples import load_sample


def test_it_is_the_product_over_the_answers_tokens():
    sample = load_sample("authors-lm")
    name = next(iter(sample.concepts))
    item = next(item for item in sample.task.texts[name].probe if item.is_fact)
    tokenizer, model = sample.task.tokenizer, sample.model
    before, whole = (tokenizer(text)["input_ids"] for text in (item.prompt, item.text))
    product = 1.0
    with torch.no_grad():
        for stop in range(len(before), len(whole)):
            chances = model(input_ids=torch.tensor([whole[:stop]])).logits[0, -1].softmax(-1)
            product *= float(chances[whole[stop]])
    found = probability_of_answer(model, tokenizer, item.prompt, item.answer)
    assert found == pytest.approx(product, rel=1e-3) and 0 < found <= 1
    table = recall(model, tokenizer, sample.task.texts, concepts=name)
    row = table[(table["prompt"] == item.prompt) & (table["answer"] == item.answer)].iloc[0]
    assert math.log(found) == pytest.approx(-row["nll"] * (len(whole) - len(before)), rel=1e-3)


def test_an_empty_prompt_or_answer_is_refused():
    sample = load_sample("authors-lm")
    for prompt, answer in (("", "a"), ("a", "")):
        with pytest.raises(DataError, match="one of them is empty"):
            probability_of_answer(sample.model, sample.task.tokenizer, prompt, answer)
