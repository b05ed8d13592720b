"""`engram finetune`: its JSON, its tables, and what it refuses before a model is loaded."""

from __future__ import annotations

import pytest
from commands import run_command
from fine_tuned_folders import write_fine_tune


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return write_fine_tune(tmp_path_factory.mktemp("fine-tune"))


@pytest.fixture
def engram(monkeypatch, capfd):
    return lambda *arguments: run_command(monkeypatch, capfd, "finetune", *arguments)


def test_json_has_every_form_with_figures_and_settings(engram, folders) -> None:
    ran = engram(
        folders["tuned"], "--texts", folders["texts"], "--base", folders["base"], "--known", folders["texts"],
        "--counts", "1,all", "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    told = ran.json
    assert told["concepts"] == 4 and told["written_by_layer"].keys() == {"model.layers.0.mlp.up_proj"}
    assert [entry["name"] for entry in told["outside"]] == ["model.norm.weight"]
    for form in ("erase", "compose", "erase_from_weights"):
        assert [row["count"] for row in told[form]] == [1, 4]
        for row in told[form]:
            assert row.keys() >= {"chosen", "other_new", "old", "paraphrases", "setting", "found_on_others"}
            assert row["setting"]["gain"] > 0


def test_tables_name_the_filter_and_where_it_was_found(engram, folders) -> None:
    ran = engram(folders["adapter"], "--texts", folders["texts"], "--counts", "1")
    assert ran.code == 0, ran.err
    assert "Compose, from the base" in ran.out and "min(1, " in ran.out and "others" in ran.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give --texts FILE"),
        (("--texts", "texts", "--counts", "some"), "--counts takes whole numbers or all"),
        (("--texts", "texts"), "Nothing says what"),
    ],
)
def test_what_it_refuses(engram, folders, arguments, message) -> None:
    given = [folders["texts"] if word == "texts" else word for word in arguments]
    ran = engram(folders["tuned"], *given)
    assert ran.code == 2 and message in " ".join(ran.err.split())
