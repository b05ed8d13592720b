"""The cases: what is compared, on which model, against which target."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import engram as reference
import torch

import engram_core as ec

from . import memory
from .models import LanguageCase, classifier, llama, qwen
from .sides import (
    dense,
    disagreement,
    eight_concepts,
    one_concept,
    our_atlas,
    our_classes,
    quarters,
    their_classes,
    their_engram,
)
from .timing import Duel, duel

REFERENCE_SECONDS = 60.0
"""A case runs a slow reference again only while it has taken less than this."""


@dataclass(frozen=True)
class Row:
    """One line of the table. Ratios are "theirs / ours"; `inverse` turns them for display and target."""

    case: str
    ours: str
    theirs: str
    ratios: list[float]
    cpu: list[float] = field(default_factory=list)
    target: float | None = None
    inverse: bool = False
    runs: tuple[int, int] = (1, 1)

    def shown(self, values: list[float]) -> list[float]:
        return [1 / v for v in values] if self.inverse else values

    @property
    def median(self) -> float:
        return statistics.median(self.shown(self.ratios))

    @property
    def met(self) -> bool | None:
        if self.target is None:
            return None
        return self.median <= self.target if self.inverse else self.median >= self.target


def row(case: str, result: Duel, target: float | None = None, *, inverse: bool = False) -> Row:
    return Row(
        case, _seconds(result.ours.median), _seconds(result.theirs.median), result.ratios(),
        result.ratios("cpu") if min(result.ours.cpu) > 0 else [], target, inverse,
        (len(result.ours.wall), len(result.theirs.wall)),
    )  # fmt: skip


def _seconds(value: float) -> str:
    return f"{value:.3g} s" if value >= 1 else f"{value * 1e3:.3g} ms"


class Bench:
    """All cases; models and results that several of them need are made once."""

    def __init__(self, runs: int) -> None:
        self.runs = runs
        self.agreement: dict[str, float] = {}
        self._reference: Any = None

    @property
    def cases(self) -> dict[str, Callable[[], Iterator[Row]]]:
        """Return the cases by the name that `--only` takes."""
        return {
            "a": self.a, "forward": self.forward, "b": self.b, "concepts": self.concepts, "mlp": self.mlp,
            "apply": self.apply, "memory": self.memory, "language": self.language,
            "start": self.start,
        }  # fmt: skip

    @cached_property
    def qwen(self) -> LanguageCase:
        return qwen()

    @property
    def reference(self) -> Any:
        """Return the reference's engram of A, from the last timed call if there was one."""
        if self._reference is None:
            self._reference = their_engram(self.qwen)
        return self._reference

    def _ours(self, case: LanguageCase) -> Any:
        atlas = our_atlas(case, one_concept(case))
        return atlas.apply(erase="target")

    def _theirs(self) -> None:
        self._reference = their_engram(self.qwen)

    # -- the cases ------------------------------------------------------------------------------

    def a(self) -> Iterator[Row]:
        case = self.qwen
        lean, plain = one_concept(case), one_concept(case, lean=False)
        first = duel(lambda: self._ours(case), self._theirs, runs=self.runs, budget=REFERENCE_SECONDS)
        self.agreement["A"] = disagreement(dense(our_atlas(case, lean), "target"), self.reference)
        yield row("A: record, extract and apply, against `get_engram`", first, 16)
        whole = duel(
            lambda: our_atlas(case, plain), lambda: dense(our_atlas(case, lean), "target"), runs=self.runs
        )
        for label, samples in (
            ("A, ours without saving the head's work", whole.ours),
            ("A, ours with every dense ΔW written out", whole.theirs),
        ):
            yield row(label, Duel(samples, first.theirs))

    def forward(self) -> Iterator[Row]:
        case = self.qwen
        concepts = one_concept(case)

        @torch.no_grad()
        def bare(arguments: dict) -> None:
            case.model(**arguments)

        for label, arguments, target in (
            ("A against one bare forward pass, called as users call it", case.plain(), 1.8),
            ("A against the barest forward pass (no cache, last logit only)", case.lean(), None),
        ):
            result = duel(
                lambda: our_atlas(case, concepts),
                lambda arguments=arguments: bare(arguments),
                runs=2 * self.runs,
            )
            yield row(label, result, target, inverse=True)

    def b(self) -> Iterator[Row]:
        case = llama()
        found: list[Any] = []
        result = duel(
            lambda: self._ours(case), lambda: found.append(their_engram(case)), runs=self.runs,
            budget=REFERENCE_SECONDS,
        )  # fmt: skip
        self.agreement["B"] = disagreement(dense(our_atlas(case, one_concept(case)), "target"), found[-1])
        yield row("B: record, extract and apply, against `get_engram`", result, 80)

    def concepts(self) -> Iterator[Row]:
        case = self.qwen
        one, eight = one_concept(case), eight_concepts(case)
        result = duel(lambda: our_atlas(case, eight), lambda: our_atlas(case, one), runs=2 * self.runs)
        yield row("A with 8 concepts, against itself with 1", result, 1.2, inverse=True)
        places = quarters()
        found: dict[str, Any] = {}

        def call() -> None:
            name = str(len(found) % len(places))
            found[name] = their_engram(case, places[int(name)])

        # The reference's call costs the same whatever the target: as many as the budget allows, times 8.
        result = duel(lambda: our_atlas(case, eight), call, runs=8, budget=REFERENCE_SECONDS)
        atlas = our_atlas(case, eight)
        self.agreement["A, 8 concepts"] = max(disagreement(dense(atlas, n), r) for n, r in found.items())
        yield row("A with 8 concepts, against 8 calls of `get_engram`", result.scaled(8), 120)

    def mlp(self) -> Iterator[Row]:
        model, classes = classifier()
        ours, theirs = our_classes(model, classes), their_classes(model, classes)
        self.agreement["MLP"] = max(disagreement(ours[name], theirs[name]) for name in classes)
        del ours, theirs
        result = duel(
            lambda: our_classes(model, classes), lambda: their_classes(model, classes), runs=self.runs
        )
        yield row("MLP 784-500-100-10, 10,000 images: all ten engrams, dense", result, 5)

    def apply(self) -> Iterator[Row]:
        case, model = self.qwen, self.qwen.model
        engram, atlas = self.reference, our_atlas(self.qwen, one_concept(self.qwen))
        view = atlas.apply(erase="target")
        _check_apply(case, view, reference.apply_engram(model, engram))
        control = ec.live_edit(view)
        theirs = [lambda a=a: reference.apply_engram(model, engram, alpha=a) for a in (1.0, 0.5)]
        result = duel(lambda: atlas.apply(erase="target"), theirs[0], runs=2 * self.runs, repeat=10)
        yield row("apply to A, against `apply_engram`", result, 100)
        strengths = iter(range(1, 1_000_000))
        result = duel(
            lambda: control.set(erase={"target": 0.1 * (next(strengths) % 20 + 1)}), theirs[1],
            runs=2 * self.runs, repeat=10,
        )  # fmt: skip
        yield row("change the strength on A, against `apply_engram`", result, 100)

        @torch.no_grad()
        def run(edited: torch.nn.Module) -> None:
            edited(**case.plain())

        result = duel(lambda: run(view), lambda: run(model), runs=2 * self.runs)
        yield row("a forward pass of the edited view, against the base", result, inverse=True)

    def memory(self) -> Iterator[Row]:
        peaks = {
            side: [memory.measure(side) for _ in range(3 if side == "ours" else 1)] for side in memory.SIDES
        }
        ours = peaks["ours"]
        for label, side, target in (
            ("A: peak memory beyond the model, against `get_engram`", "reference", 4.0),
            ("A: peak memory beyond the model, against one bare forward pass", "forward", None),
        ):
            theirs = statistics.median(peaks[side])
            yield Row(
                label, megabytes(statistics.median(ours)), megabytes(theirs),
                [theirs / own for own in ours], target=target, runs=(len(ours), len(peaks[side])),
                inverse=target is None,
            )  # fmt: skip

    def language(self) -> Iterator[Row]:
        from .language import MODELS, rows_of  # it takes its rows from here

        for name in MODELS:
            yield from rows_of(name, self.runs, self.agreement)


def megabytes(value: float) -> str:
    return f"{value / 1e6:.0f} MB"


def _check_apply(case: LanguageCase, view: torch.nn.Module, theirs: torch.nn.Module) -> None:
    """Both edited models answer alike, and ours holds no parameter of its own."""
    shared = {p.data_ptr() for p in case.model.parameters()}
    assert all(p.data_ptr() in shared for p in view.parameters()), "the view copied parameters"
    with torch.no_grad():
        mine, other = (m(**case.plain()).logits for m in (view, theirs))
    difference = float((mine - other).norm() / other.norm())
    assert difference < 1e-3, f"the edited models differ by {difference:.1e}"

    def start(self) -> Iterator[Row]:
        from .first_start import rows  # it takes its rows from here

        yield from rows(self.runs)
