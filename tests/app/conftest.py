"""Pages in tests draw nothing, so nothing has to wait for the drawing; and two seeds make a control."""

from __future__ import annotations

import pytest

from app.adapter import scoring
from app.views import live


@pytest.fixture(autouse=True, scope="session")
def _quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live, "_BREATH", 0.0)
        patch.setattr(scoring, "CONTROL_SEEDS", 2)
        yield
