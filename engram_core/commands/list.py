"""`engram samples` and `engram layers`: what there is."""

from __future__ import annotations

from typing import Any

from ..models.layers import list_layers
from ..opening.samples import describe_sample, missing_samples, sample_names
from .shared import AsJson, ModelName, open_model, print_json, print_table

__all__ = ["layers", "samples"]


def samples(as_json: AsJson = False) -> None:
    """List the sample models."""
    rows: list[dict[str, Any]] = [
        {
            **{key: about[key] for key in ("name", "title", "summary", "concepts")},
            "parameters": about["metrics"]["parameters"],
            "scores": _trained(about["metrics"]),
            "model_hash": about["metrics"]["model_hash"],
        }
        for about in map(describe_sample, sample_names())
    ]
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


def _trained(metrics: dict[str, Any]) -> dict[str, float]:
    """Return what was measured when the model was made, by what it is; nothing for one made elsewhere."""
    if "test" in metrics:
        return {"test accuracy": metrics["test"]["accuracy"]}
    parts = {"recall": "record", "unseen phrasings": "probe"}
    return {what: metrics[part]["recall"] for what, part in parts.items() if part in metrics}


def layers(model: ModelName, as_json: AsJson = False) -> None:
    """List every layer of a model: covered, or why not."""
    infos = list_layers(open_model(model))
    if as_json:
        print_json({"model": model, "layers": [vars(info) for info in infos]})
        return
    print_table(
        f"Layers of {model}",
        ["layer", "kind", "width", "outputs", "covered", "reason"],
        [
            [i.name, i.kind, i.width or "", i.outputs or "", "yes" if i.covered else "no", i.reason]
            for i in infos
        ],
        caption="width: columns of the layer's input rows, with the bias column",
    )
