"""Session files: what is saved opens as the same view, and whatever else is opened changes nothing."""

from __future__ import annotations

import json
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from app.choice.address import KINDS, SessionFileError, from_file, to_file, to_query, values_of
from app.launch import MAIN
from app.session import arrival
from app.views.registry import REGISTRY

PAGES = tuple(entry.path for entry in REGISTRY)
RIGHT = {"kind": "engram-explorer session", "version": 1, "page": "live", "address": {"concepts": ["7"]}}


def packed(**other) -> bytes:  # noqa: ANN003
    return json.dumps(RIGHT | other).encode()


def open_app(page: str = "live", **params) -> AppTest:  # noqa: ANN003
    app = AppTest.from_file(str(MAIN), default_timeout=600)
    for key, value in ({"page": page, "model": "digits-mlp"} | params).items():
        app.query_params[key] = value
    app.run()
    assert not app.exception
    return app


def opened(app: AppTest, data: bytes) -> AppTest:
    """Do what the page does with an uploaded file; AppTest cannot upload one itself."""
    page, address = from_file(data, PAGES)
    app.session_state["_pending"], app.session_state["_opened_address"] = (page, {}), address
    return app.run()


def saved(app: AppTest, page: str) -> bytes:
    return to_file(page, {k: v if isinstance(v, list) else [v] for k, v in app.query_params.items()}).encode()


def view(app: AppTest) -> tuple[list[str], list[str]]:
    html = [block.proto.body for block in app.get("html") if "<style" not in block.proto.body]
    return html, [chart.proto.spec for chart in app.get("plotly_chart")]


def test_a_saved_session_opens_as_the_same_view_over_any_other():
    edit = {
        "concepts": ["3", "7"],
        "own": "true",
        "alpha.3": "0.5",
        "class": "3",
        "image": "4",
        "clip": "true",
    }
    first = open_app(**edit)
    data = saved(first, "live")
    other = open_app(
        "criteria", concepts="1", strength="2", layers="fc2", mode="Keep only", criterion="Sufficiency",
        scaling="adaptive", power="3", present="true", **{"class": "9"},
    )  # fmt: skip
    again = opened(other, data)
    assert not again.exception and not again.info
    assert view(again) == view(first)
    assert dict(again.query_params) == dict(first.query_params)


def test_what_a_file_does_not_name_is_as_on_the_first_day():
    plain = saved(open_app("criteria"), "criteria")
    busy = open_app("criteria", concepts="1", criterion="Sufficiency", state="in place", edited="4", at="fc2")
    app = opened(busy, plain)
    assert not app.exception
    assert app.segmented_control(key="criterion").value == "Necessity"
    assert app.selectbox(key="edited").value == "0" and app.session_state["concepts"] == []


def test_a_file_that_names_what_is_not_here_says_so_and_keeps_the_rest():
    address = {"model": ["digits-mlp"], "concepts": ["7", "Trouser"], "strength": ["99"], "mode": ["x"]}
    app = opened(open_app(), packed(address=address))
    assert not app.exception and app.session_state["concepts"] == ["7"]
    said = app.info[0].value
    assert "Trouser" in said and "99" in said and "mode" in said
    lost = opened(open_app(), packed(address={"model": ["gone-123"], "concepts": ["7"]}))
    assert not lost.exception and "gone-123" in lost.info[0].value and lost.session_state["concepts"] == ["7"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"a":' * 15_000, "not JSON"),
        (b"9" * 5000, "not JSON"),
        (b"null", "not a session"),
        (b'"engram-explorer session"', "not a session"),
        (packed(kind=["engram-explorer session"]), "not a session"),
        (packed(version=2), "version 2"),
        (packed(version="1"), "version '1'"),
        (packed(version=True), "version True"),
        (packed(version=None), "version None"),
        (packed(version="x" * 50_000), "version 'xxx"),
        (packed(page="admin"), "'admin'"),
        (packed(page=["live"]), "live"),
        (packed(page={}), "page"),
        (packed(page=None), "None"),
        (packed(page="x" * 50_000), "xxx"),
        (packed(address=[]), "address"),
        (packed(address={"concepts": "7"}), "address"),
        (packed(address={"concepts": [7]}), "address"),
        (packed(address={"concepts": [["7"]]}), "address"),
        (packed(address=None), "address"),
        (packed(filler="x" * 2_000_000), "bytes"),
    ],
)
def test_what_is_no_session_is_refused_in_a_short_sentence(data, said):
    with pytest.raises(SessionFileError, match=said) as caught:
        from_file(data, PAGES)
    assert "Nothing was changed" in str(caught.value) and len(str(caught.value)) < 300


@given(st.binary(max_size=400))
def test_no_bytes_end_in_anything_but_a_session_or_a_sentence(data):
    try:
        from_file(data, PAGES)
    except SessionFileError as error:
        assert str(error)


@given(
    st.dictionaries(
        st.sampled_from([*KINDS, "alpha.7", "alpha.\ud800", "other"]),
        st.lists(
            st.one_of(st.text(st.characters(exclude_categories=())), st.integers().map(str)), max_size=3
        ),
    )
)
def test_whatever_texts_a_file_holds_can_stand_in_an_address(address):
    page, texts = from_file(packed(address=address), PAGES)
    values = values_of(texts)
    again = values_of(parse_qs(to_query(values), keep_blank_values=True))
    assert page == "live" and "other" not in values
    for key, value in values.items():
        if isinstance(value, str):
            value.encode()
        if isinstance(value, float):
            assert again[key] == pytest.approx(value, rel=1e-5)
        elif value not in ("", []):
            assert again[key] == value


def test_numbers_that_no_widget_holds_are_left_out():
    endless = "1" + "0" * 400
    assert values_of({"image": [endless], "strength": [endless, "1e308"], "seed": ["9" * 5000]}) == {}


def test_back_and_forward_bring_the_whole_choice(monkeypatch):
    app = open_app(**{"class": "3"})
    plain = dict(app.query_params)
    app.pills(key="concepts").set_value(["7"]).run()
    app.segmented_control(key="mode").set_value("Keep only").run()
    kept, edited = view(app), dict(app.query_params)

    def go_to(address: dict) -> None:
        app.query_params.clear()
        app.query_params.update(address)
        with monkeypatch.context() as patch:
            patch.setattr(arrival, "_by_history", lambda: True)
            app.run()

    go_to(plain)
    assert not app.exception and app.session_state["concepts"] == []
    assert app.session_state["mode"] == "Switch off" and app.session_state["class"] == "3"
    go_to(edited)
    assert not app.exception and view(app) == kept


def test_a_click_with_an_address_that_is_behind_loses_nothing():
    app = open_app(**{"class": "3"})
    before = dict(app.query_params)
    app.pills(key="concepts").set_value(["7"]).run()
    app.query_params.clear()
    app.query_params.update(before)  # the browser had not heard of the newest address yet
    app.toggle(key="present").set_value(True).run()
    assert not app.exception and app.session_state["concepts"] == ["7"]
    assert dict(app.query_params)["concepts"] in ("7", ["7"])
