"""The inputs of one cell of a matrix: what both models answer to each, asked step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch

import engram_core as ec
from engram_core.progress import Step, Steps, nested, once

from ..choice.choice import Choice
from ..server.base import Base
from ..server.fair_lock import lock_each_step
from .edited_view import edited_view

__all__ = ["WRITTEN", "class_answers", "text_answers"]

_QUESTIONS = 8  # answers written out for a cell
WRITTEN = 12
"""New tokens of each answer written out for a cell."""


def class_answers(base: Base, row: Choice, probed: str) -> Steps[pd.DataFrame]:
    """Ask base and edited model about every held-out input of a class.

    Returns:
        A table: image, or input (its number, from 1), truth, base, edited, changed ("lost", "gained",
        "other answer", ""); those that changed first.

    Yields:
        Where the work stands.
    """
    what = f"Asking both models about every {base.probe} of {probed}"

    def work() -> Steps[pd.DataFrame]:
        held = base.sample.concepts.subset([probed]).held_out()
        inputs: Any = held[probed].record
        parts = torch.arange(base.facts.held_out[probed]).split(base.facts.portion)
        yield Step(0, 2 * len(parts), what, long=True)
        models = base.sample.model, edited_view(base, row)
        found: tuple[list[str], list[str]] = ([], [])
        for side, model in enumerate(models):
            for done, part in enumerate(parts):
                yield Step(side * len(parts) + done, 2 * len(parts), what)
                # A model may answer with a class that is no concept here.
                if isinstance(inputs, torch.Tensor):
                    asked = ec.ConceptSet.of({probed: inputs[part]})
                else:
                    asked = held.singles([(probed, number) for number in part.tolist()])
                found[side].extend(base.sample.task.answers(model, asked))
        what_it_is = "image" if base.of_images else "input"
        return _compared(what_it_is, probed, *(np.array(side) for side in found))

    return (yield from lock_each_step(once(base.remembered, ("inputs of a cell", row, probed), work)))


def _compared(what: str, probed: str, before: np.ndarray, after: np.ndarray) -> pd.DataFrame:
    frame = pd.DataFrame({what: range(1, len(before) + 1), "truth": probed})
    frame["base"], frame["edited"] = before, after
    frame["changed"] = np.select(
        [(before == probed) & (after != probed), (before != probed) & (after == probed), before != after],
        ["lost", "gained", "other answer"],
        "",
    )
    rank = frame["changed"].map({"lost": 0, "gained": 1, "other answer": 2, "": 3})
    return frame.iloc[np.argsort(rank.to_numpy(), kind="stable")].reset_index(drop=True)


def text_answers(base: Base, row: Choice, probed: str) -> Steps[pd.DataFrame]:
    """Ask base and edited model every question of a concept, and let the edited one write some answers.

    Returns:
        A table: question, answer (the true one), base, edited (whether exact), base nats, edited nats (per
        token of the true answer), edited says (what the edited model writes, for the first questions);
        changed first.

    Yields:
        Where the work stands.
    """
    from engram_core.language.completion import complete_steps
    from engram_core.language.exact_recall import recall_steps

    what = f"Asking about {probed}"

    def work() -> Steps[pd.DataFrame]:
        task: Any = base.sample.task
        sides = []
        model = base.sample.model
        for done, side in enumerate(("base", "edited")):
            yield Step(done, 4, f"{what}: the {side} model", long=done > 0)
            if done:
                model = edited_view(base, row)
            asking = recall_steps(
                model, task.tokenizer, task.texts, concepts=[probed], template=task.template
            )
            sides.append((yield from nested(asking, done=done, total=4, what=f"{what}: the {side} model")))
        before, after = sides
        frame = pd.DataFrame(
            {
                "question": before["prompt"], "answer": before["answer"], "base": before["exact"],
                "edited": after["exact"], "base nats": before["nll"], "edited nats": after["nll"],
            }
        )  # fmt: skip
        order = np.argsort((frame["base"] == frame["edited"]).to_numpy(), kind="stable")
        frame = frame.iloc[order].reset_index(drop=True)
        asked = frame["question"].tolist()[:_QUESTIONS]
        writing = complete_steps(model, task.tokenizer, asked, max_new_tokens=WRITTEN, chat=task.template)
        written = yield from nested(
            writing, done=2, size=2, total=4, what=f"{what}: the edited model writes", partial=frame
        )
        frame["edited says"] = [*(text.strip() for text in written), *[""] * (len(frame) - len(asked))]
        return frame

    return (yield from lock_each_step(once(base.remembered, ("inputs of a cell", row, probed), work)))
