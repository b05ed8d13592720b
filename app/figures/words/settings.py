"""A setting of the search for the strength in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["setting_in_words"]


def setting_in_words(setting: Mapping[str, Any]) -> str:
    """Return a setting (group, scaling, power, clip, strength) as a phrase, as the core says it."""
    sharp = f"selectivity {setting['power']:g}{' capped at 1×' if setting['clip'] else ''}"
    where = "every covered layer" if setting["group"] == "all" else f"layers “{setting['group']}”"
    return f"strength {setting['strength']:g}, {setting['scaling']} scaling, {sharp}, {where}"
