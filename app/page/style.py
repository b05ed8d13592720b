"""The few style rules that Streamlit's theme does not cover; they work on light and dark alike."""

from __future__ import annotations

from pathlib import Path

from ..figures.charts.palette import BASE, EDITED, GAIN, LOSS

__all__ = ["CSS", "PANELS", "PRESENTER"]

_NAMED = {"base": BASE, "edited": EDITED, "gain": GAIN, "loss": LOSS}
_COLOURS = " ".join(f"--ee-{name}: {colour};" for name, colour in _NAMED.items())


def _rules(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


CSS = f"<style>.stApp {{ {_COLOURS} }}\n{_rules('panels.css')}\n{_rules('style.css')}</style>"
PANELS = f":root {{ {_COLOURS} }}\n{_rules('panels.css')}"
"""What panels need outside the app, in a file."""
PRESENTER = f"<style>{_rules('presenter.css')}</style>"
"""Large type for a projector; goes on top of `CSS`."""
