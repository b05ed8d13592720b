"""The guided tour as data: one idea a step, a question before each answer, on the real pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...figures.words.as_text import Markdown
from ...figures.words.tour import Measured, say_control, say_erased, say_kept_alone, say_neighbours

__all__ = ["LESSONS", "Lesson"]


@dataclass(frozen=True)
class Lesson:
    """One step of the tour.

    Attributes:
        title: its idea in a few words.
        idea: the idea, before anything is asked (Markdown).
        question: what to predict.
        options: the predictions on offer.
        answer: index of the right one; None if the screen decides and no option is simply right.
        reveal: what to look at now, and why (Markdown). What the figures show is said by `finding`, from
            their numbers, and never here.
        page: page it happens on.
        before: what is chosen on that page while the question stands.
        after: what is chosen once the answer is shown.
        after_page: page of the answer, if it is another one.
        finding: says what the scores of the answer's page come to; None where it has none.
    """

    title: Markdown
    idea: Markdown
    question: Markdown
    options: tuple[Markdown, ...]
    answer: int | None
    reveal: Markdown
    page: str
    before: Mapping[str, Any]
    after: Mapping[str, Any] = field(default_factory=dict)
    after_page: str = ""
    finding: Callable[[Measured], Markdown] | None = None


_DIGITS = {"model": "digits-mlp"}
_CLOTHES = {"model": "fashion-cnn"}
_AUTHORS = {"model": "authors-lm"}

LESSONS: tuple[Lesson, ...] = (
    Lesson(
        "What a trace is",
        "Each picture that passes through the network leaves a row of numbers at the entrance of every layer: "
        "its **trace**. The layer's weights were shaped by all such rows together. The **engram** of a concept "
        "is the part of the weights that answers the rows of that concept, and no training is needed to find "
        "it: one pass over the data, then a formula.",
        "Where is the memory of the digit 7?",
        ("In one neuron", "In one layer", "A part of it in every layer"),
        2,
        "Every column is a concept, every row a layer: look down the column of the 7. How large its part is "
        "differs between layers, and a value above 1 would be no mistake: an engram may also answer "
        "directions that the data hardly use.",
        "live",
        _DIGITS | {"class": "7", "image": 10},
        _DIGITS | {"concepts": ["7"]},
        "layers",
    ),
    Lesson(
        "Specificity: it answers its own",
        "The first of four tests of a memory. An engram of the 7 should answer to sevens and stay silent for "
        "all other digits. We feed each concept's pictures into each concept's engram and measure the size of "
        "the answer.",
        "Which cells of the concept × concept picture should be bright?",
        ("All of them", "The diagonal", "One row"),
        1,
        "The diagonal is each engram with its own pictures. What shines off the diagonal is shared: digits that "
        "look alike use the same directions, and no formula can give a shared direction to one of them alone.",
        "live",
        _DIGITS | {"class": "7", "image": 10},
        _DIGITS | {"criterion": "Specificity"},
        "criteria",
    ),
    Lesson(
        "Necessity: without it, the memory is gone",
        "Now we erase: we subtract the engram of the 7 from the weights of every layer: `W − E`. The picture "
        "on the screen is a 7 that the network knows well.",
        "What will the edited network say to this 7?",
        ("Still 7, a little less sure", "Another digit", "All ten digits equally"),
        1,
        "The network has no way to say “I do not know”: it was never taught to. Look further down, at all the "
        "pictures of 7 and at those of the other digits.",
        "live",
        _DIGITS | {"class": "7", "image": 10},
        _DIGITS | {"class": "7", "image": 10, "concepts": ["7"]},
        finding=say_erased,
    ),
    Lesson(
        "The control: would any change do this?",
        "An effect means little until something else fails to have it. The purple diamonds in the figure "
        "“Accuracy per class”, further down, are random changes of exactly the same size in each "
        "layer.",
        "What does a random change of that size do?",
        ("Nothing", "It harms most digits, some more than others", "It harms only the 7 as well"),
        1,
        "Where noise takes the 7 as well, “the 7 is gone” alone proves nothing. What would be evidence is an "
        "edit that takes the 7 and leaves the others, where noise of the same size does not.",
        "live",
        _DIGITS | {"class": "7", "image": 10, "concepts": ["7"], "strength": 0.5},
        _DIGITS | {"class": "7", "image": 10, "concepts": ["7"]},
        finding=say_control,
    ),
    Lesson(
        "Sufficiency: alone, does it work?",
        "The reverse test. We empty every layer and put back the engram of the 7 alone. The picture is a 3.",
        "What will a network that holds only the 7 say to a 3?",
        ("3", "7", "It cannot say anything sensible"),
        None,
        "Look at all ten bars of the lower figure, and not at the 7 alone: a network that holds one memory "
        "may give that answer to everything, and then “it recognises the 7” is hollow: what counts is whether "
        "it still tells a 7 from the rest. Deep language models fail this test altogether, and their page says "
        "so.",
        "live",
        _DIGITS | {"class": "3", "image": 1},
        _DIGITS | {"class": "3", "image": 1, "mode": "Keep only", "concepts": ["7"]},
        finding=say_kept_alone,
    ),
    Lesson(
        "Strength: a dial, not a switch",
        "Engrams add and subtract like vectors, so how much is subtracted is free: half, once, twice, or a "
        "negative amount, which adds the memory once more.",
        "What does half the strength do to the 7?",
        ("Half of the sevens are forgotten", "Nearly none", "Hard to say without looking"),
        2,
        "Scores do not follow the dial in a straight line. Move the slider yourself. The right strength differs "
        "between models and data: it has to be searched for, never assumed (`engram sweep` does it).",
        "live",
        _DIGITS | {"class": "7", "image": 10, "concepts": ["7"]},
        _DIGITS | {"class": "7", "image": 10, "concepts": ["7"], "strength": 0.5},
        finding=say_erased,
    ),
    Lesson(
        "Neighbours: what an edit costs",
        "Another network, which names clothes. Memories that look alike share directions, and what is shared "
        "goes with either of them.",
        "We erase the shirt. Which kind of clothing will notice most?",
        ("Sneakers", "Coats", "Trousers"),
        1,
        "The figure below the picture shows the cost for each class. A neighbour that gains is no mistake: "
        "pictures of it that were taken for shirts can now get their right name. Both are effects of sharing.",
        "live",
        _CLOTHES | {"class": "Shirt", "image": 1},
        _CLOTHES | {"class": "Shirt", "image": 1, "concepts": ["Shirt"]},
        finding=say_neighbours,
    ),
    Lesson(
        "The same in a language model",
        "This small language model knows six facts about each of a hundred invented authors. The formula is the "
        "same: the rows are now those of words.",
        "One author is erased. What about the other ninety-nine?",
        ("They are forgotten too", "They stay, nearly all", "Half of them go"),
        1,
        "The model goes on talking, about the author that is gone as well: read what it says. Erase ten at once "
        "and it gets harder: then look at selectivity under “Advanced”.",
        "live",
        _AUTHORS,
        _AUTHORS | {"concepts": ["Fabrice Pelliningway"]},
        finding=say_erased,
    ),
    Lesson(
        "Honest limits",
        "Three things to know before you rely on it. **Suppressed, not destroyed:** an independent audit found that "
        "a few steps of training bring the facts back, and that a simple reader still finds them in the hidden "
        "states. **Order:** engrams taken from the untouched base add in any order; taken one after the other "
        "from an edited model they do not. **Collateral:** near neighbours suffer, and a total that lacks "
        "some data does not protect it.",
        "After the edit, do the hidden states of this model still tell its concepts apart?",
        ("No, the erased one has melted into the others", "Yes, the groups are still there"),
        None,
        "Each dot is a held-out picture, placed by what enters the last layer of the edited network; the arrows "
        "come from where the base had it. Look whether the erased "
        "concept's dots still keep together: then something of the concept is still there to be read. A flat map is "
        "a hint and no proof; the audit measured it with probes. “Erase” means here that the engram is subtracted from the weights, and no more.",
        "live",
        _DIGITS | {"class": "7", "image": 10, "concepts": ["7"]},
        _DIGITS | {"concepts": ["7"], "points": "Inputs by hidden state", "after": True},
        "map",
    ),
)
