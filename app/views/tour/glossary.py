"""The words of the explorer, one sentence each, and the mathematics behind them in one screen."""

from __future__ import annotations

from ...figures.words.layers import FORMS, KINDS
from ...figures.words.verdict import DEFINITION

__all__ = ["GLOSSARY", "MATHEMATICS"]

GLOSSARY: tuple[tuple[str, str], ...] = (
    ("Known, forgotten", DEFINITION.replace("**", "")),
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
    (
        "Selectivity (exponent)",
        "Sparing directions that a concept shares: each is removed by its exclusivity to a power.",
    ),
    ("Exclusivity", "How far a direction is the concept's own (1) or shared with the rest (towards 0)."),
    ("From zero weights", "How to isolate: layers start empty and hold the isolated concepts alone."),
    (
        "Subtract the others",
        "How to isolate: all other concepts are subtracted; what belongs to no concept stays.",
    ),
    ("Control", "A change of the same size that should not have the effect."),
    ("Selective loss", "What the erased concept loses beyond what the others lose."),
    ("Leakage bound", "How much of an engram's answer must leak, known from the statistics alone."),
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
The rows of concept $c$ are the columns of $X_c$; $\Sigma_c = X_c X_c^\top$ is their **uncentred second
moment** and $\Sigma = \sum_c \Sigma_c$ the total.

$$E_c = W\,\Sigma_c\,\Sigma^{\dagger}$$

minimises $\lVert (E - W) X_c \rVert^2 + \lVert E X_{\text{rest}} \rVert^2$: it answers the concept as
the layer does, and the rest not at all, as far as one matrix can do both. The two errors left over are one
matrix, $W Q$ with the parallel sum $Q = \Sigma_c \Sigma^{\dagger} \Sigma_{\text{rest}}$:
the **leakage bound**.

* Erasing: $W - \sum_{c} \alpha_c E_c$. Keeping from nothing: $\sum_{c \in U} E_c$.
* All engrams of one total add up to $W$ on the span of the data, so any subset is one subtraction.
* $\Sigma^{\dagger}$ keeps eigenvalues above $D \cdot 1.19\cdot 10^{-7} \cdot \lambda_{\max}$; this **cut**
  is the regulariser.
* With fewer rows than columns everything is computed from the small matrix $X X^\top$, and the engram is
  a low-rank pair.

Source: *AI Engram: In Search of Memory Traces in Artificial Intelligence*, Kwon et al., ICML 2026, arXiv
2606.14997; the leakage bound, exclusivity and selectivity (`Sharpness` in the code) are this project's
(docs/numerics.md).
"""
