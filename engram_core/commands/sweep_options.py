"""The options of `engram sweep`: which settings are tried, and what the recommended one has to keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import pandas as pd
import typer

from ..errors import DataError, EngramError
from ..solving.filters import Sharpness
from ..tuning.recommend import Recommendation, recommend
from ..tuning.sweep import STRENGTHS
from .options import comma_list

__all__ = ["SettingOptions", "WantedOptions"]

_LEVELS = ",".join(f"{s:g}" for s in STRENGTHS)


@dataclass(frozen=True)
class SettingOptions:
    """Which settings of the edit are tried, and on how many concepts at once."""

    together: Annotated[bool, typer.Option("--together", help="Erase them all at once.")] = False
    sets: Annotated[int, typer.Option(min=1, help="With --together and --random N: this many sets of N.")] = 1
    strengths: Annotated[str, typer.Option(help="Comma-separated strengths to try.")] = _LEVELS
    scalings: Annotated[str, typer.Option(help="Of plain and adaptive.")] = "plain"
    sharpness: Annotated[
        str,
        typer.Option(
            "--selectivity", "--sharpness",
            help="Exponents of the filter, each as P, or as Pcap to cap it at 1×: 1,1.5,2,1.5cap.",
        ),
    ] = "1,1.5cap"  # fmt: skip
    groups: Annotated[
        str | None,
        typer.Option(
            help="Groups of layers: names (all, attention, mlp, q, v+o, 'block 0'), or parts, projections, "
            "blocks for all of a kind. Default: all and parts."
        ),
    ] = None
    others: Annotated[
        int | None, typer.Option(min=1, help="Score this many others for each erased one. Default: all.")
    ] = None
    give_up: Annotated[
        float | None, typer.Option(help="Stop raising a strength once the others lose more than this.")
    ] = None

    def settings(self) -> dict[str, Any]:
        """Return what `tuning.sweep.sweep` is told of them.

        Raises:
            EngramError: for a strength or a power that is no number.
        """
        return {
            "strengths": _levels(self.strengths), "scalings": comma_list(self.scalings),
            "sharpness": _filters(self.sharpness),
            "groups": None if self.groups is None else comma_list(self.groups),
            "others": self.others, "give_up": self.give_up,
        }  # fmt: skip

    def targets(self, names: list[str]) -> dict[str, Any]:
        """Return what is erased: concept by concept, or in sets."""
        if self.together:
            return {"together": [names[i :: self.sets] for i in range(self.sets)]}
        return {"concepts": names}


@dataclass(frozen=True)
class WantedOptions:
    """What the recommended setting has to keep, and what it is confirmed on."""

    measure: Annotated[str, typer.Option(help="score, or what else the task measures, e.g. nll.")] = "score"
    forget: Annotated[
        float | None,
        typer.Option(
            "--forget", "--lost",
            help="Recommend: the erased lose at least this (a share, or nats), with the least damage.",
        ),
    ] = None  # fmt: skip
    left: Annotated[
        float | None, typer.Option(help="Recommend: the erased score at most this, with the least damage.")
    ] = None
    damage: Annotated[
        float | None, typer.Option(help="Recommend: others lose at most this, forget most.")
    ] = None
    unseen: Annotated[float | None, typer.Option(help="Recommend: unseen phrasings at most this.")] = None
    confirm: Annotated[
        int | None,
        typer.Option("--confirm", min=1, help="Measure the recommended setting on this many OTHER concepts."),
    ] = None

    @property
    def bounds(self) -> dict[str, float | None]:
        """What `tuning.recommend.recommend` is asked for."""
        return {"forget_at_most": self.left, "lost_at_least": self.forget, "damage_at_most": self.damage}

    @property
    def asked(self) -> bool:
        """Whether anything is to be recommended."""
        return any(value is not None for value in self.bounds.values())

    def recommended(self, table: pd.DataFrame) -> tuple[Recommendation | None, str | None]:
        """Return the recommended setting, or why there is none; neither if none was asked for."""
        if not self.asked:
            return None, None
        try:
            limits = {} if self.unseen is None else {"forget_unseen": self.unseen}
            return recommend(table, **self.bounds, limits=limits, measure=self.measure), None
        except DataError as error:
            return None, str(error)


def _levels(text: str) -> list[float]:
    try:
        return [float(part) for part in comma_list(text)]
    except ValueError:
        raise EngramError(f"--strengths takes numbers separated by commas; found {text!r}.") from None


def _filters(text: str) -> list[Sharpness]:
    found = []
    for part in comma_list(text):
        power = part.removesuffix("clip").removesuffix("cap")  # "clip" is what it was called before
        try:
            found.append(Sharpness(float(power or 1), power != part))
        except ValueError as error:
            if isinstance(error, EngramError):
                raise
            raise EngramError(f"--selectivity takes exponents such as 1,1.5,2cap; found {part!r}.") from None
    return found
