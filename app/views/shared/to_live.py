"""From any page to Live, with an edit."""

from __future__ import annotations

from typing import Any, NoReturn

from ...choice.choice import ALPHA, KEEP, Choice
from ...session import arrival

__all__ = ["edit_values", "send_to_live"]


def edit_values(choice: Choice) -> dict[str, Any]:
    """Return the widgets' values of an edit, as an address holds them."""
    values: dict[str, Any] = {
        "mode": choice.mode, "concepts": list(choice.concepts), "null": choice.null,
        "keep_strength" if choice.mode == KEEP else "strength": choice.strength,
        "own": bool(choice.single_strengths), "scaling": choice.scaling,
        "power": f"{choice.power:g}", "clip": choice.clip,
        "layers": [] if choice.everywhere else list(choice.layers),
    }  # fmt: skip
    return values | {ALPHA + name: value for name, value in choice.single_strengths}


def send_to_live(choice: Choice, **inputs: Any) -> NoReturn:
    """Open Live with an edit in force and an input chosen; ends the run.

    Args:
        choice: the edit.
        inputs: what is shown, by key: class and image, or prompt.
    """
    arrival.go("live", model=choice.sample, **edit_values(choice), **inputs)
    raise AssertionError("the run ended above")
