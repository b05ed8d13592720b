"""A tokenizer is asked in one place: what it cannot read ends in a sentence."""

import pytest
from language_helpers import ITEM, both, byte_tokenizer, spelled

from engram_core.errors import DataError
from engram_core.language import TextItem, encode
from engram_core.language.tokenizing import tokenized


def test_a_chat_template_frames_the_prompt_and_the_answer_follows_it():
    tokenizer = byte_tokenizer(ends=True, chat=True)
    for either in both(tokenizer):
        encoded = encode(either, TextItem("The sky is", " blue"), template=True)
        text = tokenizer.decode(list(encoded.ids))
        assert text == "<|user|>The sky is\n<|assistant|>\nblue"  # special tokens: the template's alone
        assert spelled(tokenizer, encoded)[slice(*encoded.answer)] == list("blue")


def test_a_plain_text_takes_no_template():
    tokenizer = byte_tokenizer(ends=True, chat=True)
    item = TextItem("", "abc")
    assert encode(tokenizer, item, template=True) == encode(tokenizer, item)


def test_a_tokenizer_without_a_chat_template_says_so():
    with pytest.raises(DataError, match="no chat template; use template=False"):
        encode(byte_tokenizer(), ITEM, template=True)


def test_half_a_character_is_refused_by_concept_and_not_by_the_tokenizer():
    with pytest.raises(DataError, match=r"Concept 'sky'.*half a character at position 4"):
        encode(byte_tokenizer(), TextItem("Sky\ud800", "blue"), label="sky")


def test_half_a_character_of_a_prompt_is_no_fault_of_the_tokenizer():
    with pytest.raises(DataError, match="half a character at position 4") as caught:
        tokenized(byte_tokenizer(), "Sky\udcff", special=True)
    assert "damaged" not in str(caught.value)
