"""A public screen, strange own models, and results that must not fill the machine."""

from __future__ import annotations

import io
import json
import zipfile
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from PIL import Image
from streamlit import config
from streamlit.testing.v1 import AppTest

import engram_core as ec
from app.choice.choice import Facts, clean
from app.compute import edited_view
from app.figures.panels.hero import hero, text_hero
from app.launch import MAIN, SETTINGS
from app.options import ServerOptions, environment
from app.page.report import Item, figure_page, report_page
from app.server import opened_models
from app.server.background_load import BackgroundLoad
from app.server.model_check import ModelCheck
from app.server.model_request import ModelRequest
from app.server.results import Remembered, size_of
from app.server.uploaded import upload
from app.session import visitor_models
from app.views.registry import REGISTRY

PAGES = tuple(entry.path for entry in REGISTRY)
MOST = ServerOptions(demo=True)


def open_page(page: str, **params) -> AppTest:  # noqa: ANN003
    app = AppTest.from_file(str(MAIN), default_timeout=600)
    for key, value in ({"page": page} | params).items():
        app.query_params[key] = value
    app.run()
    assert not app.exception
    return app


def shown(app: AppTest) -> str:
    """Return every text that reaches the browser."""
    texts = [block.proto.body for block in app.get("html")]
    for kind in ("markdown", "caption", "code", "info", "warning", "error", "text_input", "text_area"):
        texts += [str(element.value) for element in app.get(kind)]
    return " ".join(texts)


@pytest.fixture
def demo(monkeypatch):
    for key, value in environment(ServerOptions(demo=True)).items():
        monkeypatch.setenv(key, value)


@pytest.mark.parametrize("page", PAGES)
def test_a_public_screen_takes_no_files_paths_or_names(demo, page):
    app = open_page(page, model="digits-mlp", concepts="7")
    assert not app.get("file_uploader") and not app.text_input
    assert str(Path(ec.load_sample("digits-mlp").folder).parent) not in shown(app)


@pytest.mark.parametrize("page", ["live", "layers", "start"])
def test_the_limits_of_a_public_screen_hold_against_the_address_too(demo, page):
    names = tuple(ec.load_sample("authors-lm").concepts)
    assert len(names) > 60
    app = open_page(
        page, model="authors-lm", concepts=list(names), tokens="400", prompt="word " * 2000, seed="-4",
        temperature="99", layers="nowhere",
    )  # fmt: skip
    notes = " ".join(note.value for note in app.info)
    for word in ("too many", "tokens", "seed", "temperature", "layers"):
        assert word in notes
    if page == "start":
        return
    assert len(app.session_state["concepts"]) == MOST.most_concepts
    if page == "live":
        assert app.slider(key="tokens").value <= MOST.most_tokens == app.slider(key="tokens").max
        assert len(app.text_area(key="prompt").value) == MOST.most_characters


def test_a_public_screen_opens_no_model_that_was_not_put_there(demo):
    for name in ("../../etc/passwd", "org/model", "/root", "https://evil.example/model"):
        app = open_page("live", model=name)
        assert app.selectbox(key="model").value == "digits-mlp" and "There is no model" in app.info[0].value


def test_a_public_screen_with_an_own_model_shows_no_path(tmp_path, monkeypatch):
    source = Path(ec.load_sample("authors-lm").folder) / "texts.jsonl"
    rows = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    names = sorted({row["concept"] for row in rows})[:3]
    path = tmp_path / "own.jsonl"
    path.write_text("\n".join(json.dumps(r) for r in rows if r["concept"] in names), encoding="utf-8")
    for key, value in environment(ServerOptions("authors-lm", str(path), True)).items():
        monkeypatch.setenv(key, value)
    opened_models.opened_models.clear()
    try:
        app = open_page("live", concepts=names[0])
        assert app.selectbox(key="model").value.startswith("authors-lm-")
        assert str(tmp_path) not in shown(app) and "own.jsonl" in shown(app)
    finally:
        opened_models.opened_models.clear()


def test_what_breaks_a_page_reaches_the_log_and_not_the_visitor(demo, monkeypatch):
    def broken(atlas, choice):  # noqa: ANN001, ANN202
        raise RuntimeError("/secret/path of the server")

    monkeypatch.setattr(edited_view, "edit_of", broken)
    assert SETTINGS["client.showErrorDetails"] == "none"
    before = config.get_option("client.showErrorDetails")
    config.set_option("client.showErrorDetails", "none")
    try:
        app = AppTest.from_file(str(MAIN), default_timeout=600)
        for key, value in {"page": "live", "model": "digits-mlp", "concepts": "7"}.items():
            app.query_params[key] = value
        app.run()
    finally:
        config.set_option("client.showErrorDetails", before)
    (error,) = app.exception
    assert (
        "/secret" not in str(error.proto) and not error.stack_trace and "RuntimeError" not in str(error.proto)
    )


def test_a_model_that_fails_in_any_way_is_a_sentence_and_is_tried_again(monkeypatch):
    def broken():  # noqa: ANN202
        raise KeyError("/secret/weights")

    visitor_models.open_model("broken-1", lambda: BackgroundLoad(broken))
    try:
        app = open_page("live", model="broken-1")
        assert "broken-1 could not be prepared" in app.warning[0].value and "KeyError" in app.warning[0].value
        for key, value in environment(ServerOptions(demo=True)).items():
            monkeypatch.setenv(key, value)
        assert "/secret" not in app.run().warning[0].value
        visitor_models.open_model("broken-1", lambda: BackgroundLoad.of_sample("digits-mlp"))
        monkeypatch.undo()
        app.run()
        assert not app.exception and not app.warning and app.pills(key="concepts").options
    finally:
        opened_models.opened_models.clear()


def test_two_visitors_who_open_the_same_own_model_share_it_and_not_their_edits():
    calls = []

    def load():  # noqa: ANN202
        calls.append(1)
        return BackgroundLoad.of_sample("digits-mlp")

    try:
        visitor_models.open_model("mine-2visit", load)
        one = open_page("live", model="mine-2visit", concepts="7")
        visitor_models.open_model("mine-2visit", load)  # the second one checks the same file and opens it
        two = open_page("live", model="mine-2visit", concepts="3")
        one.run()
        assert len(calls) == 1
        assert "7 erased" in shown(one) and "3 erased" not in shown(one) and "3 erased" in shown(two)
    finally:
        opened_models.opened_models.clear()


# -- own files ------------------------------------------------------------------------------------


def zipped(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in files.items():
            out.writestr(name, data)
    return buffer.getvalue()


def picture(size: tuple[int, int] = (8, 8)) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", size).save(buffer, "PNG")
    return buffer.getvalue()


def lying() -> bytes:
    """Return a zip whose entry says that it is small and unfolds to 200 MB."""
    data = bytearray(zipped(**{"7/a.png": b"\0" * 200_000_000}))
    for place in (data.find(b"PK\x03\x04") + 22, data.rfind(b"PK\x01\x02") + 24):
        data[place : place + 4] = (100).to_bytes(4, "little")
    return bytes(data)


def spoilt() -> bytes:
    """Return a zip with bytes in the middle of a packed picture that are no packed bytes."""
    data = bytearray(zipped(**{"7/a.png": bytes(range(256)) * 40}))
    data[60:90] = b"\xff" * 30
    return bytes(data)


LATIN = "concept,text\nä,Die Straße\n".encode("latin-1")


@pytest.mark.parametrize(
    ("model", "name", "content", "said"),
    [
        ("digits-mlp", "bomb.zip", zipped(**{f"7/{i}.png": b"\0" * 60_000_000 for i in range(2)}), "7/"),
        ("digits-mlp", "lie.zip", lying(), "7/a.png"),
        ("digits-mlp", "spoilt.zip", spoilt(), "7/a.png"),
        ("digits-mlp", "cut.zip", zipped(**{"7/a.png": picture()})[:-30], "zip"),
        ("digits-mlp", "nested.zip", zipped(**{"7/a.zip": zipped(**{"b.png": picture()})}), "7/a.zip"),
        ("authors-lm", "mixed.csv", "concept,text\nä,x\n".encode() + LATIN, "UTF-8"),
        ("authors-lm", "nul.csv", b"concept,text\na,\x00\x00\n", ""),
        ("authors-lm", "deep.jsonl", b"[" * 100_000, ""),
        ("authors-lm", "wide.csv", b"concept,text\n" + b"a," + b"x" * 200_000 + b"\n", ""),
        ("/etc", "x.csv", b"concept,text\na,b c d\n", "/etc"),
        ("/dev/null", "x.csv", b"concept,text\na,b c d\n", "/dev/null"),
    ],
)
def test_strange_files_are_answered_and_removed(model, name, content, said, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    path, remove = upload(name, content)
    checking = ModelCheck(ModelRequest.of(model, path, content, label=name), after=remove)
    try:
        opened = checking.opened()
    except ec.errors.EngramError as error:
        text = str(error)
        assert said in text and path not in text and len(text) < 3000
        assert "could not be used: " not in text, "foreseen, and so said in the core's own words"
    else:
        assert not said and opened.check is not None
    assert not Path(path).exists() and not Path(path).parent.exists()


def test_a_concept_that_stands_twice_is_one():
    rows = b"concept,prompt,answer\n" + b"a,The sky is,blue\n" * 3 + b"b,Grass is,green\n"
    path, remove = upload("x.csv", rows)
    checking = ModelCheck(ModelRequest.of("authors-lm", path, rows, label="x.csv"), after=remove)
    try:
        assert sorted(checking.opened().sample.concepts) == ["a", "b"]
    except ec.errors.EngramError as error:
        assert "a" in str(error)


# -- texts from outside ---------------------------------------------------------------------------

HOSTILE = ("<img src=x onerror=alert(1)>", "</script><script>alert(2)</script>", '"><svg onload=alert(3)>')


def test_names_from_outside_are_text_in_every_picture_and_report():
    name = HOSTILE[1]
    numbers = pd.DataFrame({"concept": HOSTILE, "=1+1": [1.0, 2.0, 3.0]})
    figure = go.Figure(go.Bar(x=list(HOSTILE), y=[1, 2, 3], text=list(HOSTILE)), layout={"title": name})
    item = Item(
        page=name, title=name, how=f"**{name}**", words=HOSTILE[0], setting=HOSTILE[2],
        settings={"model": name, name: HOSTILE[0]}, code=f"x = {name!r}", table=numbers, figure=figure,
    )  # fmt: skip
    for page in (figure_page(item), report_page([item], title=name, link=f"http://x/?{name}")):
        body = page[page.index("</head>") :]
        for text in HOSTILE:
            assert text not in body
        # Every script that opens is one of Plotly's own, and none is closed from within.
        assert body.count("<script") == body.count("</script>") == 1
        assert page[: page.index("<style>")].count("<script") == 0
    panel = text_hero(
        name, HOSTILE[0], HOSTILE[2], answer=name, done=True, status=name, on=True, facts=name, hint=name
    ) + hero(
        np.zeros((8, 8), np.float32), HOSTILE, [0.2, 0.3, 0.5], [0.5, 0.3, 0.2], truth=HOSTILE[0],
        about=name, status=name, on=True, facts=name, hint=HOSTILE[0],
    )  # fmt: skip
    assert "<script" not in panel and "onerror=alert(1)>" not in panel and "<svg onload" not in panel


# -- memory ---------------------------------------------------------------------------------------


def test_results_are_bounded_in_number_and_in_bytes():
    kept = Remembered(size=3, most_bytes=10_000)
    for key in range(5):
        kept.put(key, np.zeros(10))
    assert [kept.get(key) is not None for key in range(5)] == [False, False, True, True, True]
    kept.put("large", pd.DataFrame({"x": np.zeros(1200)}))
    assert kept.get("large") is not None and kept.get(2) is None
    kept.put("larger", np.zeros(5000))  # alone too large: it is kept, and nothing else is
    assert kept.get("larger") is not None and kept.get("large") is None


def test_results_that_grow_where_they_lie_count_as_they_are():
    kept = Remembered(most_bytes=10_000)
    known = kept.made("scores", dict)
    known["row"] = np.zeros(1000)
    kept.put("scores", known)
    kept.put("other", np.zeros(100))
    assert kept.get("scores") is known
    known["more"] = np.zeros(1000)
    kept.put("scores", known)
    kept.put("another", np.zeros(100))
    assert kept.get("another") is not None and kept.get("other") is None
    assert kept.made("scores", lambda: {"new": 1}) == {"new": 1}


def test_the_size_of_a_result_is_that_of_its_numbers():
    numbers = np.zeros((100, 100))
    assert size_of(numbers) == 80_000
    assert 80_000 <= size_of({"a": (numbers, "text")}) < 81_000
    done: Future = Future()
    assert size_of(done) < 100
    done.set_result([numbers, numbers])
    assert 160_000 <= size_of(done) < 161_000
    assert size_of(pd.DataFrame(numbers)) == 80_000
    failed: Future = Future()
    failed.set_exception(ValueError())
    assert size_of(failed) < 100


def test_an_edit_with_too_many_concepts_keeps_its_first():
    names = tuple(f"c{i}" for i in range(30))
    facts = Facts("m", names, dict.fromkeys(names, 5), ("fc1",))
    edit = clean({"concepts": names, "own": True, "alpha.c0": 0.5}, facts).first(20)
    assert edit.concepts == names[:20] and len(edit.single_strengths) == 20 and edit.strengths["c0"] == 0.5
