"""How a token is drawn from the scores, and how tokens become text piece by piece."""

import math
from collections import Counter

import pytest
import torch
from language_helpers import tiny
from torch import nn
from transformers.modeling_outputs import CausalLMOutput
from writing import TOKENIZER, Script, written

from engram_core.language import (
    generate,
)


class Fixed(nn.Module):
    """Gives one distribution at every place."""

    def __init__(self, probabilities: list[float]) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(probabilities).log())

    def forward(self, input_ids: torch.Tensor) -> CausalLMOutput:
        return CausalLMOutput(logits=self.logits.expand(*input_ids.shape, -1))


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
