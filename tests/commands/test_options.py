"""An option that cannot be is one sentence on the error stream."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from engram_core.commands.options import comma_list, layer_names, numbers
from engram_core.commands.tables import finite, records
from engram_core.errors import EngramError


@pytest.mark.parametrize(
    ("typed", "read"),
    [(None, None), ("fc1, fc3 ,", ["fc1", "fc3"]), ("re:fc[12],x", "fc[12],x"), ("", []), ("re:", "")],
)
def test_layers(typed: str | None, read: object) -> None:
    assert layer_names(typed) == read


@pytest.mark.parametrize(("typed", "read"), [(None, None), ("0", [0]), ("3, 1,-2", [3, 1, -2])])
def test_blocks(typed: str | None, read: object) -> None:
    assert numbers(typed) == read


@pytest.mark.parametrize("typed", ["", "one", "1,,2", "1.5"])
def test_blocks_are_whole_numbers(typed: str) -> None:
    with pytest.raises(EngramError, match="--blocks takes whole numbers"):
        numbers(typed)


def test_lists_have_no_empty_parts() -> None:
    assert comma_list(" a,b c,, d ") == ["a", "b c", "d"] and comma_list(",") == []


def test_json_has_no_infinity_and_no_nan() -> None:
    table = pd.DataFrame({"a": [1.5, math.inf, -math.inf], "b": ["x", "y", math.nan]})
    assert records(table) == [{"a": 1.5, "b": "x"}, {"a": None, "b": "y"}, {"a": None, "b": None}]
    assert finite(math.nan) is None and finite(0.0) == 0.0 and finite(None) is None and finite(7) == 7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["layers", "fashion-cn"], "Unknown sample 'fashion-cn'. Did you mean 'fashion-cnn'"),
        (["layers", "[/b]"], "Unknown sample '[/b]'. Known: "),
        (["erase", "digits-mlp", "77"], "Unknown concept '77'. Did you mean '7'?"),
        (["erase", "digits-mlp", "--keep", "seven"], "Unknown concept 'seven'. Known: '0', '1'"),
        (["erase", "digits-mlp"], "Name a concept to erase, or one to isolate with --isolate NAME."),
        (["erase", "digits-mlp", "7=much"], "'7=much': the strength after = must be a number."),
        (["erase", "digits-mlp", "7=nan"], "The strength of concept '7' must be a finite number; found nan."),
        (["erase", "digits-mlp", "7", "--strength", "inf"], "must be a finite number; found inf."),
        (["erase", "digits-mlp", "7", "--blocks", "one"], "--blocks takes whole numbers separated by commas"),
        (["erase", "digits-mlp", "7", "--blocks", "3"], "No covered layer matches"),
        (["erase", "digits-mlp", "7", "--layers", "fc4"], "Unknown layer 'fc4'. Did you mean 'fc3'"),
        (["erase", "digits-mlp", "7", "--layers", "re:[a"], "'[a' is not a regular expression"),
        (["erase", "digits-mlp", "7", "--layers", "re:[/x]"], "No covered layer matches layers='[/x]'"),
        (["erase", "digits-mlp", "--keep", "7", "--scaling", "adaptive"], "Use scaling='plain'"),
        (["extract", "digits-mlp", "--cut", "2"], "Layer 'fc1': The cut is a fraction"),
        (["extract", "digits-mlp", "--sharpness", "0"], "The sharpness power must be above 0"),
        (["extract", "digits-mlp", "--recording", "/no/such/file"], "There is no file /no/such/file."),
        (["record", "digits-mlp", "--out", "/no/such/folder/file"], "Could not write /no/such/folder/file"),
        (["criteria", "digits-mlp", "--controls", "1"], "--controls must be 0, or at least 2"),
        (["criteria", "digits-mlp", "--strength", "nan"], "must be a finite number; found nan."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_error_is_one_sentence_on_the_error_stream(engram, arguments: list, message: str) -> None:
    told = engram(*arguments, "--json")
    assert (told.code, told.out) == (2, "")
    assert told.err.startswith("Error: ") and message in told.err and told.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["erase", "digits-mlp", "7", "--strength", "abc"], "Invalid value for '--strength'"),
        (["criteria", "digits-mlp", "--scaling", "wild"], "'wild' is not one of"),
        (["criteria", "digits-mlp", "--seed", "-1"], "Invalid value for '--seed'"),
        (["record", "digits-mlp"], "Missing option '--out'"),
        (["erasee"], "No such command 'erasee'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_option_of_the_wrong_kind_is_told_without_traceback(
    engram, arguments: list, message: str, monkeypatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    told = engram(*arguments)
    assert (told.code, told.out) == (2, "")
    assert message in told.err and "Traceback" not in told.err
