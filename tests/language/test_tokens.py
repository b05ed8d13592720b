"""Which tokens are the answer, and which positions count."""

import pytest
import torch
from language_helpers import ITEM, Slow, both, byte_tokenizer, merging_tokenizer, spelled

from engram_core.errors import DataError
from engram_core.language import POSITIONS, TextItem, encode
from engram_core.language.tokens import Encoded, by_length, padded, pick_positions


def answer_of(tokenizer, item: TextItem, **options) -> str:
    """What the tokens marked as the answer spell."""
    fast = tokenizer.fast if isinstance(tokenizer, Slow) else tokenizer
    encoded = encode(tokenizer, item, **options)
    return fast.decode(list(encoded.ids[slice(*encoded.answer)]), clean_up_tokenization_spaces=False)


# -- where the answer is -----------------------------------------------------------------------


@pytest.mark.parametrize("prompt", ["The sky is", "The sky is ", "Ünïcode — 青い:"])
@pytest.mark.parametrize("answer", ["blue", "ブルー é", "two words"])
def test_the_answers_tokens_spell_the_answer(prompt, answer):
    for tokenizer in both(byte_tokenizer()):
        assert answer_of(tokenizer, TextItem(prompt, answer)).strip() == answer


def test_a_leading_space_inside_the_answers_first_token_belongs_to_it():
    for tokenizer in both(byte_tokenizer(merges=(("Ġ", "b"),))):
        encoded = encode(tokenizer, ITEM)
        assert len(encoded.ids) == len("The sky is blue") - 1
        assert encoded.answer == (10, 14)


def test_a_token_over_the_boundary_belongs_to_the_answer():
    for tokenizer in both(merging_tokenizer()):
        encoded = encode(tokenizer, ITEM)
        assert answer_of(tokenizer, ITEM) == "s blue"
        assert encoded.answer == (9, 13)  # "The sky i" · "s b" "l" "u" "e"


def test_special_tokens_at_both_ends_are_tokens_of_the_text_but_not_of_the_answer():
    tokenizer = byte_tokenizer(ends=True)
    encoded = encode(tokenizer, ITEM)
    assert spelled(tokenizer, encoded)[0] == "<s>" and spelled(tokenizer, encoded)[-1] == "</s>"
    assert spelled(tokenizer, encoded)[slice(*encoded.answer)] == list("blue")
    assert encode(Slow(tokenizer), ITEM) == encoded


def test_a_plain_text_is_all_answer_but_for_special_tokens():
    for tokenizer in both(byte_tokenizer(ends=True)):
        assert encode(tokenizer, TextItem("", "abc")).answer == (1, 4)


def test_an_answer_that_becomes_no_token_is_refused_by_name():
    tokenizer = merging_tokenizer()  # knows ASCII alone, and drops what it does not know
    for either in both(tokenizer):
        with pytest.raises(DataError, match="Concept 'sky': the answer '青い' becomes no token"):
            encode(either, TextItem("The sky is ", "青い"), label="sky")


def test_a_text_of_the_models_limit_is_taken_and_one_token_more_refused():
    tokenizer = byte_tokenizer()
    assert len(encode(tokenizer, TextItem("", "x" * 70), limit=70).ids) == 70
    with pytest.raises(DataError, match=r"Concept 'c': the text 'x+…' has 71 tokens.*at most 70.*Shorten"):
        encode(tokenizer, TextItem("", "x" * 71), limit=70, label="c")


# -- which positions count ---------------------------------------------------------------------


def test_the_three_choices_of_positions_give_exactly_their_tokens():
    encoded = encode(byte_tokenizer(ends=True), TextItem("ab", " cd"))  # <s> a b _ c d </s>
    assert pick_positions(encoded, "all") == [0, 1, 2, 3, 4, 5, 6]
    assert pick_positions(encoded, "answer") == [3, 4, 5]
    assert pick_positions(encoded, "predict") == [2, 3, 4]


def test_a_plain_text_counts_whole_and_nothing_predicts_its_first_token():
    encoded = Encoded((5, 6, 7), (0, 3))
    assert [pick_positions(encoded, p, fact=False) for p in POSITIONS] == [[0, 1, 2], [0, 1], [0, 1, 2]]


def test_an_answer_that_starts_the_text_is_predicted_from_its_second_token_on():
    assert pick_positions(Encoded((5, 6, 7), (0, 2)), "predict") == [0]


def test_an_unknown_choice_of_positions_names_the_known_ones():
    with pytest.raises(DataError, match="all, predict, answer; found 'last'"):
        pick_positions(Encoded((5,), (0, 1)), "last")


# -- batches -----------------------------------------------------------------------------------


def test_texts_are_padded_on_the_right_and_the_mask_covers_their_tokens_alone():
    ids, mask = padded([Encoded((5, 6), (0, 2)), Encoded((7, 8, 9), (0, 3))])
    assert torch.equal(mask, torch.tensor([[1, 1, 0], [1, 1, 1]]))
    assert ids[0, :2].tolist() == [5, 6] and ids[1].tolist() == [7, 8, 9]


def test_groups_hold_every_text_once_and_no_more_positions_than_allowed():
    lengths = [3, 9, 1, 4, 4, 20, 2]
    entries = [(i, Encoded(tuple(range(n)), (0, n))) for i, n in enumerate(lengths)]
    groups = list(by_length(entries, 12))
    assert sorted(i for group in groups for i, _ in group) == list(range(len(lengths)))
    for group in groups:  # a text longer than allowed still goes, alone
        assert len(group) == 1 or len(group) * max(len(e.ids) for _, e in group) <= 12
