"""What is on: the last line of the panel at the top of Live, and the proof further down."""

from __future__ import annotations

from typing import Any

import streamlit as st

from ...choice.choice import Choice
from ...compute.edited_view import Proof
from ...figures.words.as_text import filled, plain
from ...figures.words.live import HOW, describe_edit
from ...page import headings
from ...server.base import Base

__all__ = ["draw", "status"]

_EMPTY = "The same, so far. Choose a concept to erase below, and the edited model answers here."


def status(base: Base, choice: Choice, proof: Proof) -> dict[str, Any]:
    """Return what a panel says about the edit: what is on, its size, which model, and what to do next."""
    layers = f"{len(proof.per_layer)} layer{'s' if len(proof.per_layer) > 1 else ''}"
    size = f"size of the edit ‖ΔW‖/‖W‖ = {proof.relative:.2f} in {layers} · " if proof.on else ""
    return {
        "status": describe_edit(choice),
        "on": proof.on,
        "facts": f"{size}base {base.facts.name}, SHA-256 {proof.digest[:8]}",
        "hint": None if choice.concepts else _EMPTY,
    }


def draw(base: Base, choice: Choice, proof: Proof) -> None:
    """Draw what was changed, that the base was not, and which layers hold no memory."""
    headings.heading("Edit details", HOW["proof"])
    each = ", ".join(f"{name} {value:.2f}" for name, value in list(proof.per_layer.items())[:8])
    more = ", …" if len(proof.per_layer) > 8 else ""
    changed = (
        f"{describe_edit(choice)}. {len(proof.per_layer)} of {len(base.facts.layers)} layers changed, "
        f"‖ΔW‖/‖W‖ = {proof.relative:.3f} ({each}{more})."
        if proof.on
        else f"{describe_edit(choice)}. No layer is changed: the edited model is the base, bit for bit."
    )
    state = "unchanged" if proof.intact else "CHANGED"
    st.markdown(
        filled(
            "{} Base **{}**, SHA-256 `{}`, {}: the base is never written.",
            changed, base.facts.name, proof.digest[:12], state,
        )
    )  # fmt: skip
    st.caption(plain(f"Layers without memories: {_skipped(base) or 'none'}."))


def _skipped(base: Base) -> str:
    """Say which layers hold no memory, reason by reason: a deep model has dozens with the same one."""
    reasons: dict[str, list[str]] = {}
    for name, reason in base.skipped:
        reasons.setdefault(reason, []).append(name or "model")
    return "; ".join(
        f"{', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''} ({reason})"
        for reason, names in reasons.items()
    ) + (" – all under Layers, Covered layers" if any(len(names) > 3 for names in reasons.values()) else "")
