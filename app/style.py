"""The few style rules that Streamlit's theme does not cover; they work on light and dark alike."""

from __future__ import annotations

from pathlib import Path

from .figures.palette import BASE, EDITED, LOSS

__all__ = ["CSS"]

_COLOURS = f".stApp {{ --ee-base: {BASE}; --ee-edited: {EDITED}; --ee-loss: {LOSS}; }}"

CSS = f"<style>{_COLOURS}\n{Path(__file__).with_name('style.css').read_text(encoding='utf-8')}</style>"
