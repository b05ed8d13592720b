"""Train the sample model digits-mlp on scikit-learn's digits and write everything in its folder."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))

from training import accuracy, arguments, confusion_text, predict, train, write_sample  # noqa: E402

from engram_core.vision.samples import scaled, stratified_split  # noqa: E402

CLASSES = [str(digit) for digit in range(10)]

CONFIG: dict[str, Any] = {
    "kind": "image-classifier",
    "title": "Digits, a small perceptron",
    "summary": "A three-layer perceptron that reads handwritten digits in 8×8 pictures "
    "(scikit-learn's digits): the quickest sample to explore.",
    "architecture": "mlp",
    "options": {"widths": [64, 128, 128, 10], "bias": True},
    "classes": CLASSES,
    "image": {"shape": [8, 8], "value_range": [0.0, 1.0]},
    "data": {
        "kind": "sklearn-digits",
        "source": "sklearn.datasets.load_digits",
        "highest": 16,
        # The rule: engram_core.opening.samples.stratified_split(labels, fraction=held_out, seed=split_seed).
        "held_out": 0.2,
        "split_seed": 0,
    },
    "training": {
        "seed": 0,
        "epochs": 60,
        "batch_size": 64,
        "learning_rate": 3e-3,
        "weight_decay": 1e-2,
        # So small a model gains nothing from a second thread, and waits long for one on a busy machine.
        "threads": 1,
    },
}


def main() -> None:
    """Train on the recorded part, measure on the held-out part, and write the folder."""
    options = arguments("Train the sample model digits-mlp.", FOLDER)
    rule = CONFIG["data"]
    digits = load_digits()
    images = digits.images.astype(np.uint8)
    record, probe = stratified_split(digits.target, fraction=rule["held_out"], seed=rule["split_seed"])
    inputs = scaled(images, rule["highest"])
    labels = torch.from_numpy(digits.target)

    model, seconds = train(CONFIG, inputs[record], labels[record])
    test = accuracy(predict(model, inputs[probe]), labels[probe], CLASSES)
    measured = {
        "train_size": len(record),
        "test_size": len(probe),
        "record_size": len(record),
        "held_out_size": len(probe),
        "test": test,
        # Here the held-out part is the whole test set; both names exist so that samples read alike.
        "held_out": test,
    }
    digest = hashlib.sha256(images[probe].tobytes()).hexdigest()
    config = {**CONFIG, "data": {**rule, "held_out_sha256": digest}}
    write_sample(options.out, config, model, measured, card, seconds=seconds)


def card(metrics: Mapping[str, Any]) -> str:
    """Return the text of card.md; every number in it comes from the metrics or the config."""
    recipe, rule, per_class = CONFIG["training"], CONFIG["data"], metrics["test"]["per_class"]
    weakest = min(per_class, key=per_class.get)
    return f"""# digits-mlp

{CONFIG["summary"]}

## Data
The handwritten digits that scikit-learn bundles (`load_digits`; scikit-learn is under the BSD licence). They
come from the UCI repository, "Optical Recognition of Handwritten Digits" by E. Alpaydin and C. Kaynak.
Grey pictures of 8×8 pixels, ten classes. They are read from scikit-learn and not shipped here. A
fixed random split, equal in every class (held out: {rule["held_out"]:.0%}, seed {rule["split_seed"]}), gives
{metrics["train_size"]:,} pictures to train and record, and {metrics["test_size"]:,} held-out pictures to
measure on, which the model never saw.

## Model
Linear layers 64 → 128 → 128 → 10 with bias and ReLU between them. {metrics["parameters"]:,} parameters.
Pixels are scaled to 0–1.

## Training
Cross-entropy, AdamW, {recipe["epochs"]} epochs, batches of {recipe["batch_size"]}, one-cycle learning rate
up to {recipe["learning_rate"]}, weight decay {recipe["weight_decay"]}, seed {metrics["seed"]}. The weights of
the last epoch are kept. It took {metrics["seconds"]:.1f} seconds with torch {metrics["torch"]}.

## Accuracy
{metrics["test"]["accuracy"]:.2%} on the held-out part. The weakest class is {weakest}
({per_class[weakest]:.1%}). The most frequent mistakes: {confusion_text(metrics["test"])}.

## What to look at
* Erase one digit and read the row of its answers: which digits take its place?
* Keep only one digit: does the model still know it, and does it know anything else?
* Move the strength slowly from 0 to 1. Does the digit fade or fall?

## Limits
The pictures are tiny and there are few of them: with about {metrics["test_size"] // 10} held-out pictures per
class, one picture more or less moves a class by {10 / metrics["test_size"]:.1%}. The split is by picture, not
by writer. Larger handwriting, other scales or colours are outside what this model knows.
"""


if __name__ == "__main__":
    main()
