"""Train the sample model wine-mlp on scikit-learn's wines and write everything in its folder."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_wine

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))

from training import accuracy, arguments, confusion_text, predict, train, write_sample  # noqa: E402

from engram_core.concepts.features import Features  # noqa: E402
from engram_core.vision.samples import stratified_split  # noqa: E402

CLASSES = ["Barolo", "Grignolino", "Barbera"]
FEATURES = [
    "alcohol", "malic acid", "ash", "alkalinity of ash", "magnesium", "total phenols", "flavanoids",
    "nonflavanoid phenols", "proanthocyanins", "colour intensity", "hue", "OD280/OD315", "proline",
]  # fmt: skip

CONFIG: dict[str, Any] = {
    "kind": "table-classifier",
    "title": "Wines, a table of 13 measurements",
    "summary": "A small perceptron that tells three grape varieties apart by 13 chemical measurements "
    "(scikit-learn's wines): move each one with a slider.",
    "architecture": "mlp",
    "options": {"widths": [13, 32, 32, 3], "bias": True},
    "classes": CLASSES,
    "data": {
        "kind": "sklearn-wine",
        "source": "sklearn.datasets.load_wine",
        # The rule: engram_core.vision.samples.stratified_split(labels, fraction=held_out, seed=split_seed).
        "held_out": 0.25,
        "split_seed": 0,
    },
    "training": {
        "seed": 0,
        "epochs": 60,
        "batch_size": 16,
        "learning_rate": 5e-3,
        "weight_decay": 1e-2,
        # So small a model gains nothing from a second thread, and waits long for one on a busy machine.
        "threads": 1,
    },
}


def main() -> None:
    """Train on the recorded part, measure on the held-out part, and write the folder."""
    options = arguments("Train the sample model wine-mlp.", FOLDER)
    rule = CONFIG["data"]
    wines = load_wine()
    values = np.ascontiguousarray(wines.data, np.float64)
    record, probe = stratified_split(wines.target, fraction=rule["held_out"], seed=rule["split_seed"])
    # Of the recorded part alone: the held-out rows are to be as unknown as any wine of tomorrow.
    mean, std = (np.round(part, 6) for part in (values[record].mean(0), values[record].std(0)))
    features = Features(tuple(FEATURES), tuple(mean.tolist()), tuple(std.tolist()))
    inputs, labels = torch.from_numpy(features.read(values)), torch.from_numpy(wines.target)

    model, seconds = train(CONFIG, inputs[record], labels[record])
    test = accuracy(predict(model, inputs[probe]), labels[probe], CLASSES)
    # There are fewer kinds of mistakes than places for them.
    test["confusions"] = [mistake for mistake in test["confusions"] if mistake[2] > 0]
    measured = {
        "train_size": len(record),
        "test_size": len(probe),
        "record_size": len(record),
        "held_out_size": len(probe),
        "test": test,
        # Here the held-out part is the whole test set; both names exist so that samples read alike.
        "held_out": test,
    }
    config = {
        **CONFIG,
        "features": {"names": list(features.names), "mean": list(features.mean), "std": list(features.std)},
        "data": {**rule, "sha256": hashlib.sha256(values.tobytes()).hexdigest()},
    }
    write_sample(options.out, config, model, measured, card, seconds=seconds)


def card(metrics: Mapping[str, Any]) -> str:
    """Return the text of card.md; every number in it comes from the metrics or the config."""
    recipe, rule, per_class = CONFIG["training"], CONFIG["data"], metrics["test"]["per_class"]
    weakest = min(per_class, key=per_class.get)
    wrong = round((1 - metrics["test"]["accuracy"]) * metrics["test_size"])
    mistakes = f"The most frequent mistakes: {confusion_text(metrics['test'])}." if wrong else ""
    return f"""# wine-mlp

{CONFIG["summary"]}

## Data
The wine recognition data that scikit-learn bundles (`load_wine`; scikit-learn is under the BSD licence).
They come from the UCI repository, "Wine" by S. Aeberhard and M. Forina: 13 measurements of wines from one
region of Italy, of three grape varieties, called Barolo, Grignolino and Barbera where Forina published them.
They are read from scikit-learn and not shipped here. A fixed random split, equal in every class (held out:
{rule["held_out"]:.0%}, seed {rule["split_seed"]}), gives {metrics["train_size"]} wines to train and record,
and {metrics["test_size"]} held-out wines to measure on, which the model never saw.

## Model
Linear layers 13 → 32 → 32 → 3 with bias and ReLU between them. {metrics["parameters"]:,} parameters. Each
measurement is taken minus its mean and divided by its standard deviation, both of the recorded wines.

## Training
Cross-entropy, AdamW, {recipe["epochs"]} epochs, batches of {recipe["batch_size"]}, one-cycle learning rate
up to {recipe["learning_rate"]}, weight decay {recipe["weight_decay"]}, seed {metrics["seed"]}. The weights of
the last epoch are kept. It took {metrics["seconds"]:.1f} seconds with torch {metrics["torch"]}.

## Accuracy
{metrics["test"]["accuracy"]:.2%} on the held-out part ({wrong} of {metrics["test_size"]} wrong). The weakest
class is {weakest} ({per_class[weakest]:.1%}). {mistakes}

## What to look at
* Switch one variety off and move alcohol, flavanoids or proline: where does the base model change its mind,
  and where does the edited one?
* Keep only one variety: does the model still tell it from the others?
* Move the strength slowly from 0 to 1. Does the answer fade or fall?

## Limits
There are few wines: with about {metrics["test_size"] // 3} held-out wines per class, one wine more or less
moves a class by {3 / metrics["test_size"]:.1%}. All come from one region, and a slider can make a wine that
nobody has ever pressed: the model answers all the same.
"""


if __name__ == "__main__":
    main()
