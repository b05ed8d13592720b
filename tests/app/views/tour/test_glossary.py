"""Every term that a page uses is in the glossary, once."""

from __future__ import annotations

from app.views.tour.glossary import GLOSSARY


def test_words_are_explained_once():
    words = {word for word, _ in GLOSSARY}
    assert len(words) == len(GLOSSARY)
    assert {"Primal form", "Dual form", "q, k, v, o, gate, up, down"} <= words
