"""`engram samples`: the models that come with the program."""

from __future__ import annotations

from typing import Any

from ..opening.samples import describe_sample, missing_samples, sample_names
from .options import AsJson
from .printing import print_json
from .tables import print_table

__all__ = ["samples"]


def samples(as_json: AsJson = False) -> None:
    """List the sample models."""
    rows = [_row(about) for about in map(describe_sample, sample_names())]
    missing = [
        {"name": name, "title": c["title"], "summary": c["summary"], "install": c["weights"]["command"]}
        for name, c in missing_samples().items()
    ]
    if as_json:
        print_json({"samples": rows, "not_installed": missing})
        return
    print_table(
        "Sample models",
        ["name", "concepts", "parameters", "when trained", "what it is"],
        [
            [
                r["name"], len(r["concepts"]), f"{r['parameters']:,}",
                ", ".join(f"{what} {value:.3f}" for what, value in r["scores"].items()), r["title"],
            ]
            for r in rows
        ]
        + [[m["name"], "", "", "not installed", f"{m['title']}. To add it: {m['install']}"] for m in missing],
    )  # fmt: skip


def _row(about: dict[str, Any]) -> dict[str, Any]:
    return {
        **{key: about[key] for key in ("name", "title", "summary", "concepts")},
        "parameters": about["metrics"]["parameters"],
        "scores": _trained(about["metrics"]),
        "model_hash": about["metrics"]["model_hash"],
    }


def _trained(metrics: dict[str, Any]) -> dict[str, float]:
    """Return what was measured when the model was made, by what it is; nothing for one made elsewhere."""
    if "test" in metrics:
        return {"test accuracy": metrics["test"]["accuracy"]}
    parts = {"recall": "record", "unseen phrasings": "probe"}
    return {what: metrics[part]["recall"] for what, part in parts.items() if part in metrics}
