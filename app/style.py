"""The few style rules that Streamlit's theme does not cover; they work on light and dark alike."""

from __future__ import annotations

from pathlib import Path

from .figures.palette import BASE, EDITED, GAIN, LOSS

__all__ = ["CSS", "PRESENTER"]

_COLOURS = f".stApp {{ --ee-base: {BASE}; --ee-edited: {EDITED}; --ee-gain: {GAIN}; --ee-loss: {LOSS}; }}"


def _rules(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


CSS = f"<style>{_COLOURS}\n{_rules('style.css')}</style>"
PRESENTER = f"<style>{_rules('presenter.css')}</style>"
"""Large type for a projector; goes on top of `CSS`."""
