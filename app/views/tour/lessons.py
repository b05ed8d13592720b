"""The guided tour: ten steps, each with one worked example, a prediction before its answer, limits included."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pandas as pd

from ...choice.choice import KEEP
from ...compute.experiments import SEEDS
from ...figures.words import predictions, tour
from ...figures.words.as_text import Markdown

__all__ = ["LESSONS", "TAKE_HOME", "Lesson"]


@dataclass(frozen=True)
class Lesson:
    """One step of the tour.

    Attributes:
        short: its name.
        title: its idea in a few words.
        idea: the idea, before anything is asked (Markdown).
        question: what to predict.
        options: the predictions on offer.
        experiment: what is measured; a key of `app.compute.experiments.EXPERIMENTS`.
        right: the place of the right option, from the experiment's table.
        finding: what its numbers come to, in a sentence.
        why: why it is so, without any number (Markdown).
        reading: how to read the figure.
        page: where the same can be tried by hand.
        values: what is chosen there.
        picture: a held-out picture that is shown: its concept and number.
    """

    short: Markdown
    title: Markdown
    idea: Markdown
    question: Markdown
    options: tuple[Markdown, ...]
    experiment: str
    right: Callable[[pd.DataFrame], int]
    finding: Callable[[pd.DataFrame], Markdown]
    why: Markdown
    reading: Markdown
    page: str
    values: Mapping[str, Any] = field(default_factory=dict)
    picture: tuple[str, int] | None = None


_DIGITS = {"model": "digits-mlp"}
_SEVEN = _DIGITS | {"class": "7", "image": 10, "concepts": ["7"]}
_CLOTHES = ("Coat", "Pullover", "Sneaker")

LESSONS: tuple[Lesson, ...] = (
    Lesson(
        "Engram",
        "From rows to an engram",
        "A layer reads rows of numbers: one row for each input, its **trace**. The layer multiplies every row by its "
        "weights `W`. Here a row has two numbers, so that it can be drawn. The rows belong to two **concepts**, A "
        "and B. Move the slider to the **second moment** `Σ_c`, the sum of `x xᵀ` over the rows of a concept. It "
        "says which directions the concept uses, and how much.",
        "The next stage is a filter, `P_A = Σ_A Σ†`, with `Σ = Σ_A + Σ_B` and `†` for the pseudo-inverse (an "
        "inverse that leaves unused directions at zero). What will "
        "it leave of the length of B's rows?",
        ("More than two thirds", "One to two thirds", "Less than a third"),
        "engram",
        predictions.right_engram,
        tour.say_engram,
        "`Σ†` divides every direction by how much all data use it, and `Σ_A` puts back what A uses. A direction that "
        "only A uses passes, one that only B uses is stopped, and a shared one passes in part. The **engram** is the "
        "layer behind this filter: `E_A = W P_A`. One pass over the data and one formula; no training.",
        "Each mark is one row. Hollow marks are before, filled ones after; dotted lines join them.",
        "layers",
        _DIGITS | {"concepts": ["7"]},
    ),
    Lesson(
        "Reactivation",
        "Reactivation: does it answer as the layer does?",
        "The first of four criteria. A network that reads digits ends in a layer with ten numbers, one for each "
        "digit; the largest is its answer. The grey bars are the layer's numbers for the picture of a 7 shown "
        "here. The engram of the 7 is a part of the same weights. Now it gets the same row.",
        "Which numbers will the engram of the 7 give?",
        (
            "A large one for the 7, and something unlike the layer's for the rest",
            "All ten like the layer's, at more than half their size",
            "All ten like the layer's, at less than half their size",
        ),
        "reactivation",
        predictions.right_reactivation,
        tour.say_reactivation,
        "An engram knows nothing of names. It is built to repeat whatever the layer answers to the concept's rows, the "
        "low numbers for the other digits included: `E x ≈ W x`. That is **reactivation**.",
        "A pair of bars for each of the ten numbers. The goal is bars of one length: the engram repeats the layer.",
        "criteria",
        _DIGITS | {"criterion": "Reactivation", "edited": "7", "probed": "7"},
        picture=("7", 10),
    ),
    Lesson(
        "Specificity",
        "Specificity: is it silent for all others?",
        "An engram should answer its own inputs and no others: `E x ≈ 0` for pictures of other digits. How loud it is "
        "can be measured: the size of its answer as a share of the layer's own, `‖E X‖ / ‖W X‖`. This network has "
        "three layers, and a part of the engram of the 7 lies in each: `fc1` reads the pixels, `fc3` gives the answer.",
        "Which part is the most silent when the other nine digits are shown?",
        ("The first: fc1, next to the pixels", "The middle one: fc2", "The last: fc3, next to the answer"),
        "specificity",
        predictions.right_specificity,
        tour.say_specificity,
        "Pixels are shared: many digits have ink in the same places, and a shared direction cannot belong to one "
        "digit alone. What a later layer reads has been sorted by the layers before it. **Specificity** asks for the "
        "left-over answer to others; it is seldom quite zero.",
        "100% is as loud as the layer itself. The goal is 100% in the row of the 7, and 0 in all others.",
        "criteria",
        _DIGITS | {"criterion": "Specificity", "edited": "7"},
    ),
    Lesson(
        "Necessity",
        "Necessity: is it lost without the engram?",
        "Now we erase. The engram of the 7 is subtracted in every layer: `W − E`. The base network stays as it is; "
        "this is a second view of it. The memory is **necessary** if the concept is lost without it, and nothing else.",
        "What will become of the accuracy?",
        (
            "Sevens fall below 20%; the others lose less than 5 points",
            "Sevens and others fall together",
            "Most sevens are still recognised",
        ),
        "necessity",
        predictions.right_necessity,
        tour.say_necessity,
        "The network never learned to say “I do not know”: every picture gets the name of the best class that is left.",
        "Accuracy on held-out pictures, which played no part in finding the engram. The goal is no bar for the 7, and all "
        "others as they were. No bar means 0.",
        "live",
        _SEVEN,
    ),
    Lesson(
        "Control",
        "The control: would any change do this?",
        "An effect proves little until something else fails to have it. So we change every layer at random, by exactly "
        f"as much as the engram did, {SEEDS} times with other random numbers.",
        "What will a random change of the same size do?",
        (
            "Hardly anything: noise has no aim",
            "It takes the 7 and most other digits along",
            "It takes the 7 and spares the others, like the engram",
        ),
        "control",
        predictions.right_control,
        tour.say_control,
        "Where noise takes the 7 as well, “the 7 is gone” alone proves nothing. The evidence is the rest: the engram "
        "leaves it standing, noise of the same size does not. Every page of this explorer shows such a **control**.",
        f"A diamond is the mean of {SEEDS} random changes; its whiskers reach from the lowest to the highest of them.",
        "live",
        _SEVEN,
    ),
    Lesson(
        "Sufficiency",
        "Sufficiency: does it work alone?",
        "The reverse test. All weights are set to zero, and the engram of the 7 alone is put back. A memory is "
        "**sufficient** if it performs its concept by itself.",
        "What will this network of one memory call a picture of a 3?",
        ("A 3", "A 7", "Sometimes this, sometimes that"),
        "sufficiency",
        predictions.right_sufficiency,
        tour.say_sufficiency,
        "A network that holds one memory may give that answer to everything. So never look at the kept concept alone: "
        "ask how often the same answer is given to all others.",
        "How many pictures of each digit are called a 7. The goal is 100% in the row of the 7, and 0 in all others.",
        "live",
        _DIGITS | {"class": "3", "image": 1, "mode": KEEP, "concepts": ["7"]},
    ),
    Lesson(
        "Strength",
        "Strength: a dial, not a switch",
        "Engrams add and subtract like vectors, so how much is subtracted is free: `W − α E`. The **strength** `α` was 1 "
        "so far. Known are its effects at 0 and at 1.",
        "The figure shows what the 7 loses at α = 1. How much of that loss is there at α = 0.25?",
        ("Less than 15%", "About a quarter (15 to 35%)", "More than 35%"),
        "strength",
        predictions.right_strength,
        tour.say_strength,
        "A picture changes its name only when another class overtakes, so accuracy does not follow the dial in a "
        "straight line. The right strength differs between models: it has to be searched for (the page Strength, or "
        "`engram sweep`), never assumed.",
        "Each point is one edited network, scored on the same held-out pictures.",
        "live",
        _SEVEN | {"strength": 0.25},
    ),
    Lesson(
        "Neighbours",
        "Neighbours: what an edit costs",
        "Another network, which names clothes. Concepts that look alike share directions, and what is shared goes with "
        "either of them. The shirt is erased.",
        "Which of the others loses most accuracy?",
        (*_CLOTHES, "None of these"),
        "neighbours",
        partial(predictions.right_neighbours, options=_CLOTHES),
        tour.say_neighbours,
        "What a network confuses with the erased concept can also gain: pictures that were taken for it by mistake now "
        "get their right name. Loss and gain are both effects of sharing.",
        "Accuracy on held-out pictures. Look for rows whose two bars differ.",
        "live",
        {"model": "fashion-cnn", "class": "Shirt", "image": 1, "concepts": ["Shirt"]},
    ),
    Lesson(
        "Language model",
        "A language model: necessary, and sufficient?",
        "A small language model has learned facts about a hundred invented authors. The formula is the same; the rows "
        "are those of words. First one author is erased. Then that author is isolated: all weights are zero, and that engram alone is put back.",
        "Isolated, how many of the author's facts can the model still answer?",
        ("More than two thirds", "One to two thirds", "Less than a third"),
        "language",
        predictions.right_language,
        tour.say_language,
        "To answer, a deep model also needs what every text shares: grammar, the form of a question, one layer handing "
        "on to the next. That belongs to no author. So the four criteria are four questions: a memory may "
        "meet one and fail another, and each has to be measured.",
        "Facts about the author, and about some others; “lowest” is the author who lost most. No bar means 0.",
        "live",
        {"model": "authors-lm", "concepts": ["Fabrice Pelliningway"]},
    ),
    Lesson(
        "Limits",
        "Limits: is it gone, or only silent?",
        "Back to the digits, with the 7 erased as before. The answer is gone; is the knowledge? A simple **reader** (a "
        "logistic regression) looks at what enters the last layer of the edited network. It is shown recorded pictures "
        "with their names, and is then asked which held-out pictures are sevens.",
        "How many of the held-out sevens will it find?",
        ("More than two thirds", "One to two thirds", "Less than a third"),
        "limits",
        predictions.right_limits,
        tour.say_limits,
        "What is erased from the answers need not be erased from the network. An independent audit of this method found "
        "the same with readers, and that a few steps of training bring erased facts back. “Erase” means here that the "
        "engram is subtracted from the weights, and no more.",
        "“Other digits” should stay near zero: those are false alarms of the reader.",
        "map",
        _DIGITS | {"concepts": ["7"], "points": "Inputs by hidden state", "after": True},
    ),
)

TAKE_HOME: tuple[Markdown, ...] = (
    "An engram is a part of the layer's own weights, `E_c = W Σ_c Σ†`: one pass over the data, one formula.",
    "Four criteria, four questions. **Reactivation**: does it answer its own inputs as the layer does? "
    "**Specificity**: is it silent for all others? **Necessity**: is the concept lost without it, and nothing "
    "else? **Sufficiency**: does it work alone? None follows from another.",
    "A number says little without its control: a random change of the same size, or how often the same answer is "
    "given to all others.",
    "Concepts that share directions pay for each other. The right strength is found by a search, for each model.",
    "Erased from the answers is not gone from the network: to be sure, look inside, and try to train it back.",
)
"""What to remember when the tour is over."""
