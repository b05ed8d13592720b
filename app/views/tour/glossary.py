"""The words of the explorer, one sentence each, and the mathematics behind them in one screen."""

from __future__ import annotations

from ...figures.words.layers import FORMS, KINDS
from ...figures.words.verdict import DEFINITION

__all__ = ["GLOSSARY", "MATHEMATICS"]

GLOSSARY: tuple[tuple[str, str], ...] = (
    # The network and what is in it.
    ("Base model", "The network as it was loaded. It is never changed; an edit is a second view of it."),
    ("Layer, weights W", "One step of the network: it multiplies every row that it reads by its weights W."),
    ("Covered layers", "The layers that can hold engrams. All others are listed with the reason."),
    ("Concept", "A named group of inputs: a class of pictures, an author, a fact."),
    ("Trace, row", "What one input leaves at the entrance of a layer: a row of numbers."),
    ("Direction", "A fixed mixture of the numbers in a row. Rows that point alike use the same directions."),
    ("Hidden state", "What a layer in the middle of the network reads of an input."),
    (
        "Held-out input",
        "An input that played no part in finding the engrams; every score is measured on these.",
    ),
    ("Token", "A piece of text that a language model reads and writes: a word or a part of one."),
    # From rows to an engram.
    (
        "Second moment Σ",
        "Sum of the products of rows with themselves: which directions they use, and how much.",
    ),
    ("Total", "The second moment of all data together; what is not in it is not protected."),
    ("Pseudo-inverse †", "The inverse of a matrix on the directions that occur; all others become zero."),
    ("Spectrum, eigenvalues", "The directions of Σ with how much the data use each of them."),
    ("Cut", "Directions with less than a tiny share of the largest one are noise and left out."),
    ("Filter P_c", "Σ_c Σ†: passes the directions that only the concept uses, stops those that it does not."),
    ("Engram", "The part of a layer's weights that answers one concept's rows: E = W Σ_c Σ†."),
    ("Exclusivity μ", "How far a direction is the concept's own (1) or shared with the rest (towards 0)."),
    # The edit.
    (
        "Edit, edited model",
        "Which engrams are subtracted or isolated, and how strongly; the network under it.",
    ),
    ("Erase", "Subtract a concept's engram from the weights: W − α E. No more is meant by it."),
    ("Erase jointly", "Erase several concepts at the same time, in one edit."),
    ("Isolate", "The reverse: the chosen concepts stay and all others go."),
    ("From zero weights", "How to isolate: layers start empty and hold the isolated concepts alone."),
    (
        "Subtract the others",
        "How to isolate: all other concepts are subtracted; what belongs to no concept stays.",
    ),
    ("Strength α", "How many times an engram is subtracted. Negative strengths amplify."),
    ("Scaling", "Plain: one strength for all layers. Adaptive: layers where the engram is larger get more."),
    (
        "Selectivity (exponent)",
        "Sparing directions that a concept shares: each is removed by its exclusivity to a power.",
    ),
    ("Cap at 1×", "No direction is subtracted more than once, whatever the strength."),
    ("Size of the edit ‖ΔW‖/‖W‖", "The change of the weights as a share of the weights."),
    # What is measured.
    (
        "The four criteria",
        "Reactivation, specificity, necessity and sufficiency: four questions to an engram.",
    ),
    ("Reactivation", "Does the engram answer its own inputs as the layer does? E x ≈ W x."),
    ("Specificity", "Is it silent for all others? ‖E X‖ / ‖W X‖ near 0 on their inputs."),
    ("Necessity", "Is the concept lost without the engram, and nothing else?"),
    ("Sufficiency", "Does the engram perform its concept alone, and only that one?"),
    (
        "Cosine",
        "How alike two rows of numbers point: 1 the same direction, 0 none in common, −1 the reverse.",
    ),
    ("Accuracy", "The share of held-out pictures that get their right name."),
    ("Recall", "The share of questions on a concept that are answered word for word."),
    (
        "Nats",
        "How unlikely a model finds the true answer: minus the logarithm of its probability, per token.",
    ),
    (
        "Next-token probabilities",
        "What a language model would write next, with the probability of each token.",
    ),
    ("Known, forgotten", DEFINITION.replace("**", "")),
    ("Damage", "What the concepts that were meant to stay lose."),
    ("Selective effect", "What the erased concept loses (or the isolated one gains) beyond the others."),
    ("Control", "A change of the same size that should not have the effect."),
    (
        "Random edit, random subset",
        "Two controls: noise as large as the edit; the engram of inputs drawn at random.",
    ),
    ("Effect vs controls", "The effect beside what its controls do; only the difference counts."),
    ("z", "How many standard deviations an effect lies above its controls."),
    (
        "p",
        "The share of controls at least as strong as the effect, itself included; small is convincing.",
    ),
    ("Seed", "The number that random draws begin with: the same seed gives the same draws."),
    ("Leakage bound", "How much of an engram's answer must leak, known from the statistics alone."),
    ("Forgetting against damage", "A point per setting: up forgets more, right harms more."),
    ("Validate on held-out concepts", "Try a setting on concepts that played no part in choosing it."),
    ("Reader, probe", "A simple classifier on hidden states: does it still find what the answers lost?"),
    # Pages and files.
    (
        "Map: PCA, UMAP",
        "Two ways to draw rows of many numbers on a plane: by a straight view, by neighbourhoods.",
    ),
    ("Scene", "A view with a sentence to it; several make a talk."),
    ("Presenter mode", "Large type and controls folded away, for a room."),
    ("Session file", "All that was chosen, as a small JSON file."),
    ("Temperature", "How freely a text is written: 0 takes the likeliest token each time."),
    ("Adapter (LoRA)", "The edit as two thin matrices per layer, for programs that load such files."),
    ("SHA-256", "A fingerprint of the weights: two models with the same one are the same."),
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
