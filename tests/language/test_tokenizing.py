"""A tokenizer is asked in one place: what it cannot read ends in a sentence."""

import pytest
from language_helpers import ITEM, both, byte_tokenizer, spelled

from engram_core.errors import DataError
from engram_core.language import TextItem, encode, tokenizing
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


class Fails:
    """A tokenizer whose files were made to fail, or to fill the memory."""

    chat_template = None

    def __init__(self, tokens_each: int = 0) -> None:
        self.tokens_each = tokens_each

    def __call__(self, text: str, **_options: object) -> dict[str, list[int]]:
        if not self.tokens_each:
            raise RuntimeError("index out of range")
        return {"input_ids": [0] * (self.tokens_each * len(text))}

    def decode(self, *_args: object, **_options: object) -> str:
        raise ValueError("no such token")


def test_a_tokenizer_that_fails_is_named_with_the_text_and_what_it_said():
    with pytest.raises(DataError, match=r"fails on the text 'x+…' \(.*index out of range"):
        tokenized(Fails(), "x" * 100, special=True)
    with pytest.raises(DataError, match=r"fails to write its own tokens \(.*no such token"):
        tokenizing.spelled(Fails(), [1], skip_special_tokens=True)
    with pytest.raises(DataError, match=r"chat template cannot be used \(.*it is no text"):
        tokenizing.framed(Fails(), "Hello")


def test_a_tokenizer_that_makes_a_flood_of_tokens_is_refused():
    text = "abcd" * 10
    assert len(tokenized(Fails(tokens_each=20), text, special=True)["input_ids"]) == 800
    with pytest.raises(DataError, match=r"makes 40,000 tokens of the 40 characters of 'abcd"):
        tokenized(Fails(tokens_each=1000), text, special=True)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_whoever_stops_the_program_is_not_taken_for_a_broken_tokenizer(kind: type[BaseException]):
    class Stopped(Fails):
        def __call__(self, text: str, **_options: object) -> dict[str, list[int]]:
            raise kind

        decode = get_chat_template = __call__  # type: ignore[assignment]

    with pytest.raises(kind):
        tokenized(Stopped(), "a", special=True)
    with pytest.raises(kind):
        tokenizing.spelled(Stopped(), "a", skip_special_tokens=True)  # type: ignore[arg-type]


def test_a_token_without_a_row_is_named_with_its_number():
    tokenizer = byte_tokenizer()
    tokenizing.check_rows(tokenizer, [1, 2, 255], 256)
    tokenizing.check_rows(tokenizer, [1, 999], None)
    with pytest.raises(DataError, match=r"Concept 'a': the text holds the token .* \(number 65\), and this"):
        tokenizing.check_rows(tokenizer, [1, 65, 66], 65, "Concept 'a': ")
