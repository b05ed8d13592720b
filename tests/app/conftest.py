"""What makes pages quick in tests: nothing waits for the drawing, two seeds make a control, few processes."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import element_tree

from app.compute import scores as scoring
from app.server import examined as trial
from app.views.live import page as live
from engram_core.opening.examine import examine

_ESCAPED = re.compile(rf"\\([{re.escape(string.punctuation)}])")


def _seen(markdown: str) -> str:
    """Return Markdown with the escapes that nobody sees taken out, as every browser does."""
    return _ESCAPED.sub(r"\1", markdown).replace("\u2060", "")


@pytest.fixture(autouse=True, scope="session")
def _quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live, "_BREATH", 0.0)
        patch.setattr(scoring, "CONTROL_SEEDS", 2)
        yield


# For one test each, and not for the session: the tests in other folders mean the real one.
@pytest.fixture(autouse=True)
def _tried_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try visitors' models without a process of their own: its start takes seconds (tests/attacks has it)."""

    def run(function: str, arguments: dict[str, Any], *, doing: Callable[[str], None], **_: object) -> Any:
        assert function == "engram_core.opening.examine:examine"
        return json.loads(json.dumps(examine(**arguments, report=doing)))

    monkeypatch.setattr(trial, "run_limited", run)


@pytest.fixture(autouse=True, scope="session")
def _texts_as_they_are_read():
    """Let texts and labels of a page be read as a visitor reads them; test_as_text.py tests the escapes."""
    value = property(lambda element: _seen(element.proto.body))
    label = property(lambda element: _seen(element.proto.label), lambda element, text: None)
    with pytest.MonkeyPatch.context() as patch:
        for kind in (element_tree.Markdown, element_tree.AlertBase):
            patch.setattr(kind, "value", value)
        for kind in (element_tree.Button, element_tree.DownloadButton, element_tree.Expander):
            patch.setattr(kind, "label", label, raising=False)
        yield
