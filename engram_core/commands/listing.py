"""`engram samples` and `engram layers`: what there is."""

from __future__ import annotations

from typing import Any

from ..identity import model_hash
from ..layers import list_layers
from ..samples import load_sample, missing_samples, sample_names
from .shared import AsJson, ModelName, open_subject, print_json, print_table

__all__ = ["layers", "samples"]


def samples(as_json: AsJson = False) -> None:
    """List the sample models."""
    found = [load_sample(name) for name in sample_names()]
    rows: list[dict[str, Any]] = [
        {
            "name": s.name,
            "title": s.title,
            "summary": s.summary,
            "concepts": list(s.concepts),
            "parameters": sum(p.numel() for p in s.model.parameters()),
            "scores": _trained(s.metrics),
            "model_hash": model_hash(s.model),
        }
        for s in found
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
    infos = list_layers(open_subject(model).model)
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
