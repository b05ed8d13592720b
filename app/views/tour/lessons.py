"""The guided tour as data: one idea a step, a question before each answer, on the real pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...figures.words.as_text import Markdown
from ...figures.words.layers import FORMS, KINDS

__all__ = ["GLOSSARY", "LESSONS", "MATHEMATICS", "Lesson"]


@dataclass(frozen=True)
class Lesson:
    """One step of the tour.

    Attributes:
        title: its idea in a few words.
        idea: the idea, before anything is asked (Markdown).
        question: what to predict.
        options: the predictions on offer.
        answer: index of the right one; None if the screen decides and no option is simply right.
        reveal: what to look at now, and why (Markdown). Numbers are on the screen, never here.
        page: page it happens on.
        before: what is chosen on that page while the question stands.
        after: what is chosen once the answer is shown.
        after_page: page of the answer, if it is another one.
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
        "Every column is a concept, every row a layer. No cell of the 7 is empty: each layer holds a part. How "
        "large that part is differs between layers, and a value above 1 is no mistake: the engram may also "
        "answer directions that the data hardly use.",
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
        "Now the switch. We subtract the engram of the 7 from the weights of every layer: `W − E`. The picture "
        "on the screen is a 7 that the network knows well.",
        "What will the edited network say to this 7?",
        ("Still 7, a little less sure", "Another digit", "All ten digits equally"),
        1,
        "It names another digit, often one that looks like a 7. The network has no way to say “I do not know”: "
        "it was never taught to. Look further down: all the pictures of 7 go, the other digits stay nearly "
        "where they were.",
        "live",
        _DIGITS | {"class": "7", "image": 10},
        _DIGITS | {"class": "7", "image": 10, "concepts": ["7"]},
    ),
    Lesson(
        "The control: would any change do this?",
        "An effect means little until something else fails to have it. The purple diamonds in the figure "
        "“Every class on held-out images”, further down, are random changes of exactly the same size in each "
        "layer.",
        "What does a random change of that size do?",
        ("Nothing", "It harms all digits alike", "It harms only the 7 as well"),
        1,
        "The diamonds fall for every digit. So “the 7 is gone” alone proves nothing, since noise does that too. "
        "What noise does not do is to take the 7 and leave the others: that difference is the evidence.",
        "live",
        _DIGITS | {"class": "7", "image": 10, "concepts": ["7"], "strength": 0.5},
        _DIGITS | {"class": "7", "image": 10, "concepts": ["7"]},
    ),
    Lesson(
        "Sufficiency: alone, does it work?",
        "The reverse test. We empty every layer and put back the engram of the 7 alone. The picture is a 3.",
        "What will a network that holds only the 7 say to a 3?",
        ("3", "7", "It cannot say anything sensible"),
        None,
        "Look at all ten bars of the lower figure. The 7 itself is kept. Yet a network that holds one memory "
        "may give that answer to everything, and then “it recognises the 7” is hollow: what counts is whether "
        "it still tells a 7 from the rest. Deep language models fail this test altogether, and their page says "
        "so.",
        "live",
        _DIGITS | {"class": "3", "image": 1},
        _DIGITS | {"class": "3", "image": 1, "mode": "Keep only", "concepts": ["7"]},
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
    ),
    Lesson(
        "Neighbours: what an edit costs",
        "Another network, which names clothes. Memories that look alike share directions, and what is shared "
        "goes with either of them.",
        "We switch the shirt off. Which kind of clothing will notice most?",
        ("Sneakers", "T-shirts, pullovers or coats", "Trousers"),
        1,
        "The figure below the picture shows the cost for each class. Some neighbours may even gain: pictures "
        "that were mistaken for shirts now get their right name. Both are effects of sharing.",
        "live",
        _CLOTHES | {"class": "Shirt", "image": 1},
        _CLOTHES | {"class": "Shirt", "image": 1, "concepts": ["Shirt"]},
    ),
    Lesson(
        "The same in a language model",
        "This small language model knows six facts about each of a hundred invented authors. The formula is the "
        "same: the rows are now those of words.",
        "One author is switched off. What about the other ninety-nine?",
        ("They are forgotten too", "They stay, nearly all", "Half of them go"),
        1,
        "The model goes on talking and invents something else about the author that is gone. The others keep "
        "their facts. Erase ten at once and it gets harder: then look at sharpness under “Advanced”.",
        "live",
        _AUTHORS,
        _AUTHORS | {"concepts": ["Fabrice Pelliningway"]},
    ),
    Lesson(
        "Honest limits",
        "Three things to know before you rely on it. **Suppressed, not erased:** an independent audit found that "
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
        "a hint and no proof; the audit measured it with probes. That is why this explorer says “switched off”.",
        "live",
        _DIGITS | {"class": "7", "image": 10, "concepts": ["7"]},
        _DIGITS | {"concepts": ["7"], "points": "Inputs by hidden state", "after": True},
        "map",
    ),
)

GLOSSARY: tuple[tuple[str, str], ...] = (
    ("Concept", "A named group of inputs: a class of pictures, an author, a fact."),
    ("Trace", "What one input leaves at the entrance of a layer: a row of numbers."),
    ("Engram", "The part of a layer's weights that answers one concept's traces: E = W Σ_c Σ†."),
    (
        "Second moment Σ",
        "Sum of the products of traces with themselves: which directions they use, and how much.",
    ),
    ("Total", "The second moment of all data together; what is not in it is not protected."),
    ("Cut", "Directions with less than a tiny share of the largest one are noise and left out."),
    ("Strength α", "How many times an engram is subtracted. Negative strengths amplify."),
    ("Sharpness", "Sparing directions that a concept shares: each is removed by its exclusivity to a power."),
    ("Exclusivity", "How far a direction is the concept's own (1) or shared with the rest (towards 0)."),
    ("Keep from nothing", "Layers start empty and hold the kept memories alone."),
    ("Keep in place", "All other memories are subtracted; what belongs to no concept stays."),
    ("Control, sham edit", "A change of the same size that should not have the effect."),
    ("Selective loss", "What the erased concept loses beyond what the others lose."),
    ("Leak certificate", "How much of an engram's answer must leak, known from the statistics alone."),
    (
        "q, k, v, o, gate, up, down",
        "The linear maps inside a block of a transformer. "
        + "; ".join(f"{word}: {KINDS[word]}" for word in ("q", "k", "v", "o", "gate", "up", "down"))
        + ".",
    ),
    *((f"{form.capitalize()} form", f"The eigenvalues of Σ, {FORMS[form]}.") for form in FORMS),
)

MATHEMATICS = r"""
A layer with weights $W$ answers a row $x$ by $Wx$ (with a bias, $x$ gets a 1 at its end and $W$ a column).
The rows of concept $c$ are the columns of $X_c$; $\Sigma_c = X_c X_c^\top$ is their **uncentred second moment** and
$\Sigma = \sum_c \Sigma_c$ the total.

$$E_c = W\,\Sigma_c\,\Sigma^{\dagger}$$

minimises $\lVert (E - W) X_c \rVert^2 + \lVert E X_{\text{rest}} \rVert^2$: it answers the concept as the layer
does, and the rest not at all, as far as one matrix can do both. The two errors left over are one matrix,
$W Q$ with the parallel sum $Q = \Sigma_c \Sigma^{\dagger} \Sigma_{\text{rest}}$: the **leak certificate**.

* Erasing: $W - \sum_{c} \alpha_c E_c$. Keeping from nothing: $\sum_{c \in U} E_c$.
* All engrams of one total add up to $W$ on the span of the data, so any subset is one subtraction.
* $\Sigma^{\dagger}$ keeps eigenvalues above $D \cdot 1.19\cdot 10^{-7} \cdot \lambda_{\max}$; this **cut** is the regulariser.
* With fewer rows than columns everything is computed from the small matrix $X X^\top$, and the engram is a low-rank pair.

Source: *AI Engram: In Search of Memory Traces in Artificial Intelligence*, Kwon et al., ICML 2026, arXiv 2606.14997; the
leak certificate, exclusivity and sharpness are this project's (docs/numerics.md).
"""
