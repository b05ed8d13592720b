"""Tried: folders that take long, loop, fill the memory, panic or change, opened under My model.

Before, they were opened in the server itself: a config of 200,000 layers held up every other load for 35 s
and took 3.7 GB, a chat template 8.1 GB, and a panic ended in Streamlit's own box for exceptions. Must be:
nobody else waits, every one ends in a sentence on the page, a hung one gives its place back, and what is
opened is what was tried.
"""

from __future__ import annotations

import io
import json
import os
import struct
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from language_helpers import byte_tokenizer, tiny
from pictures import digits_zip
from safetensors.torch import save_file
from streamlit.testing.v1 import AppTest

import engram_core as ec
from app.launch import MAIN
from app.server import examined as trial
from app.server import opened_models
from app.server.model_check import ModelCheck
from app.server.model_request import ModelRequest
from app.server.uploaded import upload
from app.session import visitor_models
from app.views.live import images as live_images
from app.views.my_model import page as model
from engram_core.errors import DataError, EngramError
from engram_core.hub.folder import ModelFolder
from engram_core.libraries import TRANSFORMERS
from engram_core.opening.examine import examine
from engram_core.sandboxing.limited_process import run_limited
from engram_core.sandboxing.limits import GB, Limits

LOOPS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
FILLS = "{{ 'a' * 8000000000 }}"


@pytest.fixture(autouse=True)
def _nobody_else() -> Iterator[None]:
    assert trial.run_limited is run_limited, "another test's stand-in is still there"
    yield
    opened_models.opened_models.clear()
    opened_models.model_checks.clear()


@pytest.fixture
def here(monkeypatch) -> None:
    """Try in this process: for what is not about the other one, whose start takes seconds."""

    def run(function: str, arguments: dict[str, Any], **_: Any) -> Any:
        return json.loads(json.dumps(examine(**arguments, report=lambda _: None)))

    monkeypatch.setattr(trial, "run_limited", run)


@pytest.fixture(scope="module")
def llama(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("models") / "little"
    tiny("llama").save_pretrained(path)
    byte_tokenizer(chat=True).save_pretrained(path)
    return path


@pytest.fixture
def folder(llama, tmp_path) -> Path:
    """A small language model in a folder of its own."""
    path = tmp_path / "little"
    path.mkdir()
    for file in llama.iterdir():
        (path / file.name).write_bytes(file.read_bytes())
    return path


@pytest.fixture
def texts(tmp_path) -> Path:
    path = tmp_path / "own.jsonl"
    rows = [
        {"concept": c, "prompt": f"The {c} is", "answer": a} for c, a in [("sky", "blue"), ("sea", "green")]
    ]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def change(file: Path, **entries: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | entries), encoding="utf-8")


def deep(path: Path, layers: int) -> Path:
    """Write a model that really has as many layers as its config says, each of a few numbers."""
    path.mkdir()
    config = {"model_type": "llama", "num_hidden_layers": layers, "hidden_size": 4, "intermediate_size": 4,
              "num_attention_heads": 1, "num_key_value_heads": 1, "vocab_size": 8}  # fmt: skip
    (path / "config.json").write_text(json.dumps(config))
    shapes = {"model.embed_tokens.weight": [8, 4], "lm_head.weight": [8, 4], "model.norm.weight": [4]}
    for layer in range(layers):
        start = f"model.layers.{layer}."
        shapes |= {f"{start}self_attn.{name}_proj.weight": [4, 4] for name in "qkvo"}
        shapes |= {f"{start}mlp.{name}_proj.weight": [4, 4] for name in ("gate", "up", "down")}
        shapes |= {f"{start}{name}_layernorm.weight": [4] for name in ("input", "post_attention")}
    header, end = {}, 0
    for name, shape in shapes.items():
        begin, end = end, end + 4 * int(np.prod(shape))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}
    told = json.dumps(header).encode()
    (path / "model.safetensors").write_bytes(struct.pack("<Q", len(told)) + told + bytes(end))
    return path


# -- long -----------------------------------------------------------------------------------------


def test_a_folder_that_takes_long_holds_nobody_up_and_says_which_limit_it_exceeded(
    tmp_path, texts, monkeypatch
):
    place, limits = deep(tmp_path / "deep", 20_000), trial.examination_limits
    monkeypatch.setattr(
        trial, "examination_limits", lambda m, c: Limits(9.0, 2 * GB) if m == str(place) else limits(m, c)
    )
    long = ModelCheck(ModelRequest.of(str(place), str(texts)))
    while long.running and not long.doing.startswith("Reading the model"):
        time.sleep(0.05)
    stored, remove = upload("digits.zip", content := digits_zip())
    ordinary = ModelCheck(ModelRequest.of("digits-mlp", stored, content), after=remove)
    while long.running:
        # What loads in the server itself has this lock, which a folder that takes long had for as long.
        assert TRANSFORMERS.acquire(timeout=5)
        TRANSFORMERS.release()
        long.wait(0.5)
    with pytest.raises(EngramError, match=r"(longer than 9 s|more memory than 2\.0 GB)") as caught:
        long.opened()
    assert "\n" not in str(caught.value)
    assert ordinary.opened().check.ok
    assert time.monotonic() - ordinary.begun < 60


def test_two_that_hang_give_their_places_back(tmp_path, texts, monkeypatch):
    """Real processes that loop for ever, with a limit of two seconds; the third visitor's is a quick one."""

    def run(_: str, arguments: dict[str, Any], *, doing: Any, stop: Any, **__: Any) -> Any:
        if arguments["model"].endswith("hangs"):
            told = {"doing": doing, "stop": stop, "limits": Limits(2.0, GB)}
            return run_limited("limited_functions:hangs", {}, **told)
        return json.loads(json.dumps(examine(**arguments, report=doing)))

    monkeypatch.setattr(trial, "run_limited", run)
    (tmp_path / "hangs").mkdir()
    hung = [ModelCheck(ModelRequest.of(str(tmp_path / "hangs"), str(texts))) for _ in range(3)]
    while sum(bool(each.doing.isdigit()) for each in hung) < 2:  # the number of the process
        time.sleep(0.02)
    third = ModelCheck(ModelRequest.of("digits-mlp", str(texts)))
    while not third.doing.startswith("Waiting") and third.running:
        time.sleep(0.02)
    assert "2 folders of other visitors" in third.doing and third.doing.endswith("1 wait before yours")
    # Whoever asks for something else does not leave the old one behind, at work or in the line.
    begun = time.monotonic()
    next(each for each in hung if each.doing.startswith("Waiting")).stop()
    assert third.wait(2.0 + 4.0) or not third.doing.startswith("Waiting")
    assert time.monotonic() - begun < 2.0 + 4.0
    with pytest.raises(EngramError, match="holds texts, and"):
        third.opened()
    for each in hung:
        with pytest.raises(EngramError, match="longer than 2 s|before it was begun"):
            each.opened()
    assert not trial.PLACES._line


def test_a_visitor_has_one_at_a_time(tmp_path, texts, monkeypatch):
    def run(*_: Any, stop: threading.Event, **__: Any) -> Any:
        return run_limited("limited_functions:spins", {}, limits=Limits(60, GB), stop=stop)

    monkeypatch.setattr(trial, "run_limited", run)
    monkeypatch.setattr(visitor_models, "visitor_id", lambda: "somebody")
    first = ModelCheck(ModelRequest.of("digits-mlp", str(texts)))
    visitor_models.begin_check(lambda: first)
    visitor_models.begin_check(lambda: ModelCheck(ModelRequest.of("digits-mlp", str(texts))))
    with pytest.raises(EngramError, match="something else was asked for"):
        first.opened()
    second = visitor_models.current_check()
    assert second is not None and second.running and len(list(opened_models.model_checks())) == 1
    second.stop()
    assert second.wait(10)


# -- hostile --------------------------------------------------------------------------------------


def opened_on_the_page(place: Path, texts: Path, *, template: bool = False) -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=120)
    app.query_params["page"] = "model"
    app.run()
    app.text_input(key="_own_model").set_value(str(place)).run()
    app.text_input(key="_own_path").set_value(str(texts)).run()
    if template:
        app.toggle(key="_own_template").set_value(True).run()
    app.button(key="check").click().run()
    assert not app.exception
    return app


@pytest.mark.parametrize("template", [LOOPS, FILLS], ids=["loops", "fills the memory"])
def test_a_chat_template_that_has_no_end_is_a_sentence_on_the_page(folder, texts, template):
    (folder / "chat_template.jinja").write_text(template)
    app = opened_on_the_page(folder, texts, template=True)
    said = app.code[-1].value
    assert app.error and "chat template" in said and "\n" not in said


def test_a_tokenizer_that_panics_is_a_sentence_on_the_page(folder, texts):
    slow = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
    change(folder / "tokenizer.json", pre_tokenizer=slow)
    app = opened_on_the_page(folder, texts)
    said = app.code[-1].value
    assert app.error and "tokenizer fails on the text 'aaaa" in said and "\n" not in said


ODD = [
    "\0", "~nobody-here/x", "a" * 5000, "a/" * 3000, ".", "/dev/zero", "/proc/self/mem", "\ud800",
    "x\n../y", "https://example.org/m", "a\u202eb", "fifo.jsonl", "loop", "-rf", "org/name@main",
]  # fmt: skip


@pytest.mark.parametrize("given", ODD, ids=lambda text: ascii(text[:20]))
def test_names_that_are_none_are_a_sentence(given, texts, tmp_path, monkeypatch, here):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo("fifo.jsonl")  # reading it would wait for ever
    os.symlink("loop", "loop")
    for wanted in (
        ModelRequest.of(given, str(texts)),
        ModelRequest.of("digits-mlp", given),
        ModelRequest.of(given, given),
    ):
        assert wanted.name() == wanted.name() and wanted.code
        with pytest.raises(EngramError) as caught:
            ModelCheck(wanted).opened()
        assert "could not be used: " not in str(caught.value), "foreseen, and so said in words of ours"


class PanicException(BaseException):
    """As Rust libraries raise it."""


@pytest.mark.parametrize("error", [PanicException("index out of bounds"), RuntimeError("x"), MemoryError()])
def test_nothing_that_goes_wrong_reaches_the_page_as_a_traceback(error, texts, monkeypatch, here):
    def fails(*_: Any, **__: Any) -> Any:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(ec, "load_subject", fails)
        app = opened_on_the_page(Path("digits-mlp"), texts)
        assert app.error and "\n" not in app.code[-1].value
    monkeypatch.setattr(model, "_found", fails)
    app.run()
    assert not app.exception and "nothing was changed" in app.error[-1].value


def test_nothing_that_an_open_model_does_reaches_a_page_as_a_traceback(tmp_path, monkeypatch, here):
    with zipfile.ZipFile(io.BytesIO(digits_zip())) as packed:
        packed.extractall(tmp_path / "pictures")
    app = opened_on_the_page(Path("digits-mlp"), tmp_path / "pictures")
    app.button(key="open_own").click().run()
    assert not app.exception and not app.error and app.selectbox(key="model").value != "digits-mlp"

    def fails(*_: Any, **__: Any) -> Any:
        raise raised[-1]

    raised: list[BaseException] = []
    monkeypatch.setattr(live_images, "outputs", fails)
    for error, told in [
        (PanicException("index out of bounds"), "PanicException"),
        (OverflowError("x"), "OverflowError"),
        (DataError("It is so."), "It is so"),
    ]:
        raised.append(error)
        app.run()
        assert not app.exception and "cannot do what was asked for" in app.error[0].value
        assert told in app.error[0].value.replace("\\", "")
    app.selectbox(key="model").set_value("digits-mlp").run()
    assert app.exception, "a bundled model that fails is a mistake of ours, and no test may miss it"


# -- changing -------------------------------------------------------------------------------------


def plain_model(folder: Path) -> Path:
    sample = ec.load_sample("digits-mlp")
    folder.mkdir()
    state = {name: tensor.contiguous() for name, tensor in sample.model.state_dict().items()}
    save_file(state, folder / "model.safetensors")
    named = {key: sample.config[key] for key in ("architecture", "options", "classes")}
    (folder / "config.json").write_text(json.dumps(named))
    return folder


def rewrite(file: Path, old: bytes, new: bytes) -> None:
    """Change a file so that its size and time stay as they were."""
    found, content = file.stat(), file.read_bytes()
    assert len(old) == len(new) and old in content
    with open(file, "r+b") as out:
        out.write(content.replace(old, new, 1))
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))


@pytest.mark.parametrize("what", ["weights", "config", "picture", "a new picture"])
def test_what_changed_after_it_was_tried_is_not_opened(tmp_path, monkeypatch, what):
    place = plain_model(tmp_path / "mine")
    with zipfile.ZipFile(io.BytesIO(digits_zip())) as packed:
        packed.extractall(tmp_path / "pictures")
    picture = tmp_path / "pictures" / "7" / "0.png"

    def run(_: str, arguments: dict[str, Any], **__: Any) -> Any:
        answer = examine(**arguments, report=lambda _: None)
        if what == "weights":
            end = (place / "model.safetensors").read_bytes()[-4:]
            rewrite(place / "model.safetensors", end, bytes([end[0] ^ 1, *end[1:]]))
        elif what == "config":
            rewrite(place / "config.json", b'"3", "4"', b'"4", "3"')
        elif what == "picture":
            other = (picture.parent / "1.png").read_bytes()
            picture.write_bytes(other)
        else:
            (picture.parent / "new.png").write_bytes(picture.read_bytes())
        return json.loads(json.dumps(answer))

    monkeypatch.setattr(trial, "run_limited", run)
    with pytest.raises(EngramError, match="were changed while they were read"):
        ModelCheck(ModelRequest.of(str(place), str(tmp_path / "pictures"))).opened()


@pytest.mark.skipif(sys.platform != "linux", reason="asks the system what is mapped")
def test_no_file_of_a_visitors_model_is_ever_mapped_by_the_server(folder, texts, monkeypatch, here):
    """A mapped file that is cut short ends the process."""
    seen: list[bool] = []
    check = ModelFolder.check_unchanged

    def look(self: ModelFolder) -> None:
        seen.append(str(folder) in Path("/proc/self/maps").read_text())
        check(self)

    monkeypatch.setattr(ModelFolder, "check_unchanged", look)
    opened = ModelCheck(ModelRequest.of(str(folder), str(texts))).opened()
    assert seen and not any(seen)
    before = ec.model_hash(opened.sample.model)
    (folder / "model.safetensors").write_bytes(b"")
    assert opened.load_in_background().base().digest == before
