"""What the train.py files of the sample models share: fitting, measuring, writing."""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import sys
import textwrap
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save as tensor_bytes
from torch import Tensor, nn

# In a checkout the package lies beside this folder and need not be installed.
if (Path(__file__).resolve().parents[1] / "engram_core").is_dir():
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engram_core.architectures import build  # noqa: E402

__all__ = ["accuracy", "arguments", "confusion_text", "idx_bytes", "predict", "train", "write_sample"]

THREADS = 2
"""Sums depend on how they are shared out, so the number of threads is part of the recipe."""


def arguments(description: str | None, folder: Path, *, data: Path | None = None) -> argparse.Namespace:
    """Read the command line of a train.py: ``--out`` and, if `data` is a default folder, ``--data``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--out", type=Path, default=folder, help="folder to write (default: this sample's own)"
    )
    if data is not None:
        parser.add_argument(
            "--data", type=Path, default=data, help="folder of the data (default: %(default)s)"
        )
    return parser.parse_args()


def train(config: Mapping[str, Any], images: Tensor, labels: Tensor) -> tuple[nn.Module, float]:
    """Build the model of `config` and train it by its ``training`` recipe.

    Cross-entropy, AdamW, and a learning rate that rises and falls once (OneCycleLR). The last
    epoch's weights are taken: no choice is made by looking at test images.

    Args:
        config: architecture, and in ``training``: seed, epochs, batch_size, learning_rate,
            weight_decay, and threads where it is not the usual number.
        images: shape (inputs, 1, height, width).
        labels: class indices, shape (inputs,).

    Returns:
        The model in evaluation mode, and the seconds it took.
    """
    recipe = config["training"]
    torch.set_num_threads(recipe.get("threads", THREADS))
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(recipe["seed"])
    model = build(config)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe["learning_rate"], weight_decay=recipe["weight_decay"]
    )
    size, epochs = recipe["batch_size"], recipe["epochs"]
    # A short last batch would count as much as a full one, so it is left out; the order is new each epoch.
    steps = len(images) // size
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe["learning_rate"], total_steps=epochs * steps
    )
    start = time.perf_counter()
    for epoch in range(epochs):
        total = 0.0
        for part in torch.randperm(len(images))[: steps * size].view(steps, size):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images[part]), labels[part])
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        elapsed = time.perf_counter() - start
        print(f"epoch {epoch + 1}/{epochs}: training loss {total / steps:.4f}, {elapsed:.0f} s", flush=True)
    return model.eval(), time.perf_counter() - start


def predict(model: nn.Module, images: Tensor) -> Tensor:
    """Return the class index answered for each image, shape (inputs,)."""
    with torch.no_grad():
        return torch.cat([model(part).argmax(-1) for part in images.split(1000)])


def accuracy(predicted: Tensor, labels: Tensor, classes: list[str]) -> dict[str, Any]:
    """Compare answers with labels, both class indices of shape (inputs,).

    Returns:
        ``accuracy`` over all images, ``per_class`` accuracy, and ``confusions``: the three most
        frequent mistakes as (class, answered as, share of the class), most frequent first.
    """
    pairs = torch.bincount(labels * len(classes) + predicted, minlength=len(classes) ** 2)
    shares = pairs.view(len(classes), -1).double()
    shares /= shares.sum(1, keepdim=True)
    wrong = shares.clone().fill_diagonal_(0).flatten()
    most = wrong.argsort(descending=True, stable=True)[:3].tolist()
    return {
        "accuracy": round(float((predicted == labels).double().mean()), 4),
        "per_class": {name: round(float(shares[i, i]), 4) for i, name in enumerate(classes)},
        "confusions": [
            [classes[i // len(classes)], classes[i % len(classes)], round(float(wrong[i]), 4)] for i in most
        ],
    }


def idx_bytes(array: np.ndarray) -> bytes:
    """Return a uint8 array as a gzipped IDX file, the same bytes on every run."""
    header = b"\x00\x00\x08" + bytes([array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return gzip.compress(header + array.astype(np.uint8).tobytes(), compresslevel=9, mtime=0)


def write_sample(
    folder: Path,
    config: dict[str, Any],
    model: nn.Module,
    measured: dict[str, Any],
    card: Callable[[Mapping[str, Any]], str],
    *,
    seconds: float,
    files: Mapping[str, bytes] | None = None,
) -> None:
    """Write model.safetensors, config.json, metrics.json, card.md and the sample's data files.

    Args:
        folder: where to write.
        config: becomes config.json, with the SHA-256 of the model and of every data file.
        model: the trained model.
        measured: what the sample adds to metrics.json (sizes and accuracies).
        card: makes the text of card.md from the metrics, so that it holds no other numbers.
        seconds: training time.
        files: name and content of each data file.
    """
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    binary = {"model.safetensors": tensor_bytes(state), **(files or {})}
    metrics = {
        "seed": config["training"]["seed"],
        "torch": torch.__version__,
        "threads": config["training"].get("threads", THREADS),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "epochs": config["training"]["epochs"],
        "seconds": round(seconds, 1),
        **measured,
    }
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in binary.items()}
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in binary.items():
        _write(folder / name, data)
    _write(folder / "metrics.json", _json(metrics))
    _write(folder / "card.md", _wrapped(card(metrics)).encode())
    # Last, because it vouches for the others.
    _write(folder / "config.json", _json({**config, "sha256": hashes}))
    print(f"wrote {folder}: test accuracy {metrics['test']['accuracy']}")


def confusion_text(measured: Mapping[str, Any]) -> str:
    """Return the most frequent mistakes as a phrase for a card."""
    return ", ".join(f"{a} taken for {b} ({share:.1%})" for a, b, share in measured["confusions"])


def _wrapped(text: str) -> str:
    """Fill the paragraphs of a Markdown text to 100 columns; headings and list items stay as they are."""
    blocks = []
    for block in text.strip().split("\n\n"):
        heading, rest = block.split("\n", 1) if block.startswith("#") and "\n" in block else ("", block)
        if not rest.startswith(("#", "*")):
            rest = textwrap.fill(" ".join(rest.split()), 100, break_long_words=False, break_on_hyphens=False)
        blocks.append(f"{heading}\n{rest}" if heading else rest)
    return "\n\n".join(blocks) + "\n"


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(data)
    os.replace(temporary, path)
