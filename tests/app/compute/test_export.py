"""What is taken away from the Live page is the edit that stands on the screen, and nothing stays behind."""

from __future__ import annotations

import io
import json
import tempfile
import threading
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from streamlit.testing.v1 import AppTest

import engram_core as ec
from app.choice.choice import KEEP, clean
from app.compute import export as take
from app.compute.edited_view import edited_view
from app.launch import MAIN
from app.options import ServerOptions, environment
from app.server import opened_models
from app.server.fair_lock import COMPUTE_LOCK
from app.session import visitors
from engram_core.errors import EngramError
from engram_core.vision.hub import load_image_model

AUTHOR, OTHER = "Fabrice Pelliningway", "Sabine Marroweck"


@pytest.fixture(autouse=True)
def own_place(tmp_path, monkeypatch) -> Path:
    """Temporary files of a test are seen by it alone."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


@pytest.fixture(scope="module")
def authors():
    return opened_models.running_load("authors-lm").base()  # the very one that the pages use


@pytest.fixture(scope="module")
def digits():
    return opened_models.running_load("digits-mlp").base()


def silent(share: float, doing: str) -> None:
    assert 0 <= share <= 1 and doing


def unpacked(taken: take.Taken, place: Path) -> Path:
    with zipfile.ZipFile(taken.path) as archive:
        archive.extractall(place)
    (folder,) = place.iterdir()
    return folder


def logits(model, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=ids, use_cache=False).logits


# -- what is in the files ------------------------------------------------------------------------------


def test_the_edited_language_model_loads_with_transformers_and_answers_as_the_view(authors, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    choice = clean({"concepts": [AUTHOR], "strength": 2.5, "power": "1.5"}, authors.facts)
    taken = take.make(authors, choice, take.MODEL, step=silent)
    assert taken.bytes == pytest.approx(take.size(authors, choice, take.MODEL), rel=0.3)
    folder = unpacked(taken, tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(f"{AUTHOR} was born in", return_tensors="pt")["input_ids"]
    expected = logits(edited_view(authors, choice), ids)
    found = logits(AutoModelForCausalLM.from_pretrained(folder).eval(), ids)
    assert (found - expected).abs().max() < 1e-3 < (logits(authors.sample.model, ids) - expected).abs().max()
    told = json.loads((folder / "engram.json").read_text())
    assert told["erased"] == {AUTHOR: 2.5} and told["about"]["settings"]["sharpness"]["power"] == 1.5
    assert len(told["about"]["texts"]) > 1000


def test_the_adapters_on_the_base_are_the_view(authors, tmp_path):
    from peft import PeftModel

    raw = {"concepts": [AUTHOR, OTHER], "strength": 2.0, "own": True, f"alpha.{OTHER}": 1.0}
    choice = clean(raw, authors.facts)
    taken = take.make(authors, choice, take.ADAPTERS, step=silent)
    assert taken.bytes == pytest.approx(take.size(authors, choice, take.ADAPTERS), rel=0.3)
    assert set(taken.errors["concept"]) == {AUTHOR, OTHER} and (taken.errors["error"] == 0).all()
    folder = unpacked(taken, tmp_path / "out")
    assert {p.name for p in folder.iterdir()} == {"Fabrice-Pelliningway", "Sabine-Marroweck"}
    sample = ec.load_sample("authors-lm")
    model = PeftModel.from_pretrained(sample.model, folder / "Fabrice-Pelliningway", adapter_name="one")
    model.load_adapter(folder / "Sabine-Marroweck", adapter_name="two")
    model.base_model.set_adapter(["one", "two"])
    ids = torch.tensor([sample.task.tokenizer(f"{AUTHOR} was born in")["input_ids"]])
    expected = logits(edited_view(authors, choice), ids)
    assert (logits(model.eval(), ids) - expected).abs().max() < 1e-4
    cut = take.make(authors, choice, take.ADAPTERS, rank=3, step=silent)
    assert cut.bytes < taken.bytes and set(cut.errors["rank"]) == {3} and cut.errors["error"].max() > 0.01


def test_the_edited_image_model_is_a_folder_that_loads_again(digits, tmp_path):
    choice = clean({"concepts": ["7"]}, digits.facts)
    folder = unpacked(take.make(digits, choice, take.MODEL, step=silent), tmp_path / "out")
    probe = digits.sample.concepts["7"].probe
    with torch.no_grad():
        expected = edited_view(digits, choice)(probe)
        again = load_image_model(folder).model(probe)
        base = digits.sample.model(probe)
    assert (again - expected).abs().max() < 1e-4 < (base - expected).abs().max()
    assert set(load_file(folder / "model.safetensors")) == set(digits.sample.model.state_dict())
    assert json.loads((folder / "engram.json").read_text())["erased"] == {"7": 1.0}
    assert digits.intact()


def test_the_engrams_load_and_carry_settings_and_texts(authors, digits, tmp_path):
    for base in (authors, digits):
        choice = clean({"power": "2"}, base.facts)
        taken = take.make(base, choice, take.ATLAS, step=silent)
        assert taken.bytes == pytest.approx(take.size(base, choice, take.ATLAS), rel=0.3)
        atlas = ec.Atlas.load(taken.path, base.sample.model)
        assert list(atlas) == list(base.atlas) and atlas.sharpness.power == 2.0
        assert atlas.about["settings"]["layers"] == base.atlas.layers
        assert ("texts" in atlas.about) == base.is_text
        name = base.atlas.concepts[1]
        chosen = clean({"concepts": [name], "power": "2"}, base.facts)
        few = take.make(base, chosen, take.ATLAS, every=False, step=silent)
        assert few.bytes < taken.bytes / 3
        assert few.bytes == pytest.approx(take.size(base, chosen, take.ATLAS, every=False), rel=0.3)
        alone = ec.Atlas.load(few.path, base.sample.model)
        layer = base.atlas.layers[0]
        assert list(alone) == [name]
        torch.testing.assert_close(alone[name].matrix(layer), atlas[name].matrix(layer))
        taken.delete()


# -- what cannot be taken ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "kind", "said"),
    [
        ({}, take.MODEL, "Nothing is erased"),
        ({}, take.ADAPTERS, "Nothing is erased"),
        ({}, take.ATLAS, ""),
        ({"concepts": [AUTHOR], "scaling": "adaptive"}, take.ADAPTERS, "plain scaling"),
        ({"concepts": [AUTHOR], "clip": True, "power": "1.5"}, take.ADAPTERS, "capped engram"),
        ({"concepts": [AUTHOR], "mode": KEEP}, take.ADAPTERS, "export the whole edited model"),
        ({"concepts": [AUTHOR], "mode": KEEP}, take.MODEL, ""),
    ],
)
def test_what_cannot_be_taken_is_said(authors, raw, kind, said):
    found = take.refusal(authors, clean({"clip": False, "power": "1"} | raw, authors.facts), kind)
    assert said in found and bool(said) == bool(found)


# -- nothing stays behind ------------------------------------------------------------------------------


def test_a_file_goes_when_it_is_deleted_let_go_or_old(digits, own_place, monkeypatch):
    choice = clean({"concepts": ["7"]}, digits.facts)
    taken = take.make(digits, choice, take.MODEL, step=silent)
    assert taken.there and len(list(own_place.iterdir())) == 1
    taken.delete()
    assert not taken.there and not list(own_place.iterdir())
    taken = take.make(digits, choice, take.MODEL, step=silent)
    del taken
    assert not list(own_place.iterdir())
    monkeypatch.setattr(take, "KEPT", 0.05)
    taken = take.make(digits, choice, take.MODEL, step=silent)
    taken._timer.join(10)
    assert not taken.there and not list(own_place.iterdir())


def test_a_visitor_who_moves_on_leaves_nothing_and_holds_nobody_up(digits, own_place):
    choice = clean({"concepts": ["7"]}, digits.facts)

    class Gone(BaseException):
        pass

    def leave(share: float, doing: str) -> None:
        if share > 0.1:
            raise Gone

    with pytest.raises(Gone):
        take.make(digits, choice, take.MODEL, step=leave)
    assert not list(own_place.iterdir())
    others = threading.Thread(target=lambda: COMPUTE_LOCK.acquire() or COMPUTE_LOCK.release(), daemon=True)
    others.start()
    others.join(10)
    assert not others.is_alive()


def test_between_two_layers_somebody_else_has_a_turn(digits):
    choice, turns = clean({"concepts": ["7"]}, digits.facts), []

    def step(share: float, doing: str) -> None:
        other = threading.Thread(
            target=lambda: (COMPUTE_LOCK.acquire(), turns.append(doing), COMPUTE_LOCK.release())
        )
        other.start()
        other.join(10)
        assert not other.is_alive(), "the lock is held while others wait"

    take.make(digits, choice, take.MODEL, step=step)
    assert len(turns) >= 2 + len(digits.facts.layers)


def test_a_full_disk_is_said(digits, own_place, monkeypatch):
    choice = clean({"concepts": ["7"]}, digits.facts)
    usage = type("Usage", (), {"free": 10})()
    monkeypatch.setattr(take.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(EngramError, match="no room"):
        take.make(digits, choice, take.MODEL, step=silent)
    assert not list(own_place.iterdir())


# -- the page ------------------------------------------------------------------------------------------


def open_page(model: str, **params) -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=600)
    for key, value in ({"page": "live", "model": model} | params).items():
        app.query_params[key] = value
    app.run()
    assert not app.exception
    return app


def offered(app: AppTest) -> list[str]:
    return [b.label for b in app.get("download_button") if b.label.startswith("Download engram-")]


def test_nothing_is_made_before_it_is_asked_for_and_another_edit_deletes_it(own_place):
    app = open_page("digits-mlp", concepts="7")
    assert not list(own_place.iterdir()) and not offered(app)
    app.button(key="take_prepare").click().run()
    assert not app.exception
    (label,) = offered(app)
    assert "engram-digits-mlp-model.zip" in label
    (file,) = own_place.rglob("*.zip")
    archive = zipfile.ZipFile(io.BytesIO(file.read_bytes()))
    weights = next(n for n in archive.namelist() if n.endswith("model.safetensors"))
    (own_place.parent / "w.safetensors").write_bytes(archive.read(weights))
    base = visitors.base_of("digits-mlp")
    view = base.atlas.apply(base.sample.model, erase={"7": 1.0})
    state = load_file(own_place.parent / "w.safetensors")
    for name, tensor in ec.bake(view).state_dict().items():
        torch.testing.assert_close(state[name], tensor)
    app.run()
    assert offered(app) == [label]
    app.slider(key="strength").set_value(0.5).run()
    assert not app.exception and not offered(app) and not list(own_place.rglob("*.zip"))


def test_adapters_with_a_rank_show_what_it_costs(own_place):
    app = open_page("authors-lm", concepts=AUTHOR, power="1", clip="false")
    app.segmented_control(key="_take_kind").set_value(take.ADAPTERS).run()
    app.number_input(key="_take_rank").set_value(2).run()
    app.button(key="take_prepare").click().run()
    assert not app.exception
    (label,) = offered(app)
    assert "adapters.zip" in label and any("leave out up to" in c.value for c in app.caption)
    table = app.dataframe[-1].value
    assert set(table["concept"]) == {AUTHOR} and (table["rank"] <= 2).all() and table["error"].max() > 0


def test_where_there_is_nothing_to_take_the_page_says_why():
    app = open_page("digits-mlp")
    assert any("so the edited model is the base" in note.value for note in app.caption)
    assert not [b for b in app.button if b.key == "take_prepare"]


def test_a_public_screen_gives_nothing_away(monkeypatch):
    for key, value in environment(ServerOptions(demo=True)).items():
        monkeypatch.setenv(key, value)
    app = open_page("digits-mlp", concepts="7")
    assert not [b for b in app.button if b.key == "take_prepare"]
    assert not any("Export model" in m.value for m in app.markdown)
