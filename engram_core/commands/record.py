"""`engram record`: what every layer reads, as statistics in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..recording.record import record as record_model
from ..recording.recording import Recording
from .grouping import grouped
from .options import AsJson, Blocks, Layers, OutFile, layer_names, numbers
from .printing import out_console, print_json
from .progress_bar import bar_of_progress
from .subject import SubjectOptions
from .tables import print_table

__all__ = ["record"]


@grouped
def record(
    chosen: SubjectOptions,
    out: OutFile,
    layers: Layers = None,
    blocks: Blocks = None,
    as_json: AsJson = False,
) -> None:
    """Record a model over all its concepts, and write the statistics."""
    sample = chosen.open()
    with bar_of_progress() as bar:
        recording = record_model(
            sample.model, sample.concepts, layers=layer_names(layers), blocks=numbers(blocks), progress=bar
        )
        recording.about = sample.concepts.about()
        recording.save(out)
    result = _result(chosen.model, recording, out)
    if as_json:
        print_json(result)
    else:
        _print(chosen.model, out, result)


def _result(model: str, recording: Recording, out: Path) -> dict[str, Any]:
    return {
        "model": model,
        "model_hash": recording.identity.digest,
        "file": str(out),
        "inputs": recording.counts,
        "rows": {layer: recording.sources[i].count for layer, i in recording.source_of.items()},
        "skipped": {i.name: i.reason for i in recording.layers if not i.covered},
    }


def _print(model: str, out: Path, result: dict[str, Any]) -> None:
    print_table(
        f"Recorded {model} → {out}", ["layer", "rows"], [[k, f"{v:,}"] for k, v in result["rows"].items()]
    )
    for name, reason in result["skipped"].items():
        out_console.print(f"skipped {name}: {reason}")
