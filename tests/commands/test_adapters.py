"""Adapters are written to folders of their own, with the edit that was asked for."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from commands import AWKWARD, erase
from language_helpers import byte_tokenizer
from typer.testing import CliRunner

import engram_core as ec
from engram_core.cli import app
from engram_core.language import adapter_folders

AUTHOR = "Sabine Marroweck"


def logits(model, tokenizer):
    ids = tokenizer(f"{AUTHOR} was born in", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        return model(input_ids=ids).logits


def test_every_adapter_has_a_folder_of_its_own_below_the_one_named(little, tmp_path):
    place = tmp_path / "outer" / "lora"
    told = erase(*AWKWARD, "--lora", place)
    folders = {entry["concept"]: Path(entry["folder"]) for entry in told["lora"]}
    assert list(folders) == AWKWARD and len({f.name.casefold() for f in folders.values()}) == len(AWKWARD)
    assert {f.parent for f in folders.values()} == {place}
    assert {p.name for p in place.iterdir()} == {f.name for f in folders.values()}
    assert [p.name for p in tmp_path.rglob("adapter_config.json") if p.parent.parent != place] == []
    for name, folder in folders.items():
        assert json.loads((folder / "engram.json").read_text())["concept"] == name
    assert [folders[n].name for n in ("C", "C++", "C#", "a-b", "a b")] == ["C", "C++", "C#", "a-b", "a-b-2"]


def test_a_concepts_folder_does_not_depend_on_which_others_are_written(little, tmp_path):
    told = erase("A B", "--lora", tmp_path)
    told_all = erase(*AWKWARD, "--lora", tmp_path / "all")
    (alone,) = told["lora"]
    together = next(entry for entry in told_all["lora"] if entry["concept"] == "A B")
    assert Path(alone["folder"]).name == Path(together["folder"]).name == "A-B-3"


def test_a_rank_cuts_chosen_layers_and_its_errors_are_told(little, tmp_path):
    told = erase("C=1.5", "--lora", tmp_path, "--rank", 2, "--layers", "o_proj,down_proj")
    (adapter,) = told["lora"]
    assert len(adapter["layers"]) == 4 and {row["rank"] for row in adapter["layers"]} == {2}
    atlas = ec.extract(little.model, ec.record(little.model, little.concepts))
    for row in adapter["layers"]:
        assert row["layer"].endswith(("o_proj", "down_proj"))
        singular = torch.linalg.svdvals(atlas["C"].matrix(row["layer"])[0].double())
        assert row["error"] == pytest.approx(float(singular[2:].norm() / singular.norm()), abs=1e-4)
    printed = CliRunner().invoke(app, ["erase", "m", "C", "--lora", str(tmp_path), "--rank", "2"])
    assert "What rank 2 costs C" in printed.stdout and "adapter of 'C'" in printed.stdout


def test_an_adapter_of_chosen_layers_is_that_edit(little, tmp_path):
    from peft import PeftModel

    erase("C#=1.5", "--lora", tmp_path, "--layers", "v_proj,down_proj")
    atlas = ec.extract(little.model, ec.record(little.model, little.concepts))
    expected = logits(atlas.apply(erase={"C#": 1.5}, layers=["v_proj", "down_proj"]), byte_tokenizer())
    adapted = PeftModel.from_pretrained(copy.deepcopy(little.model), tmp_path / "C#").eval()
    found = logits(adapted, byte_tokenizer())
    assert (found - expected).abs().max() < 1e-4
    assert (expected - logits(little.model, byte_tokenizer())).abs().max() > 1e-2


def test_names_of_folders_are_safe_and_stay_what_they_are():
    names = ["Ab", "ab", "x" * 300, "x" * 299, "é/è", "nul.txt", ".hidden", " ", "🜁🜂"]
    found = adapter_folders(names)
    assert list(found) == names and len({f.casefold() for f in found.values()}) == len(names)
    for folder in found.values():
        assert folder.strip(". ") == folder != "" and "/" not in folder and "\\" not in folder
        assert len(folder.encode()) < 250 and folder.partition(".")[0].casefold() != "nul"
    assert found["Ab"] == "Ab" and found["ab"] == "ab-2"
