"""The experiments of the guided tour: what is known before a question, and what answers it.

Every number is a row of one form of table: model, edit, measure, of what, value. A step is shown `given`
beside its question, and `asked` once a prediction was made. So what a step gives away can be looked up.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from torch import nn

import engram_core as ec
from engram_core.progress import Step, drain, nested

from ..choice.choice import KEEP, Choice, clean
from ..server.base import Base
from .criteria import Selection, measure_responses
from .edited_view import edited_view
from .scores import measure_edit, score_controls
from .toy_engram import toy_engram

__all__ = ["EXPERIMENTS", "SEEDS", "Experiment", "Table"]

Table: TypeAlias = pd.DataFrame
"""Columns: model, edit, measure, of, value."""

Asked = Generator[Step[Any], None, Table]

SEEDS = 5
"""Random changes of the control."""

SEVEN, PICTURE = "7", 10
_SHIRT = "Shirt"
_AUTHOR, _OTHERS = "Fabrice Pelliningway", 19
_STRENGTHS = (0.25, 0.5, 0.75, 1.25, 1.5, 2.0)


@dataclass(frozen=True)
class Experiment:
    """What a step of the tour measures.

    Attributes:
        model: name of the model; "" for the example that can be drawn.
        given: what stands beside the question.
        asked: what answers it.
    """

    model: str
    given: Callable[[Base], Table]
    asked: Callable[[Base], Asked]


def _rows(model: str, edit: str, measure: str, values: Mapping[str, float]) -> Table:
    rows = [(model, edit, measure, of, float(value)) for of, value in values.items()]
    return pd.DataFrame(rows, columns=["model", "edit", "measure", "of", "value"])


def _nothing(base: Base) -> Table:
    return _rows("", "", "", {})


def _choice(base: Base, **values: Any) -> Choice:
    return clean(dict(base.explorer) | values, base.facts)


def _accuracy(base: Base) -> Table:
    return _rows(base.facts.name, "base", "score", base.scores)


def _toy(base: Base | None) -> Asked:
    yield Step(0, 1, "filtering")
    toy = toy_engram()
    kept = {
        name: float(np.linalg.norm(rows @ toy.filter.T) / np.linalg.norm(rows))
        for name, rows in toy.rows.items()
    }
    answered = {
        name: float(np.linalg.norm(rows @ toy.engram.T) / np.linalg.norm(rows @ toy.weights.T))
        for name, rows in toy.rows.items()
    }
    return pd.concat(
        [
            _rows("two dimensions", "filter of A", "length kept", kept),
            _rows("two dimensions", "engram of A", "size of the answer", answered),
        ],
        ignore_index=True,
    )


def _one_picture(base: Base) -> np.ndarray:
    """Return what the last layer reads of one held-out picture, with a 1 at its end for the bias."""

    def make() -> np.ndarray:
        inputs = ec.draw_inputs(base.sample, [SEVEN])
        states = ec.hidden_states(base.sample.model, base.atlas, inputs, base.facts.layers[-1])
        return np.append(states.matrix[inputs.number.index(PICTURE)], 1.0)

    return base.remembered.made(("tour", "picture"), make)


def _outputs(base: Base, edit: str, matrix: np.ndarray) -> Table:
    answer = matrix @ _one_picture(base)
    return _rows(base.facts.name, edit, "output", dict(zip(base.facts.classes, answer, strict=True)))


def _layer_answers(base: Base) -> Table:
    return _outputs(base, "W x", base.atlas.matrix(base.facts.layers[-1])[0].double().numpy())


def _engram_answers(base: Base) -> Asked:
    yield Step(0, 1, "answering")
    engram, layer = base.atlas[SEVEN], base.facts.layers[-1]
    bias = engram.bias(layer)
    assert bias is not None
    matrix = np.column_stack([engram.weight(layer).double().numpy(), bias.double().numpy()])
    return _outputs(base, "E x", matrix)


def _loudness(base: Base) -> Asked:
    chosen = Selection((SEVEN,), base.facts.classes, every=False)
    table = yield from measure_responses(base, _choice(base), chosen, base.facts.layers, 0)
    return pd.concat(
        [
            _rows(
                base.facts.name, f"E in {layer}", "loudness", dict(zip(part.probe, part.ratio, strict=True))
            )
            for layer, part in table.groupby("layer", sort=False)
        ],
        ignore_index=True,
    )


def _scored(concept: str) -> Callable[[Base], Asked]:
    def asked(base: Base) -> Asked:
        found = yield from measure_edit(base, _choice(base, concepts=[concept]))
        return pd.concat(
            [
                _rows(base.facts.name, f"{concept} erased", "score", found.score),
                _rows(base.facts.name, f"{concept} erased", f"answers to {concept}", found.says[concept]),
            ],
            ignore_index=True,
        )

    return asked


def _known_effect(base: Base) -> Table:
    return pd.concat([_accuracy(base), drain(_scored(SEVEN)(base)).query("measure == 'score'")])


def _noise(base: Base) -> Asked:
    runs = yield from score_controls(base, _choice(base, concepts=[SEVEN]), SEEDS)
    edits: Mapping[str, Callable[[list[float]], Any]] = {"mean": np.mean, "least": np.min, "most": np.max}
    return pd.concat(
        [
            _rows(
                base.facts.name, f"random change of the size of {SEVEN}: {name}", "score",
                {c: float(of([run[c] for run in runs])) for c in base.facts.classes},
            )
            for name, of in edits.items()
        ],
        ignore_index=True,
    )  # fmt: skip


def _share(base: Base, edit: str, choice: Choice) -> Asked:
    found = yield from measure_edit(base, choice)
    share = {concept: says.get(SEVEN, 0.0) for concept, says in found.says.items()}
    return _rows(base.facts.name, edit, f"share called {SEVEN}", share)


def _called_seven(base: Base) -> Table:
    return drain(_share(base, "base", _choice(base)))


def _seven_alone(base: Base) -> Asked:
    return (yield from _share(base, f"{SEVEN} alone", _choice(base, mode=KEEP, concepts=[SEVEN])))


def _dial(base: Base, strength: float, scores: Mapping[str, float]) -> Table:
    others = [scores[name] for name in base.facts.classes if name != SEVEN]
    values = {SEVEN: scores[SEVEN], "the others": float(np.mean(others))}
    return _rows(base.facts.name, f"{strength:g} times {SEVEN} erased", "score", values)


def _dial_ends(base: Base) -> Table:
    once = drain(measure_edit(base, _choice(base, concepts=[SEVEN])))
    return pd.concat([_dial(base, 0.0, base.scores), _dial(base, 1.0, once.score)], ignore_index=True)


def _dial_between(base: Base) -> Asked:
    found = []
    for place, strength in enumerate(_STRENGTHS):
        work = measure_edit(base, _choice(base, concepts=[SEVEN], strength=strength))
        scores = yield from nested(work, done=place, total=len(_STRENGTHS))
        found.append(_dial(base, strength, scores.score))
    return pd.concat(found, ignore_index=True)


def _authors(base: Base) -> tuple[str, ...]:
    """Return the author in question and some others."""
    return (_AUTHOR, *[name for name in base.facts.classes if name != _AUTHOR][:_OTHERS])


def _recall(base: Base) -> Table:
    return _rows(base.facts.name, "base", "score", {name: base.scores[name] for name in _authors(base)})


def _author_gone_and_alone(base: Base) -> Asked:
    edits = {
        "erased": _choice(base, concepts=[_AUTHOR], **base.explorer),
        "alone": _choice(base, mode=KEEP, concepts=[_AUTHOR]),
    }
    found = []
    for place, (name, choice) in enumerate(edits.items()):
        work = measure_edit(base, choice, _authors(base))
        scores = yield from nested(work, done=place, total=len(edits))
        found.append(_rows(base.facts.name, f"{_AUTHOR} {name}", "score", scores.score))
    return pd.concat(found, ignore_index=True)


def _reader(base: Base, edit: str, model: nn.Module) -> Table:
    """Return how many held-out sevens, and other digits taken for them, a simple reader finds.

    It is a logistic regression on what enters the last layer, fitted on recorded pictures as they pass the
    same model.
    """
    layer = base.facts.layers[-1]
    states, sevens = [], []
    for recorded in (True, False):
        inputs = ec.draw_inputs(base.sample, recorded=recorded)
        states.append(ec.hidden_states(model, base.atlas, inputs, layer).matrix)
        sevens.append(np.array([concept == SEVEN for concept in inputs.concept]))
    found = LogisticRegression(max_iter=2000).fit(states[0], sevens[0]).predict(states[1])
    values = {SEVEN: found[sevens[1]].mean(), "the others": found[~sevens[1]].mean()}
    return _rows(base.facts.name, edit, "found by a reader", values)


def _read_base(base: Base) -> Table:
    return base.remembered.made(("tour", "reader"), lambda: _reader(base, "base", base.sample.model))


def _read_edited(base: Base) -> Asked:
    yield Step(0, 1, "reading", long=True)

    def make() -> Table:
        return _reader(base, f"{SEVEN} erased", edited_view(base, _choice(base, concepts=[SEVEN])))

    return base.remembered.made(("tour", "reader", SEVEN), make)


_DIGITS = "digits-mlp"

EXPERIMENTS: Mapping[str, Experiment] = {
    "engram": Experiment("", _nothing, _toy),
    "reactivation": Experiment(_DIGITS, _layer_answers, _engram_answers),
    "specificity": Experiment(_DIGITS, _nothing, _loudness),
    "necessity": Experiment(_DIGITS, _accuracy, _scored(SEVEN)),
    "control": Experiment(_DIGITS, _known_effect, _noise),
    "sufficiency": Experiment(_DIGITS, _called_seven, _seven_alone),
    "strength": Experiment(_DIGITS, _dial_ends, _dial_between),
    "neighbours": Experiment("fashion-cnn", _accuracy, _scored(_SHIRT)),
    "language": Experiment("authors-lm", _recall, _author_gone_and_alone),
    "limits": Experiment(_DIGITS, _read_base, _read_edited),
}
"""By the step of the tour that asks for it."""
