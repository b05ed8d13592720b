"""Pages in tests draw nothing, so nothing has to wait for the drawing; and two seeds make a control."""

from __future__ import annotations

import re
import string

import pytest
from streamlit.testing.v1 import element_tree

from app.adapter import scoring
from app.views import live

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
