"""A fine-tune from a folder or an adapter, with its base: what is loaded, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from fine_tuned_folders import TEXTS, write_fine_tune

import engram_core as ec
from engram_core.models.pretrained import Pretrained
from engram_core.opening.fine_tunes import load_fine_tune


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    return write_fine_tune(tmp_path_factory.mktemp("fine-tune"))


def test_a_folder_and_its_base(folders) -> None:
    fine_tune = load_fine_tune(folders["tuned"], folders["texts"], base=folders["base"])
    assert list(fine_tune.subject.concepts) == list(TEXTS) and fine_tune.known is None
    pair = Pretrained(fine_tune.subject.model, fine_tune.base)
    assert pair.written == ("model.layers.0.mlp.up_proj",)
    assert [d.name for d in pair.differences()] == ["model.layers.0.mlp.up_proj", "model.norm.weight"]


def test_an_adapter_says_its_base_itself_and_is_written_into_it(folders) -> None:
    fine_tune = load_fine_tune(folders["adapter"], folders["texts"], known=folders["texts"])
    assert fine_tune.known is not None and fine_tune.known.model is fine_tune.base
    pair = Pretrained(fine_tune.subject.model, fine_tune.base)
    assert pair.written == tuple(f"model.layers.{i}.self_attn.q_proj" for i in (0, 1))
    for layer in pair.written:
        assert int(torch.linalg.matrix_rank(pair.change(layer)[0], rtol=1e-4)) == 2
    atlas = fine_tune.atlases()["fine-tune"]
    assert atlas.layers == list(pair.written)


def test_a_sample_is_a_base_that_knows_its_own_concepts(folders, monkeypatch) -> None:
    asked = []

    def sample(name: str):
        asked.append(name)
        return load_fine_tune(folders["tuned"], folders["texts"], base=folders["base"]).subject

    monkeypatch.setattr("engram_core.opening.fine_tunes.load_sample", sample)
    fine_tune = load_fine_tune(folders["tuned"], folders["texts"], base="authors-lm")
    assert asked == ["authors-lm"] and list(fine_tune.known.concepts) == list(TEXTS)


def test_without_a_base_nothing_is_loaded(folders) -> None:
    with pytest.raises(ec.DataError, match="Nothing says what .* was fine-tuned from. Give its base"):
        load_fine_tune(folders["tuned"], folders["texts"])


@pytest.mark.parametrize("fault", ["no weights", "pickled", "no json", "another base"])
def test_a_bad_adapter_is_refused(folders, tmp_path, fault) -> None:
    folder = tmp_path / "adapter"
    shutil.copytree(folders["adapter"], folder)
    message = "is no adapter that can be read: it needs"
    if fault in ("no weights", "pickled"):
        (folder / "adapter_model.safetensors").unlink()
        if fault == "pickled":
            torch.save({}, folder / "adapter_model.bin")
    elif fault == "no json":
        (folder / "adapter_config.json").write_text("{")
        message = "adapter_config.json is no JSON"
    else:
        config = json.loads((folder / "adapter_config.json").read_text())
        (folder / "adapter_config.json").write_text(json.dumps(config | {"r": 5}))
        message = "does not go onto this base"
    with pytest.raises(ec.StorageError, match=message):
        load_fine_tune(folder, folders["texts"])
