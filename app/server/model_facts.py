"""What a model is, how large, and how it was trained: in words, without loading it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engram_core.concepts.sample_files import read_json
from engram_core.errors import EngramError
from engram_core.opening.samples import missing_samples, sample_folder

if TYPE_CHECKING:
    from .base import Base

__all__ = ["ModelFacts", "Missing", "facts_of", "missing", "others", "start_of"]


@dataclass(frozen=True)
class ModelFacts:
    """A model in words.

    Attributes:
        name: the name it is chosen by.
        title: a few words.
        summary: one sentence.
        details: size, training and score, in a line.
    """

    name: str
    title: str
    summary: str
    details: str


@dataclass(frozen=True)
class Missing:
    """A sample whose weights are not installed.

    Attributes:
        name: the name it would be chosen by.
        title: a few words.
        summary: one sentence.
        command: installs it.
    """

    name: str
    title: str
    summary: str
    command: str


def missing() -> list[Missing]:
    """Return the samples that one more package would add."""
    return [
        Missing(name, str(config["title"]), str(config["summary"]), str(config["weights"]["command"]))
        for name, config in missing_samples().items()
    ]


def _details(metrics: Mapping[str, Any], parameters: int | None) -> list[str]:
    parts = []
    count = parameters or metrics.get("parameters")
    if count:
        parts.append(f"{count:,} parameters, {4 * count / 2**20:.1f} MB in float32")
    if metrics.get("epochs"):
        size = metrics.get("train_size") or metrics.get("record", {}).get("size")
        on = f" on {size:,} {'images' if 'train_size' in metrics else 'sentences'}" if size else ""
        parts.append(f"trained by its train.py for {metrics['epochs']} epochs{on}")
    return parts


def facts_of(base: Base) -> ModelFacts:
    """Return the words about a loaded model."""
    sample = base.sample
    parameters = sum({id(p): p.numel() for p in sample.model.parameters()}.values())
    parts = [
        *_details(sample.metrics, parameters),
        f"{len(base.facts.classes)} concepts",
        f"{base.mean_score} on {sum(base.facts.held_out.values()):,} {base.probe}s",
    ]
    return ModelFacts(base.facts.name, sample.title, sample.summary, " · ".join(parts))


def others(names: Iterable[str], chosen: str) -> list[ModelFacts]:
    """Return the words about the models that are not chosen; none is loaded for it."""
    found = []
    for name in names:
        if name == chosen:
            continue
        try:
            folder = sample_folder(name)
            config, metrics = read_json(folder / "config.json"), read_json(folder / "metrics.json")
        except EngramError:
            config, metrics = {"title": name, "summary": "Opened on this server."}, {}
        details = " · ".join(_details(metrics, None))
        found.append(ModelFacts(name, str(config["title"]), str(config["summary"]), details))
    return found


def start_of(name: str) -> dict[str, Any]:
    """Return what the pages start with for a model (`explorer.json` of a sample); {} without any."""
    try:
        path = sample_folder(name) / "explorer.json"
        return read_json(path) if path.is_file() else {}
    except EngramError:
        return {}
