"""The inputs behind one cell of a matrix: what both models answer to each, asked in portions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch

from ..choice.choice import Choice
from ..server.base import Base
from ..server.turns import HEAVY, Report
from .visitor import edited_view

__all__ = ["WRITTEN", "answers_behind", "images_behind"]

_QUESTIONS = 8  # answers written out behind a cell
WRITTEN = 12
"""New tokens of each answer written out behind a cell."""

Steps = Iterator[tuple[float, str, pd.DataFrame | None]]
"""The share done, what is being done, and at the end a table."""


def images_behind(base: Base, row: Choice, probed: str) -> Steps:
    """Ask base and edited model about every held-out image of a class.

    Yields:
        The share done, what is being done, and at the end a table: image (its number, from 1), truth, base,
        edited, changed ("lost", "gained", "other answer", ""); those that changed first.
    """

    def work() -> Iterator[tuple[float, pd.DataFrame | None]]:
        inputs = base.sample.concepts[probed].probe
        # A model may have outputs that are no concept here.
        task: Any = base.sample.task
        classes = np.array(task.classes)
        yield 0.0, None
        models = base.sample.model, edited_view(base, row)
        parts = [
            (side, part)
            for side in range(2)
            for part in torch.arange(len(inputs)).split(base.facts.portion)  # type: ignore[arg-type]
        ]
        found: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
        for done, (side, part) in enumerate(parts, start=1):
            with HEAVY:
                logits = task.logits(models[side], inputs[part])  # type: ignore[index]
            found[side].append(classes[logits.argmax(-1).numpy()])
            if done < len(parts):
                yield done / len(parts), None
        yield 1.0, _compared(probed, *(np.concatenate(side) for side in found))

    for share, table in base.remembered.steps(("behind", row, probed), work):
        yield share, f"Asking both models about every {base.probe} of {probed}", table


def _compared(probed: str, before: np.ndarray, after: np.ndarray) -> pd.DataFrame:
    frame = pd.DataFrame({"image": range(1, len(before) + 1), "truth": probed})
    frame["base"], frame["edited"] = before, after
    frame["changed"] = np.select(
        [(before == probed) & (after != probed), (before != probed) & (after == probed), before != after],
        ["lost", "gained", "other answer"],
        "",
    )
    rank = frame["changed"].map({"lost": 0, "gained": 1, "other answer": 2, "": 3})
    return frame.iloc[np.argsort(rank.to_numpy(), kind="stable")].reset_index(drop=True)


def answers_behind(base: Base, row: Choice, probed: str) -> Steps:
    """Ask base and edited model every question of a concept, and let the edited one write some answers.

    Yields:
        The share done, what is being done, and at the end a table: question, answer (the true one), base,
        edited (whether exact), base nats, edited nats (per token of the true answer), edited says (what the
        edited model writes, for the first questions); changed first.
    """
    from engram_core.language import complete, recall

    def make(report: Report) -> pd.DataFrame:
        task: Any = base.sample.task
        sides = []
        for done, side in enumerate(("base", "edited")):
            report(done, 4, f"the {side} model")
            model = base.sample.model
            if done:
                with HEAVY.aside():
                    model = edited_view(base, row)
            sides.append(recall(model, task.tokenizer, task.texts, concepts=[probed], template=task.template))
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
        report(2, 4, "the edited model writes")
        # Asked before every token whether to stop: others have their turns there.
        written = complete(
            model, task.tokenizer, asked, max_new_tokens=WRITTEN, chat=task.template, stop=report.pause
        )
        frame["edited says"] = [*(text.strip() for text in written), *[""] * (len(frame) - len(asked))]
        return frame

    return base.remembered.once(("behind", row, probed), make, f"Asking about {probed}")
