"""The bar of long work: it can be stopped in the middle, says so, and goes on from there."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from app.page import progress


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(progress, "_SHOWN_AFTER", 0.0)


def page():
    """Work in five portions that remembers what is done; the visitor presses Stop while the third is made."""
    import streamlit as st
    from streamlit.proto.WidgetStates_pb2 import WidgetState, WidgetStates
    from streamlit.runtime.scriptrunner import get_script_run_ctx
    from streamlit.runtime.scriptrunner_utils.script_requests import RerunData

    from app.page import progress
    from engram_core.progress import Step

    done = st.session_state.setdefault("_done", [])

    def press(key: str) -> None:
        context = get_script_run_ctx()
        place = context.session_state._state._key_id_mapper.get_id_from_key(key)
        click = WidgetStates(widgets=[WidgetState(id=place, trigger_value=True)])
        context.script_requests.request_rerun(RerunData(widget_states=click))

    def steps():
        for number in range(5):
            yield Step(number, 5, f"portion {number}")
            if number in done:
                continue
            if number == 2 and st.session_state.get("_press", True):
                st.session_state["_press"] = False
                press("stop_page.<locals>.steps")
            else:
                done.append(number)
        return sum(done)

    st.text_input("Prompt", key="prompt")
    st.write("above")
    try:
        st.write(f"sum {progress.run(steps())}")
    except progress.Stopped:
        st.write("not drawn")
    st.write("below")


def texts(app: AppTest) -> list[str]:
    return [text.value for text in (*app.markdown, *app.caption)]


def test_work_is_stopped_in_the_middle_and_goes_on_from_there():
    app = AppTest.from_function(page, default_timeout=60).run()
    assert not app.exception and app.session_state["_done"] == [0, 1]
    assert {"above", "not drawn", "below"} < set(texts(app)) and "Stopped at 40 %" in texts(app)[-1]
    app.run()  # what does not change the work leaves it as it is
    assert "not drawn" in texts(app) and app.session_state["_done"] == [0, 1]
    app.button(key="go_on_page.<locals>.steps").click().run()
    assert not app.exception and app.session_state["_done"] == [0, 1, 2, 3, 4]
    assert "sum 10" in texts(app) and not app.button and len(app.caption) == 0


def test_any_change_begins_again():
    app = AppTest.from_function(page, default_timeout=60).run()
    assert "not drawn" in texts(app)
    app.text_input(key="prompt").set_value("another").run()
    assert not app.exception and "sum 10" in texts(app)
    app.text_input(key="prompt").set_value("").run()  # and what was stopped once is not stopped for ever
    assert "sum 10" in texts(app)


def test_what_is_known_is_drawn_without_a_bar():
    app = AppTest.from_string(
        "import streamlit as st\nfrom app.page import progress\n"
        "def steps():\n    yield from ()\n    return 'known'\n"
        "st.write(progress.run(steps()))\n",
        default_timeout=60,
    ).run()
    assert not app.exception and texts(app) == ["known"] and not app.button


def test_the_rest_is_told_from_what_was_done_since_it_was_first_seen(monkeypatch):
    from types import SimpleNamespace

    clock = iter((100.0, 101.0, 110.0, 119.0))
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(progress.st, "session_state", {})
    bar, said = progress.Bar("a test", of="it"), []
    monkeypatch.setattr(bar, "_place", SimpleNamespace(progress=lambda share, text: said.append(text)))
    monkeypatch.setattr(bar, "_button", SimpleNamespace(button=lambda *given, **options: None))
    # Half of it was remembered from before, and is no measure of how fast the rest goes.
    for share in (0.5, 0.52, 0.6, 0.9):
        bar.advance(share, text="Working")
    assert [text.replace("\\", "") for text in said] == [
        "Working", "Working", "Working · about 40 s left", "Working · a few seconds left",
    ]  # fmt: skip
