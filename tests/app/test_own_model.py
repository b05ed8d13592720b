"""My model: a check-up, then the same pages; what is wrong is said in a sentence and nothing is lost."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

import engram_core as ec
from app.adapter.own import Checking, Wanted, upload
from app.launch import MAIN
from app.started import Started, environment

NAMES = ("Fabrice Pelliningway", "Sabine Marroweck")


def texts(folder: Path, names=NAMES) -> Path:
    source = Path(ec.load_sample("authors-lm").folder) / "texts.jsonl"
    rows = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    path = folder / "own.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows if row["concept"] in names), encoding="utf-8")
    return path


def pictures() -> bytes:
    sample, buffer = ec.load_sample("digits-mlp"), io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in ("3", "7"):
            for index, image in enumerate(sample.concepts[name].record[:8].numpy()):
                png = io.BytesIO()
                Image.fromarray((255 * image[0]).astype(np.uint8)).save(png, "PNG")
                archive.writestr(f"{name}/{index}.png", png.getvalue())
    return buffer.getvalue()


def open_page(**params: str) -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=600)
    for key, value in ({"page": "model"} | params).items():
        app.query_params[key] = value
    app.run()
    assert not app.exception
    return app


def html(app: AppTest) -> str:
    return " ".join(block.proto.body for block in app.get("html"))


def test_own_texts_are_checked_and_opened(tmp_path):
    app = open_page()
    assert app.button(key="check").disabled
    app.text_input(key="_own_model").set_value("authors-lm").run()
    app.text_input(key="_own_path").set_value(str(texts(tmp_path))).run()
    app.button(key="check").click().run()
    assert not app.exception and not app.error and "21 of 30" in html(app)
    layers, concepts = (frame.value for frame in app.dataframe)
    assert layers["covered"].sum() == 21 and set(NAMES) <= set(concepts["concept"])
    app.button(key="open_own").click().run()
    assert not app.exception and app.selectbox(key="model").value.startswith("authors-lm-")
    app.pills(key="concepts").set_value([NAMES[0]]).run()
    assert not app.exception and f"{NAMES[0]} off" in html(app)
    # It has a link as long as the server knows it.
    other = open_page(page="live", model=app.selectbox(key="model").value, concepts=NAMES[1])
    assert f"{NAMES[1]} off" in html(other)


def test_own_pictures_are_checked_and_opened():
    path, remove = upload("../../etc/x.zip", content := pictures())
    assert Path(path).name == "concepts.zip"
    checking = Checking(Wanted.of("digits-mlp", path, content), after=remove)
    opened = checking.opened()
    assert opened.check.ok and list(opened.sample.concepts) == ["3", "7"]
    assert not Path(path).exists()
    base = opened.loading().base()
    # The pictures are digits the model was trained on: bytes must become the inputs they were.
    assert base.facts.classes == ("3", "7") and min(base.scores.values()) == 1.0
    assert Wanted.of("digits-mlp", path, content).name == opened.wanted.name


def png(size: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", size).save(buffer, "PNG")
    return buffer.getvalue()


def archive(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in files.items():
            out.writestr(name, data)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("model", "name", "content", "said"),
    [
        ("digits-mlp", "x.zip", b"", "zip"),
        ("digits-mlp", "x.zip", archive(**{"7/a.png": b"not a picture"}), "7/a.png"),
        ("digits-mlp", "x.zip", archive(**{"7/a.png": b""}), "7/a.png"),
        ("digits-mlp", "x.zip", archive(**{"7/a.png": png((10_000, 10_000))}), "7/a.png"),
        ("digits-mlp", "x.zip", archive(**{"../../7/a.png": png((8, 8))}), "../../7/a.png"),
        ("authors-lm", "x.csv", b"who,what\na,b\n", "who"),
        ("authors-lm", "x.csv", "concept,text\nä,ö\n".encode("utf-16"), "UTF-8"),
        ("authors-lm", "x.csv", b"", "found nothing"),
        (
            "authors-lm",
            "x.csv",
            b"concept,prompt,answer\n" + b"".join(b"c%d,a b,c\n" % i for i in range(5000)),
            "5,000 concepts",
        ),
        ("no/such-folder-here/x", "x.csv", b"concept,text\na,b\n", "no/such-folder-here/x"),
    ],
)
def test_what_cannot_be_used_is_said_in_a_sentence(model, name, content, said, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    path, remove = upload(name, content)
    checking = Checking(Wanted.of(model, path, content, label=name), after=remove)
    with pytest.raises(ec.errors.EngramError) as caught:
        checking.opened()
    assert said in str(caught.value) and not Path(path).exists()
    # The visitor's name for it, not the server's.
    assert path not in str(caught.value)


def test_a_bad_file_loses_nothing_that_was_chosen(tmp_path):
    bad = tmp_path / "bad.csv"
    bad.write_text("who,what\na,b\n")
    app = open_page(model="digits-mlp", concepts="7", strength="1.5")
    app.text_input(key="_own_model").set_value("authors-lm").run()
    app.text_input(key="_own_path").set_value(str(bad)).run()
    app.button(key="check").click().run()
    assert not app.exception and app.error and "who" in app.code[-1].value
    assert app.text_input(key="_own_path").value == str(bad)
    assert app.session_state["concepts"] == ["7"] and app.session_state["strength"] == 1.5


def test_a_public_screen_has_no_door_for_it(monkeypatch):
    for key, value in environment(Started(demo=True)).items():
        monkeypatch.setenv(key, value)
    app = open_page()
    assert not app.text_input and "Closed on this public screen" in app.info[0].value
    start = open_page(page="start")
    assert start.button(key="door_model").disabled
    live = open_page(page="live", model="authors-lm", prompt="x" * 1000)
    assert len(live.text_area(key="prompt").value) == Started(demo=True).most_characters
    assert not live.get("file_uploader")


def test_a_server_can_be_started_with_an_own_model(tmp_path, monkeypatch):
    from app import session

    path = texts(tmp_path)
    for key, value in environment(Started("authors-lm", str(path))).items():
        monkeypatch.setenv(key, value)
    session._own.clear()
    try:
        app = open_page(page="live")
        assert app.selectbox(key="model").value.startswith("authors-lm-")
        assert list(app.pills(key="concepts").options) == list(NAMES)
    finally:
        session._own.clear()
