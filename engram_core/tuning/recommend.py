"""From a sweep's table to one setting, and the sentence that says what it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ..errors import DataError
from ..solving.filters import Sharpness
from .sweep import SETTING, columns_of

__all__ = ["NoSettingError", "Recommendation", "in_words", "recommend"]


class NoSettingError(DataError):
    """No setting keeps the rule.

    Attributes:
        nearest: the row of the table that breaks it least; None if nothing was measured there.
    """

    def __init__(self, text: str, nearest: dict[str, Any] | None):
        super().__init__(text)
        self.nearest = nearest


@dataclass(frozen=True)
class Recommendation:
    """A setting, what it did on the concepts it was chosen on, and the sentence that says so.

    Attributes:
        setting: group, scaling, power, clip, strength.
        layers: the layers of the group.
        figures: the other columns of its row in the sweep's table.
        found_on: the concepts it was chosen on; confirm it on others.
        sentence: all this in plain words.
    """

    setting: dict[str, Any]
    layers: tuple[str, ...]
    figures: dict[str, float]
    found_on: tuple[str, ...]
    sentence: str

    @property
    def sharpness(self) -> Sharpness:
        """The filter of the setting."""
        return Sharpness(self.setting["power"], self.setting["clip"])


def recommend(
    table: pd.DataFrame,
    *,
    forget_at_most: float | None = None,
    lost_at_least: float | None = None,
    damage_at_most: float | None = None,
    limits: Mapping[str, float] | None = None,
    measure: str = "score",
) -> Recommendation:
    """Choose a setting by a rule that is given beforehand.

    With a bound on what is forgotten, the setting with the least damage among those that keep all bounds;
    with a bound on the damage alone, the one that forgets most. Ties go to the lower strength.

    Args:
        table: from `sweep.sweep`.
        forget_at_most: highest mean value of the erased concepts (for ``measure="score"``, their score).
        lost_at_least: least mean loss of the erased concepts (for NLL, the least rise, in nats per token).
        damage_at_most: greatest mean loss (or rise) of the others.
        limits: further columns and the most they may be, such as ``{"forget_unseen": 0.15}``.
        measure: ``"score"``, or a detail of the task such as ``"nll"``.

    Returns:
        The setting, with the sentence that says why.

    Raises:
        DataError: if no bound is given.
        NoSettingError: if no setting keeps them all; the nearest one is named.
    """
    lost, damage = columns_of(table, measure)
    forget = lost.replace("lost", "forget")
    bounds: dict[str, tuple[float, float]] = {}  # column → (sign, bound): sign · value ≤ sign · bound
    if forget_at_most is not None:
        bounds[forget] = (1.0, forget_at_most)
    if lost_at_least is not None:
        bounds[lost] = (-1.0, lost_at_least)
    if damage_at_most is not None:
        bounds[damage] = (1.0, damage_at_most)
    if not bounds:
        raise DataError("Say what is wanted: forget_at_most, lost_at_least or damage_at_most.")
    for column, most in (limits or {}).items():
        if column not in table:
            raise DataError(f"There is no column {column!r} to limit; found {', '.join(table.columns)}.")
        bounds[column] = (1.0, most)
    # How far each row is outside each bound; the nearest row breaks them by the least in sum.
    excess = pd.DataFrame(
        {c: (sign * (table[c] - bound)).clip(lower=0) for c, (sign, bound) in bounds.items()}
    )
    missed = excess.sum(axis=1, skipna=False)
    by_damage = forget in bounds or lost in bounds
    order = [damage, forget, "strength"] if by_damage else [lost, damage, "strength"]
    kept = table[missed <= 1e-12].sort_values(order, ascending=[by_damage, True, True], kind="stable")
    if kept.empty:
        nearest = None if missed.isna().all() else table.loc[missed.idxmin()].to_dict()
        raise NoSettingError(_none(table, nearest, bounds), nearest)
    row = kept.iloc[0].to_dict()
    setting = {name: row.pop(name) for name in SETTING}
    setting = {"group": str(setting["group"]), "scaling": str(setting["scaling"]),
               "power": float(setting["power"]), "clip": bool(setting["clip"]),
               "strength": float(setting["strength"])}  # fmt: skip
    figures = {str(name): float(value) for name, value in row.items()}
    found_on = tuple(table.attrs.get("concepts", ()))
    layers = tuple(table.attrs.get("groups", {}).get(setting["group"], ()))
    sentence = _sentence(setting, figures, table.attrs, (forget, damage), len(table))
    return Recommendation(setting, layers, figures, found_on, sentence)


def in_words(setting: Mapping[str, Any]) -> str:
    """Return a setting as a phrase."""
    sharp = f"selectivity {setting['power']:g}{' capped at 1×' if setting['clip'] else ''}"
    where = "every covered layer" if setting["group"] == "all" else f"layers “{setting['group']}”"
    return f"strength {setting['strength']:g}, {setting['scaling']} scaling, {sharp}, {where}"


def _none(
    table: pd.DataFrame, near: Mapping[str, Any] | None, bounds: Mapping[str, tuple[float, float]]
) -> str:
    wanted = ", ".join(f"{c} {'≤' if s > 0 else '≥'} {b:g}" for c, (s, b) in bounds.items())
    if near is None:
        return f"None of the {len(table)} settings can be held against {wanted}: nothing was measured there."
    found = ", ".join(f"{c} {near[c]:.3f}" for c in bounds)
    return (
        f"None of the {len(table)} settings has {wanted}. The nearest: {in_words(near)}, with {found}. "
        "Try other strengths, sharpness or groups of layers, or ask for less."
    )


def _sentence(
    setting: Mapping[str, Any],
    figures: Mapping[str, float],
    about: Mapping[str, Any],
    columns: tuple[str, str],
    tried: int,
) -> str:
    forget, damage = columns
    targets = about.get("targets", [])
    together = bool(targets) and len(targets[0]) > 1
    count = (
        f"{len(targets)} set{'s' * (len(targets) > 1)} of {len(targets[0])} concepts erased together"
        if together
        else f"{len(targets)} concept{'s' * (len(targets) != 1)} erased one at a time"
    )
    unseen = figures.get("forget_unseen")
    said = "" if unseen is None or forget != "forget" else f" ({unseen:.3f} on unseen phrasings)"
    unit = about.get("unit", "score") if forget == "forget" else forget.removeprefix("forget_")
    rest = figures[damage.replace("damage", "retain")]
    return (
        f"Use {in_words(setting)}: {unit} of what is erased goes from {figures['base_' + forget]:.3f} to "
        f"{figures[forget]:.3f}{said}, and the others are left at {rest:.3f} (mean loss "
        f"{figures[damage]:.3f}); the best of {tried} settings on {count}, to be confirmed on others."
    )
