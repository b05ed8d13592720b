"""Live for a table: a slider for each feature, and the address holds the row that a visitor made."""

from __future__ import annotations

import pytest
import torch
from streamlit.testing.v1 import AppTest
from torch import nn

import engram_core as ec
from app.choice.pages import PAGES
from app.figures.words.live import percent
from app.launch import MAIN
from app.server import opened_models
from engram_core.opening.in_memory import hold, let_go
from engram_core.opening.made import sample_of


def opened(page: str = "live", **params: str) -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=600)
    for key, value in ({"page": page, "model": "wine-mlp"} | params).items():
        app.query_params[key] = value
    app.run()
    assert not app.exception
    return app


def html(app: AppTest) -> str:
    return " ".join(block.proto.body for block in app.get("html"))


@pytest.fixture(scope="module")
def wine() -> ec.Sample:
    return ec.load_sample("wine-mlp")


def test_sliders_show_the_held_out_row_in_its_own_units(wine) -> None:
    app = opened(**{"class": "Barbera", "image": "2"})
    row = wine.features.shown(wine.concepts["Barbera"].probe[1].numpy())
    shown = [app.slider(key=f"_value_{place}") for place in range(13)]
    assert [each.value for each in shown] == pytest.approx(row.tolist(), rel=1e-4)
    assert shown[0].label == "alcohol" and shown[12].label == "proline"
    assert "held-out input 2 of 12" in html(app)


def test_a_slider_makes_a_row_that_both_models_answer_and_the_address_holds(wine) -> None:
    app = opened(concepts="Barolo", **{"class": "Barolo"})
    place = wine.features.names.index("proline")
    slider = app.slider(key=f"_value_{place}")
    before = slider.value
    slider.set_value(slider.min).run()
    assert not app.exception and f"with proline {slider.min:.4g} (was {before:.4g})" in html(app)
    drawn = app.session_state["drawn"]
    assert drawn in app.query_params["drawn"]
    values = [float(part) for part in drawn.split(",")]
    assert values[place] == slider.min and len(values) == 13
    # Held against the model itself, asked directly.
    inputs = torch.from_numpy(wine.features.read([values]))
    expected = wine.task.probabilities(wine.model, inputs)[0]
    name = wine.task.classes[int(expected.argmax())]
    assert f'data-answer="base">{name}</div>' in html(app)
    assert f"<span>{percent(float(expected.max())).replace('>', '&gt;')}</span>" in html(app)
    again = opened(concepts="Barolo", drawn=drawn, **{"class": "Barolo"})
    assert again.slider(key=f"_value_{place}").value == pytest.approx(slider.min)
    again.button(key="values_back").click().run()
    assert again.slider(key=f"_value_{place}").value == pytest.approx(before, rel=1e-4)
    assert "held-out input 1 of" in html(again)


@pytest.mark.parametrize("drawn", ["1,2,3", "nan," * 12 + "1", "x" * 2000, "1e99," * 12 + "1"])
def test_what_is_no_row_in_an_address_is_left_aside(drawn: str) -> None:
    assert "held-out input 1 of" in html(opened(drawn=drawn, **{"class": "Barolo"}))


def test_values_beyond_the_data_can_be_shown() -> None:
    far = ",".join(["1000000"] * 13)
    app = opened(drawn=far, **{"class": "Barolo"})
    assert [app.slider(key=f"_value_{place}").value for place in range(13)] == 13 * [1e6]


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_on_a_table(page: str) -> None:
    app = opened(page, concepts="Barolo")
    assert not app.error, [each.value for each in app.error]
    words = " ".join(each.value for each in (*app.markdown, *app.caption))
    assert "held-out image" not in words or page in ("learn", "start")


class Sums(nn.Module):
    """Reads two tensors by name, as many models do; nothing of it can be drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return self.layer(first + second)


class Positive:
    """A task of one's own."""

    unit = "share above zero"

    def measure(self, model, concepts, probes=None):
        names = list(probes or concepts)
        score = {n: float((model(concepts[n].probe)[:, 0] > 0).float().mean()) for n in names}
        return ec.Scores(score, {name: {name: score[name]} for name in names})


@pytest.fixture
def held():
    found = []

    def put(*given, **options):
        found.append(hold(sample_of(*given, **options), code="sample = mine"))
        return found[-1].sample.name

    yield put
    for each in found:
        let_go(each)
    opened_models.forget_all()


@pytest.mark.parametrize("page", ["live", "criteria", "map", "layers"])
def test_a_module_that_reads_what_cannot_be_drawn_has_its_pages(held, page: str) -> None:
    torch.manual_seed(0)
    inputs = {name: {"first": torch.rand(12, 3), "second": torch.rand(12, 3)} for name in ("a", "b")}
    app = opened(page, model=held(Sums(), inputs, name="sums"), concepts="a")
    assert not app.error, [each.value for each in app.error]
    if page == "live":
        assert "held-out input 1 of 3" in html(app) and "a erased" in html(app)
        assert any("sample = mine" in block.value for block in app.code)


def test_a_task_of_one_s_own_has_scores_and_says_why_there_is_no_answer(held) -> None:
    torch.manual_seed(0)
    concepts = {"a": torch.randn(12, 3), "b": torch.randn(12, 3)}
    app = opened(model=held(nn.Linear(3, 1), concepts, task=Positive(), name="own task"), concepts="a")
    assert not app.error and any("a task of its own" in each.value for each in app.info)


def test_a_model_that_was_trained_on_is_refused_and_given_again_it_is_the_new_one(held) -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    concepts = {"a": torch.randn(12, 3), "b": torch.randn(12, 3)}
    app = opened(model=held(model, concepts, name="trained on"), concepts="a")
    with torch.no_grad():
        model.weight.add_(1.0)
    app.slider(key="strength").set_value(0.5).run()
    assert any("weights changed since it was recorded" in each.value for each in app.warning)
    held(model, {"c": concepts["a"], "d": concepts["b"]}, name="trained on")
    again = opened(model="trained on", concepts="c")
    assert not again.warning and "c erased" in html(again)
