"""My model: a check-up, then the same pages; what is wrong is said in a sentence and nothing is lost."""

from __future__ import annotations

import io
import json
import os
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pictures import digits_zip
from PIL import Image
from safetensors.torch import save_file
from streamlit.testing.v1 import AppTest

import engram_core as ec
from app.launch import MAIN
from app.options import ServerOptions, environment
from app.server import model_facts as about
from app.server import opened_models
from app.server.background_load import BackgroundLoad
from app.server.model_check import ModelCheck
from app.server.model_request import ModelRequest
from app.server.uploaded import upload
from app.views.my_model import page as model
from app.views.my_model import restored as kept
from engram_core.vision.architectures import architecture_names, build

NAMES = ("Fabrice Pelliningway", "Sabine Marroweck")


def texts(folder: Path, names=NAMES) -> Path:
    source = Path(ec.load_sample("authors-lm").folder) / "texts.jsonl"
    rows = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    path = folder / "own.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows if row["concept"] in names), encoding="utf-8")
    return path


def open_page(**params: str) -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=600)
    for key, value in ({"page": "model"} | params).items():
        app.query_params[key] = value
    app.run()
    assert not app.exception
    return app


def html(app: AppTest) -> str:
    return " ".join(block.proto.body for block in app.get("html"))


def give(app: AppTest, model: str, path: Path | str) -> AppTest:
    """Name a model and a path and have them checked."""
    app.text_input(key="_own_model").set_value(model).run()
    app.text_input(key="_own_path").set_value(str(path)).run()
    return app.button(key="check").click().run()


@pytest.fixture(autouse=True)
def _nobody_else() -> Iterator[None]:
    """Begin with no own model and no check-up, and leave none."""
    yield
    opened_models.opened_models.clear()
    opened_models.model_checks.clear()


def test_own_texts_are_checked_and_opened(tmp_path):
    app = open_page()
    assert app.button(key="check").disabled
    give(app, "authors-lm", texts(tmp_path))
    assert not app.exception and not app.error and "21 of 30" in html(app)
    layers, concepts = (frame.value for frame in app.dataframe)
    assert layers["covered"].sum() == 21 and set(NAMES) <= set(concepts["concept"])
    app.button(key="open_own").click().run()
    assert not app.exception and app.selectbox(key="model").value.startswith("authors-lm-")
    app.pills(key="concepts").set_value([NAMES[0]]).run()
    assert not app.exception and f"{NAMES[0]} erased" in html(app)
    # It has a link as long as the server knows it.
    other = open_page(page="live", model=app.selectbox(key="model").value, concepts=NAMES[1])
    assert f"{NAMES[1]} erased" in html(other)


def test_which_tokens_count_is_chosen_and_the_python_beside_it_says_so(tmp_path):
    path, app = texts(tmp_path), open_page()
    app.segmented_control(key="_own_positions").set_value("those of the answer").run()
    give(app, "authors-lm", path)
    checks = opened_models.model_checks()
    opened = checks.get(next(iter(checks))).opened()
    assert opened.sample.concepts.positions == "answer"
    assert opened.wanted.code.endswith(", positions='answer')")
    plain, chat = (ModelRequest.of("authors-lm", str(path), template=template) for template in (False, True))
    assert len({opened.name, plain.name(), chat.name()}) == 3
    # This model has no chat template, and says so instead of leaving it out.
    app.segmented_control(key="_own_positions").set_value("all tokens").run()
    app.toggle(key="_own_template").set_value(True).run()
    app.button(key="check").click().run()
    assert app.error and any("template" in code.value for code in app.code)


def test_own_pictures_are_checked_and_opened():
    path, remove = upload("../../etc/x.zip", content := digits_zip())
    assert Path(path).name == "concepts.zip"
    checking = ModelCheck(ModelRequest.of("digits-mlp", path, content), after=remove)
    opened = checking.opened()
    assert opened.check.ok and list(opened.sample.concepts) == ["3", "7"]
    assert not Path(path).exists()
    base = opened.load_in_background().base()
    # The pictures are digits the model was trained on: bytes must become the inputs they were.
    assert base.facts.classes == ("3", "7") and min(base.scores.values()) == 1.0
    assert ModelRequest.of("digits-mlp", path, content).name() == opened.name


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
        ("authors-lm", "x.csv", "concept,text\nä,ö\n".encode("latin-1"), "UTF-8"),
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
    checking = ModelCheck(ModelRequest.of(model, path, content, label=name), after=remove)
    with pytest.raises(ec.errors.EngramError) as caught:
        checking.opened()
    assert said in str(caught.value) and not Path(path).exists()
    # The visitor's name for it, not the server's.
    assert path not in str(caught.value)


def test_a_bad_file_loses_nothing_that_was_chosen(tmp_path):
    bad = tmp_path / "bad.csv"
    bad.write_text("concept,text\n,b\n")
    app = give(open_page(model="digits-mlp", concepts="7", strength="1.5"), "authors-lm", bad)
    assert not app.exception and app.error and "no concept" in app.code[-1].value
    assert app.text_input(key="_own_path").value == str(bad)
    assert app.session_state["concepts"] == ["7"] and app.session_state["strength"] == 1.5


def test_a_public_screen_has_no_door_for_it(monkeypatch):
    for key, value in environment(ServerOptions(demo=True)).items():
        monkeypatch.setenv(key, value)
    app = open_page()
    assert not [each for each in app.text_input if str(each.key).startswith("_own")]
    assert "Closed on this public screen" in app.info[0].value
    start = open_page(page="start")
    assert start.button(key="door_model").disabled
    live = open_page(page="live", model="authors-lm", prompt="x" * 1000)
    assert len(live.text_area(key="prompt").value) == ServerOptions(demo=True).most_characters
    assert not live.get("file_uploader")


def test_a_server_can_be_started_with_an_own_model(tmp_path, monkeypatch):
    from app.server import opened_models

    path = texts(tmp_path)
    for key, value in environment(ServerOptions("authors-lm", str(path))).items():
        monkeypatch.setenv(key, value)
    opened_models.opened_models.clear()
    try:
        app = open_page(page="live")
        assert app.selectbox(key="model").value.startswith("authors-lm-")
        assert list(app.pills(key="concepts").options) == list(NAMES)
    finally:
        opened_models.opened_models.clear()


# -- plain state_dicts and pictures ---------------------------------------------------------------


def plain_model(folder: Path) -> Path:
    """Write the bundled digits network as a `state_dict` of one's own."""
    sample = ec.load_sample("digits-mlp")
    folder.mkdir()
    state = {name: tensor.contiguous() for name, tensor in sample.model.state_dict().items()}
    save_file(state, folder / "model.safetensors")
    named = {key: sample.config[key] for key in ("architecture", "options", "classes")}
    (folder / "config.json").write_text(json.dumps(named))
    return folder


def class_folder(folder: Path) -> Path:
    with zipfile.ZipFile(io.BytesIO(digits_zip())) as packed:
        packed.extractall(folder)
    return folder


def test_a_state_dict_with_a_folder_of_pictures_is_checked_and_opened_by_path(tmp_path):
    app = give(open_page(), str(plain_model(tmp_path / "mine")), class_folder(tmp_path / "pictures"))
    assert not app.exception and not app.error and app.dataframe[0].value["covered"].sum() == 3
    assert list(app.dataframe[1].value["concept"]) == ["3", "7"]
    app.button(key="open_own").click().run()
    assert not app.exception and app.selectbox(key="model").value.startswith("mine-")
    app.pills(key="concepts").set_value(["7"]).run()
    assert not app.exception and "7 erased" in html(app)


def test_an_uploaded_zip_of_a_class_folder_is_checked_and_opened():
    app = open_page()
    app.text_input(key="_own_model").set_value("digits-mlp").run()
    app.file_uploader(key="_own_file").upload("digits.zip", digits_zip(), "application/zip").run()
    app.button(key="check").click().run()
    assert not app.exception and not app.error
    assert list(app.dataframe[1].value["concept"]) == ["3", "7"]
    app.button(key="open_own").click().run()
    app.pills(key="concepts").set_value(["7"]).run()
    assert not app.exception and "7 erased" in html(app)
    code = " ".join(block.value for block in app.code)
    assert "digits.zip" in code and "engram-upload" not in code


def test_the_page_names_the_architectures_and_a_config_that_works():
    said = " ".join(block.value for block in open_page().markdown)
    for name in architecture_names():
        assert f"`{name}`" in said
    shown = json.loads(said.split("```json")[1].split("```")[0])
    assert len(list(build(shown).parameters())) > 4 and len(shown["classes"]) == 3


# -- a name stands for content --------------------------------------------------------------------


def test_a_file_that_was_changed_and_checked_again_is_opened_as_it_is_now(tmp_path):
    path = texts(tmp_path, NAMES[:1])
    app = give(open_page(), "authors-lm", path)
    app.button(key="open_own").click().run()
    first = app.selectbox(key="model").value
    assert list(app.pills(key="concepts").options) == [NAMES[0]]
    texts(tmp_path, NAMES[1:])
    app = give(open_page(), "authors-lm", path)
    assert NAMES[1] in set(app.dataframe[1].value["concept"])
    app.button(key="open_own").click().run()
    assert list(app.pills(key="concepts").options) == [NAMES[1]]
    assert app.selectbox(key="model").value != first
    # And back: the same content has the same name.
    texts(tmp_path, NAMES[:1])
    assert ModelRequest.of("authors-lm", str(path)).name() == first


def changed(path: Path) -> None:
    """Change a file's time, as whoever writes to it does; its size stays."""
    found = path.stat()
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns + 10**9))


def test_a_name_stands_for_the_content_of_folders_too(tmp_path):
    place, images = plain_model(tmp_path / "mine"), class_folder(tmp_path / "pictures")
    wanted = ModelRequest.of(str(place), str(images))
    names = [wanted.name()]
    assert wanted.name() == names[0]
    changed(next(images.glob("7/*.png")))
    names.append(wanted.name())
    next(images.glob("3/*.png")).rename(images / "7" / "other.png")
    names.append(wanted.name())
    changed(place / "model.safetensors")
    names.append(wanted.name())
    (place / "config.json").write_text((place / "config.json").read_text() + " ")
    names.append(wanted.name())
    assert len(set(names)) == len(names)


def test_what_is_opened_is_what_was_checked_whatever_becomes_of_its_files(tmp_path):
    place, images = plain_model(tmp_path / "mine"), class_folder(tmp_path / "pictures")
    opened = ModelCheck(ModelRequest.of(str(place), str(images))).opened()
    before = {name: tensor.clone() for name, tensor in opened.sample.model.state_dict().items()}
    # In place, as a copy over it is: files that are only read are mapped into memory.
    file = place / "model.safetensors"
    size = file.stat().st_size
    with open(file, "r+b") as out:
        out.seek(size // 2)
        out.write(b"\xff" * (size - size // 2))
    base = opened.load_in_background().base()
    for name, tensor in base.sample.model.state_dict().items():
        assert tensor.equal(before[name]), name
    assert min(base.scores.values()) == 1.0


def test_what_changes_while_it_is_read_is_refused(tmp_path, monkeypatch):
    path, load = texts(tmp_path), ec.load_subject

    def slow(*args, **options):  # noqa: ANN002, ANN003, ANN202
        found = load(*args, **options)
        texts(tmp_path, NAMES[:1])
        return found

    monkeypatch.setattr(ec, "load_subject", slow)
    with pytest.raises(ec.errors.EngramError, match="changed while they were read"):
        ModelCheck(ModelRequest.of("authors-lm", str(path))).opened()


def test_a_server_refuses_what_is_not_what_it_was_started_with(tmp_path):
    wanted = ModelRequest.of("authors-lm", str(texts(tmp_path)), hidden=True)
    name = wanted.name()
    texts(tmp_path, NAMES[:1])
    with pytest.raises(ec.errors.EngramError, match="changed since") as caught:
        wanted.load_in_background(name).base()
    assert str(tmp_path) not in str(caught.value)


def test_a_public_screen_shows_no_path_of_an_own_model_that_cannot_be_opened(tmp_path):
    (tmp_path / "mine").mkdir()
    for place, concepts in [(tmp_path / "mine", texts(tmp_path)), ("digits-mlp", tmp_path / "gone.zip")]:
        wanted = ModelRequest.of(str(place), str(concepts), hidden=True)
        with pytest.raises(ec.errors.EngramError) as caught:
            wanted.load_in_background(wanted.name()).base()
        said = str(caught.value)
        assert str(tmp_path) not in said and ("mine" in said or "gone.zip" in said)


# -- reloads --------------------------------------------------------------------------------------


class Browser:
    """The storage of one tab: what a page gave it, a page in the same tab gets back after a reload."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kept: dict[str, str] = {}
        monkeypatch.setattr(kept, "exchange", self.exchange)

    def exchange(self, keep: dict[str, str], *, known: bool) -> dict[str, str]:
        if known:
            self.kept = dict(keep)
            return {}
        return dict(self.kept)


def test_a_reload_in_the_middle_of_a_check_finds_the_same_check(tmp_path, monkeypatch):
    browser, go_on, calls, load = Browser(monkeypatch), threading.Event(), [], ec.load_subject

    def slow(*args, **options):  # noqa: ANN002, ANN003, ANN202
        calls.append(args)
        assert go_on.wait(60)
        return load(*args, **options)

    monkeypatch.setattr(ec, "load_subject", slow)
    path = texts(tmp_path)
    # The first session is left before it has waited for the check, as by a reload.
    with monkeypatch.context() as patch:
        patch.setattr(model, "_found", lambda: None)
        page = give(open_page(), "authors-lm", path)
    assert browser.kept["path"] == str(path) and str(path) not in str(dict(page.query_params))
    begun = opened_models.model_checks().get(browser.kept["visitor"])
    assert begun is not None and begun.running
    threading.Timer(1.0, go_on.set).start()
    again = AppTest.from_file(str(MAIN), default_timeout=60)
    again.query_params["page"] = "model"
    again.run()
    assert not again.exception and not again.error and not again.warning
    assert again.text_input(key="_own_path").value == str(path)
    assert set(NAMES) <= set(again.dataframe[1].value["concept"]) and len(calls) == 1
    # Its visitor has the models that were opened on every page, also without a link to them.
    again.button(key="open_own").click().run()
    name = again.selectbox(key="model").value
    assert name in open_page(page="learn").selectbox(key="model").options
    # And nobody else sees any of it.
    browser.kept = {}
    assert name not in open_page(page="learn").selectbox(key="model").options
    assert not open_page().dataframe


@pytest.mark.parametrize("uploaded", [False, True])
def test_after_a_restart_of_the_server_what_was_typed_is_there_and_the_rest_is_said(
    tmp_path, monkeypatch, uploaded
):
    browser, page = Browser(monkeypatch), open_page()
    page.text_input(key="_own_model").set_value("digits-mlp").run()
    if uploaded:
        page.file_uploader(key="_own_file").upload("my<b>.zip", digits_zip(), "application/zip").run()
    else:
        page.text_input(key="_own_path").set_value(str(class_folder(tmp_path / "p"))).run()
    page.button(key="check").click().run()
    assert page.button(key="open_own")
    found = open_page()  # a reload finds it
    assert found.button(key="open_own") and not found.warning
    opened_models.model_checks.clear()  # as by a new process
    again = open_page()
    assert not again.exception and again.text_input(key="_own_model").value == "digits-mlp"
    said = again.warning[0].value
    if uploaded:
        assert "upload" in said and "my<b>.zip" in said
        return
    assert "Check it" in said and "upload" not in said
    again.button(key="check").click().run()
    assert not again.warning and again.button(key="open_own")
    assert browser.kept["last"] == kept.PATH


def test_what_was_typed_and_cleared_does_not_come_back(monkeypatch):
    browser, page = Browser(monkeypatch), open_page()
    page.text_input(key="_own_model").set_value("digits-mlp").run()
    page.text_input(key="_own_model").set_value("").run()
    page.run()
    assert page.text_input(key="_own_model").value == "" == browser.kept["model"]


# -- links to a model that is not here ------------------------------------------------------------


def test_a_link_to_an_own_model_that_is_gone_is_left_alone_and_comes_back_with_the_model(tmp_path):
    path = texts(tmp_path)
    app = give(open_page(), "authors-lm", path)
    app.button(key="open_own").click().run()
    name = app.selectbox(key="model").value
    app.pills(key="concepts").set_value([NAMES[1]]).run()
    app.slider(key="strength").set_value(1.5).run()
    link = dict(app.query_params)
    assert (link["model"], link["strength"], link["concepts"]) == (name, "1.5", NAMES[1])
    opened_models.opened_models.clear()  # as by a new process
    opened_models.model_checks.clear()

    lost = open_page(page="live", **link)
    assert f"no model “{name}”" in lost.info[0].value.replace("\\", "")
    assert lost.selectbox(key="model").value == "digits-mlp" and dict(lost.query_params) == link
    assert dict(lost.run().query_params) == link
    lost = open_page(page="start", **link)
    lost.button(key="door_model").click().run()
    assert dict(lost.query_params) == link and "no model" in lost.info[0].value
    give(lost, "authors-lm", path).button(key="open_own").click().run()
    assert not lost.exception and not lost.info
    assert lost.selectbox(key="model").value == name and dict(lost.query_params) == link
    assert f"{NAMES[1]} erased, strength 1.5" in html(lost)


def test_once_something_else_is_chosen_the_address_follows_again():
    app = open_page(page="live", model="mine-123456789abc", concepts="sky", strength="1.5")
    assert app.query_params["model"] == "mine-123456789abc" and app.query_params["concepts"] == "sky"
    app.pills(key="concepts").set_value(["7"]).run()
    assert "mine-123456789abc" not in str(dict(app.query_params)) and app.query_params["concepts"] == "7"
    assert not app.info
    other = open_page(page="live", model="mine-123456789abc", concepts="sky")
    other.selectbox(key="model").set_value("fashion-cnn").run()
    assert other.query_params["model"] == "fashion-cnn" and not other.info


# -- many visitors --------------------------------------------------------------------------------


def sample() -> BackgroundLoad:
    return BackgroundLoad.of_sample("digits-mlp")


def test_an_own_model_is_listed_to_whoever_opened_it_or_came_by_its_link(tmp_path):
    app = give(open_page(), "authors-lm", texts(tmp_path))
    app.button(key="open_own").click().run()
    name = app.selectbox(key="model").value
    stranger = open_page(page="start")
    assert name in app.selectbox(key="model").options
    assert name not in stranger.selectbox(key="model").options
    assert f"choose_{name}" not in {button.key for button in stranger.button}
    assert name in open_page(page="learn", model=name).selectbox(key="model").options


def test_a_full_server_lets_go_of_nothing_that_another_visitor_uses(tmp_path, monkeypatch):
    page = give(open_page(page="model"), "digits-mlp", class_folder(tmp_path / "p"))
    now = time.monotonic()
    monkeypatch.setattr(opened_models.opened_models(), "_clock", lambda: now)
    for number in range(opened_models.MOST_MODELS):
        opened_models.opened_models().put(f"other-{number}", lambda: sample, f"visitor {number}")
    page.button(key="open_own").click().run()
    assert not page.exception and "4 own models" in page.warning[0].value
    assert "30 min" in page.warning[0].value and page.selectbox(key="model").value == "digits-mlp"
    now += 29 * 60
    opened_models.opened_models().get("other-0", "visitor 0")
    now += 2 * 60
    page.button(key="open_own").click().run()
    assert not page.exception and page.selectbox(key="model").value.startswith("digits-mlp-")
    assert [name for name in opened_models.opened_models() if name.startswith("other")] == [
        "other-0",
        "other-2",
        "other-3",
    ]


def test_start_names_the_sample_that_is_not_installed(monkeypatch):
    config = {
        "title": "A title",
        "summary": "A sentence.",
        "weights": {"command": "pip install some-weights"},
    }
    monkeypatch.setattr(about, "missing_samples", lambda: {"not-here": config})
    app = open_page(page="start")
    assert "(not-here), not installed" in " ".join(block.value for block in app.markdown)
    assert [block.value for block in app.code if "pip" in block.value] == ["pip install some-weights"]
    for key, value in environment(ServerOptions(demo=True)).items():
        monkeypatch.setenv(key, value)
    shown = open_page(page="start")
    assert not any("pip" in block.value for block in shown.code)
