"""One text of a prompt and its answer; rows from anywhere, and what is wrong with one."""

import pytest
from text_rows import BAD_ROWS, FACT

from engram_core.errors import DataError
from engram_core.language import TextItem, TextSet


@pytest.mark.parametrize(
    ("prompt", "answer", "text"),
    [
        ("It is", "blue", "It is blue"),
        ("It is ", "blue", "It is blue"),
        ("It is", " blue", "It is blue"),
        ("It is\n", "blue", "It is\nblue"),
        ("It is", ".", "It is."),
        ("It is", ", I think", "It is, I think"),
        ("It is (blue", ")", "It is (blue)"),
        ("", "Only this.", "Only this."),
    ],
)
def test_prompt_and_answer_are_joined_by_one_space_where_none_is_there(prompt, answer, text):
    item = TextItem(prompt, answer)
    assert item.text == text
    assert item.text[item.answer_start :] == answer
    assert item.is_fact == bool(prompt)


@pytest.mark.parametrize("reason", BAD_ROWS)
def test_a_bad_row_says_its_number_and_what_is_wrong(reason):
    with pytest.raises(DataError) as caught:
        TextSet.of([FACT, BAD_ROWS[reason]])
    assert f"\nrow 2: {reason}" in str(caught.value)


def test_a_background_given_as_one_text_is_refused() -> None:
    with pytest.raises(DataError, match="list of texts"):
        TextSet.of([{"concept": "a", "text": "x"}], background="abc")


def test_two_names_that_look_the_same_are_refused() -> None:
    with pytest.raises(DataError, match="look the same"):
        TextSet.of([{"concept": name, "text": "t"} for name in ("caf\u00e9", "cafe\u0301")])
