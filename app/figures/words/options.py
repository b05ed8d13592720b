"""What an option of an address is called on the screen.

Addresses and session files hold an option by the text that it had when it was first written; they go on
working. Where the screen has a better word since, it stands here.
"""

from __future__ import annotations

from .as_text import Markdown

__all__ = ["SHOWN", "option_word"]

SHOWN: dict[str, Markdown] = {
    # The edit.
    "Switch off": "Erase",
    "Keep only": "Isolate",
    "from nothing": "from zero weights",
    "in place": "subtract the others",
    # Strength.
    "chosen under Edit": "of the current edit",
    "1 clipped": "1, capped at 1×",
    "1.5 clipped": "1.5, capped at 1×",
    "2 clipped": "2, capped at 1×",
    "3 clipped": "3, capped at 1×",
    "4 clipped": "4, capped at 1×",
    # Layers.
    "Directions": "Spectrum",
    "Leak": "Leakage bound",
    "Coverage": "Covered layers",
    # What is measured in a language model.
    "Questions, before and after": "Questions, base and edited",
    "Where it answers": "Response per layer and token",
    "Where the engram is": "Engram size per layer",
    "Everything else": "Side effects",
}
"""The words of the screen, by the value in the address; a value without one is shown as it is."""


def option_word(value: Markdown) -> Markdown:
    """Return what an option of the source, which stands in the address, is called on the screen."""
    return SHOWN[value] if value in SHOWN else value
