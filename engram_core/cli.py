"""The command line: everything a page shows, as tables or JSON."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
import torch
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from .controls import gaussian_view
from .criteria import Criteria
from .criteria import criteria as measure_criteria
from .editing import live_edit
from .engram import Atlas
from .engram import extract as extract_atlas
from .errors import DependencyError, EngramError
from .identity import model_hash
from .layers import list_layers
from .measuring import CONTROL_SEEDS
from .recording import Recording
from .recording import record as record_model
from .samples import Sample, load_sample, sample_names
from .spectrum import Sharpness
from .storage import write_tensors

__all__ = ["app", "main"]

app = typer.Typer(
    name="engram",
    help="Find, erase, keep and measure single memories in trained neural networks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
_out = Console()
_err = Console(stderr=True)
_WIDEST = 20  # concepts; a wider matrix does not fit a terminal

# -- options that several commands share ----------------------------------------------------------

ModelName = Annotated[str, typer.Argument(help="A sample model (see `engram samples`).", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
Layers = Annotated[
    str | None,
    typer.Option(help="Comma-separated name suffixes, or re:PATTERN for a regular expression. Default: all."),
]
Blocks = Annotated[str | None, typer.Option(help="Comma-separated numbers: layers of these blocks only.")]
Power = Annotated[float, typer.Option("--sharpness", help="Power of the filter; 1 is the paper's engram.")]
Clip = Annotated[bool, typer.Option("--clip", help="Remove no direction more than once.")]
Cut = Annotated[
    float | None, typer.Option(help="Eigenvalue cut as a fraction of the largest; default width × 1.2e-7.")
]
Strength = Annotated[float, typer.Option(help="α; 1 is the engram itself.")]
ScalingName = Annotated[
    Literal["plain", "adaptive"], typer.Option("--scaling", help="How the layers are weighed.")
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the first sham.")]
OutFile = Annotated[Path, typer.Option("--out", "-o", help="File to write (.safetensors).")]


def _selection(layers: str | None) -> str | list[str] | None:
    if layers is None:
        return None
    if layers.startswith("re:"):
        return layers.removeprefix("re:")
    return [part.strip() for part in layers.split(",") if part.strip()]


def _numbers(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise EngramError(f"--blocks takes whole numbers separated by commas; found {text!r}.") from None


@contextmanager
def _bar() -> Iterator[Callable[[int, int | None, str], None]]:
    """Yield a progress callback that draws a bar on the error stream once a second has passed."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    started = time.monotonic()
    bar = Progress(*columns, TimeRemainingColumn(), console=_err, transient=True)
    task = bar.add_task("", total=None)
    shown = False

    def report(done: int, total: int | None, text: str) -> None:
        nonlocal shown
        bar.update(task, completed=done, total=total, description=text)
        if not shown and time.monotonic() - started > 1:
            shown = True
            bar.start()

    try:
        yield report
    finally:
        if shown:
            bar.stop()


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def _table(
    title: str, columns: list[str], rows: list[list[Any]], *, caption: str = "", digits: int = 3
) -> None:
    table = Table(title=title, caption=caption or None, title_justify="left", caption_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*(f"{v:.{digits}f}" if isinstance(v, float) else str(v) for v in row))
    _out.print(table)


def _matrix_table(title: str, frame: pd.DataFrame, column: str, caption: str) -> None:
    wide = frame.pivot(index="concept", columns="probe", values=column)
    order = list(dict.fromkeys(frame["probe"]))
    rows = [[name, *(float(wide.loc[name, p]) for p in order)] for name in dict.fromkeys(frame["concept"])]
    _table(title, ["", *order], rows, caption=caption, digits=2)


def _load(name: str) -> Sample:
    torch.set_num_threads(min(torch.get_num_threads(), 8))
    return load_sample(name)


def _atlas(sample: Sample, bar: Any, *, cut: float | None = None, **options: Any) -> Atlas:
    recording = record_model(sample.model, sample.concepts, progress=bar)
    return extract_atlas(sample.model, recording, cut=cut, progress=bar, **options)


# -- commands -------------------------------------------------------------------------------------


@app.command()
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
    if as_json:
        _print_json({"samples": rows})
        return
    _table(
        "Sample models",
        ["name", "concepts", "parameters", "when trained", "what it is"],
        [
            [
                r["name"], len(r["concepts"]), f"{r['parameters']:,}",
                ", ".join(f"{what} {value:.3f}" for what, value in r["scores"].items()), r["title"],
            ]
            for r in rows
        ],
    )  # fmt: skip


def _trained(metrics: dict[str, Any]) -> dict[str, float]:
    """Return what train.py measured, by what it measured."""
    if "test" in metrics:
        return {"test accuracy": metrics["test"]["accuracy"]}
    return {"recall": metrics["record"]["recall"], "unseen phrasings": metrics["probe"]["recall"]}


@app.command()
def layers(model: ModelName, as_json: AsJson = False) -> None:
    """List every layer of a model: covered, or why not."""
    infos = list_layers(_load(model).model)
    if as_json:
        _print_json({"model": model, "layers": [vars(info) for info in infos]})
        return
    _table(
        f"Layers of {model}",
        ["layer", "kind", "width", "outputs", "covered", "reason"],
        [
            [i.name, i.kind, i.width or "", i.outputs or "", "yes" if i.covered else "no", i.reason]
            for i in infos
        ],
        caption="width: columns of the layer's input rows, with the bias column",
    )


@app.command()
def record(
    model: ModelName, out: OutFile, layers: Layers = None, blocks: Blocks = None, as_json: AsJson = False
) -> None:
    """Record a model over all its concepts, and write the statistics."""
    sample = _load(model)
    with _bar() as bar:
        recording = record_model(
            sample.model, sample.concepts, layers=_selection(layers), blocks=_numbers(blocks), progress=bar
        )
        recording.save(out)
    result: dict[str, Any] = {
        "model": model,
        "model_hash": recording.identity.digest,
        "file": str(out),
        "inputs": recording.counts,
        "rows": {layer: recording.sources[i].count for layer, i in recording.source_of.items()},
        "skipped": {i.name: i.reason for i in recording.layers if not i.covered},
    }
    if as_json:
        _print_json(result)
        return
    _table(f"Recorded {model} → {out}", ["layer", "rows"], [[k, f"{v:,}"] for k, v in result["rows"].items()])
    for name, reason in result["skipped"].items():
        _out.print(f"skipped {name}: {reason}")


@app.command()
def extract(
    model: ModelName,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write (.safetensors).")] = None,
    recording: Annotated[Path | None, typer.Option(help="A file from `engram record`.")] = None,
    layers: Layers = None,
    blocks: Blocks = None,
    cut: Cut = None,
    sharpness: Power = 1.0,
    clip: Clip = False,
    as_json: AsJson = False,
) -> None:
    """Extract every concept's engram; print how large and how separable they are."""
    sample = _load(model)
    with _bar() as bar:
        recorded = (
            record_model(sample.model, sample.concepts, progress=bar)
            if recording is None
            else Recording.load(recording)
        )
        atlas = extract_atlas(
            sample.model, recorded, cut=cut, sharpness=Sharpness(sharpness, clip),
            layers=_selection(layers), blocks=_numbers(blocks), progress=bar,
        )  # fmt: skip
    if out is not None:
        atlas.save(out)
    table = atlas.energy().merge(atlas.certificates(), on=["layer", "concept"])
    spectra: dict[str, dict[str, Any]] = {
        layer: {
            "form": atlas.spectrum(layer).form,
            "cut": atlas.spectrum(layer).cut,
            "width": atlas.spectrum(layer).width,
            "kept": atlas.spectrum(layer).rank.tolist(),
        }
        for layer in atlas.layers
    }
    if as_json:
        _print_json(
            {
                "model": model,
                "model_hash": atlas.identity.digest,
                "file": None if out is None else str(out),
                "sharpness": {"power": sharpness, "clip": clip},
                "layers": spectra,
                "engrams": table.to_dict("records"),
            }
        )
        return
    _table(
        "Totals",
        ["layer", "form", "width", "kept by the cut"],
        [[k, v["form"], v["width"], v["kept"][0]] for k, v in spectra.items()],
    )
    _table(
        "Engrams",
        ["layer", "concept", "‖E‖/‖W‖", "rank ≤", "leak", "residue"],
        table[["layer", "concept", "relative", "rank", "leak", "residue"]].to_numpy(object).tolist(),
        caption="leak: share of the response that goes to other concepts; residue: share that stays behind",
    )
    if out is not None:
        _out.print(f"wrote {out}")


@app.command()
def criteria(
    model: ModelName,
    strength: Strength = 1.0,
    scaling: ScalingName = "plain",
    sharpness: Power = 1.0,
    clip: Clip = False,
    layers: Layers = None,
    concepts: Annotated[
        str | None, typer.Option(help="Comma-separated: only these concepts' engrams. Default: all.")
    ] = None,
    controls: Annotated[int, typer.Option(help="Shams of each kind; 0 leaves them out.")] = CONTROL_SEEDS,
    seed: Seed = 0,
    cut: Cut = None,
    as_json: AsJson = False,
) -> None:
    """Measure specificity, reactivation, sufficiency and necessity on held-out inputs."""
    if controls == 1 or controls < 0:
        raise EngramError(f"--controls must be 0, or at least 2 for a spread; found {controls}.")
    sample = _load(model)
    with _bar() as bar:
        atlas = _atlas(sample, bar, cut=cut, sharpness=Sharpness(sharpness, clip))
        found = measure_criteria(
            sample, atlas, strength=strength, scaling=scaling, layers=_selection(layers),
            concepts=None if concepts is None else [c.strip() for c in concepts.split(",")],
            controls=controls, seed=seed, progress=bar,
        )  # fmt: skip
    if as_json:
        _print_json({"model": model} | found.to_dict())
    else:
        _print_criteria(model, found)


def _print_criteria(model: str, found: Criteria) -> None:
    necessity, sufficiency = found.necessity, found.sufficiency
    if necessity["probe"].nunique() > _WIDEST:
        _print_summary(found)
        return
    base = necessity[necessity["concept"] == necessity["concept"].iloc[0]]
    _table(
        "Base model", list(base["probe"]), [[float(v) for v in base["base"]]],
        caption="score on held-out inputs", digits=2,
    )  # fmt: skip
    _matrix_table(
        f"Necessity: {model} without each concept (α = {found.settings['strength']:g})",
        necessity, "score",
        "row: erased concept; column: accuracy on that concept's held-out inputs; diagonal should fall",
    )  # fmt: skip
    _matrix_table(
        "Sufficiency: each concept kept alone, from nothing",
        sufficiency, "says",
        "row: kept concept; column: share of inputs answered with it (diagonal: its accuracy; "
        "high elsewhere: it answers that to everything)",
    )  # fmt: skip
    _print_summary(found)


def _print_summary(found: Criteria) -> None:
    necessity, sufficiency = found.necessity, found.sufficiency
    own, other = necessity["concept"] == necessity["probe"], necessity["concept"] != necessity["probe"]
    kept = sufficiency[sufficiency["concept"] == sufficiency["probe"]]
    rows = [
        ["erased concept, mean score", float(necessity[own]["score"].mean())],
        ["others, mean loss", float(-necessity[other]["delta"].mean())],
        ["others, worst loss", float(-necessity[other]["delta"].min())],
        ["kept alone, mean score", float(kept["score"].mean())],
    ]
    if "gaussian" in necessity:
        per_concept = necessity.drop_duplicates("concept")
        rows += [
            ["sham (Gaussian, same norm): own class", float(necessity[own]["gaussian"].mean())],
            ["sham (Gaussian, same norm): others", float(necessity[other]["gaussian"].mean())],
            ["sham (random subset, same size): own class", float(necessity[own]["subset"].mean())],
            ["sham (random subset, same size): others", float(necessity[other]["subset"].mean())],
            ["selective loss (own − others), mean", float(per_concept["selective"].mean())],
            ["  the same for Gaussian shams", float(per_concept["selective_gaussian"].mean())],
            ["  the same for random subsets", float(per_concept["selective_subset"].mean())],
            ["  largest p over concepts, Gaussian", float(per_concept["selective_gaussian_p"].max())],
            ["  largest p over concepts, random subset", float(per_concept["selective_subset_p"].max())],
        ]
    _table("Summary", ["", "value"], rows)


def _strengths(terms: list[str], default: float) -> dict[str, float]:
    found = {}
    for term in terms:
        name, equals, value = term.rpartition("=")
        try:
            found[name if equals else term] = float(value) if equals else default
        except ValueError:
            raise EngramError(f"{term!r}: the strength after = must be a number.") from None
    return found


@app.command()
def erase(
    model: ModelName,
    concepts: Annotated[
        list[str] | None, typer.Argument(help="Concepts to erase, each as NAME or NAME=STRENGTH.")
    ] = None,
    keep: Annotated[
        list[str] | None, typer.Option("--keep", help="Keep only this concept (repeatable).")
    ] = None,
    null: Annotated[
        Literal["nothing", "in place"], typer.Option(help="What keeping starts from.")
    ] = "nothing",
    strength: Strength = 1.0,
    scaling: ScalingName = "plain",
    sharpness: Power = 1.0,
    clip: Clip = False,
    layers: Layers = None,
    blocks: Blocks = None,
    seed: Seed = 0,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write the edited weights (.safetensors).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Erase concepts, or keep only some; show the scores before and after, and a sham beside them."""
    if not concepts and not keep:
        raise EngramError("Name a concept to erase, or one to keep with --keep NAME.")
    sample = _load(model)
    with _bar() as bar:
        atlas = _atlas(sample, bar, sharpness=Sharpness(sharpness, clip))
        view = atlas.apply(
            sample.model, erase=_strengths(concepts or [], strength), keep=keep or None, null=null,
            scaling=scaling, layers=_selection(layers), blocks=_numbers(blocks),
        )  # fmt: skip
        control = live_edit(view)
        report = control.report()
        base = sample.task.measure(sample.model, sample.concepts)
        after = sample.task.measure(view, sample.concepts)
        sham = sample.task.measure(gaussian_view(atlas, control.edit, seed), sample.concepts)
    if out is not None:
        state = control.bake().state_dict()
        about = {
            "kind": "edited weights",
            "model": atlas.identity.digest,
            "edit": {
                "erase": dict(control.edit.erase),
                "keep": None if control.edit.keep is None else dict(control.edit.keep),
                "null": null,
                "scaling": scaling,
                "sharpness": {"power": sharpness, "clip": clip},
                "layers": list(control.edit.layers),
            },
        }
        write_tensors(out, state, about)
    if as_json:
        _print_json(
            {
                "model": model,
                "model_hash": atlas.identity.digest,
                "base": base.score,
                "edited": after.score,
                "control": sham.score,
                "erased": report.erased,
                "kept": report.kept,
                "layers": report.per_layer,
                "relative_change": report.relative,
                "seed": seed,
                "file": None if out is None else str(out),
            }
        )
        return
    rows = [
        [name, base.score[name], after.score[name], after.score[name] - base.score[name], sham.score[name]]
        for name in sample.concepts
    ]
    _table(
        f"{model}: held-out {sample.task.unit}",
        ["concept", "base", "edited", "difference", "sham"],
        rows,
        caption="sham: a Gaussian edit of the same norm in every layer",
    )
    changed = ", ".join(f"{name} {value:.2f}" for name, value in report.per_layer.items())
    _out.print(f"Changed ‖ΔW‖/‖W‖ = {report.relative:.3f} ({changed}). The base model is untouched.")
    if out is not None:
        _out.print(f"wrote {out}")


@app.command(name="app")
def open_app(
    host: Annotated[
        str, typer.Option(help="Address to listen on; 127.0.0.1 is this machine only.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8501,
    browser: Annotated[bool, typer.Option(help="Open a browser window.")] = True,
) -> None:
    """Open the explorer in the browser."""
    # The core knows nothing of screens: the app is another program, started as one.
    missing = [name for name in ("streamlit", "plotly", "app") if importlib.util.find_spec(name) is None]
    if missing:
        raise DependencyError(
            f"The explorer needs {', '.join(missing)}: install it with  pip install 'engram-explorer[app]'."
        )
    command = [sys.executable, "-m", "app.launch", "--host", host, "--port", str(port)]
    # Threads that spin while they wait freeze a page on a busy machine; sleeping ones cost next to nothing.
    settings = {"OMP_WAIT_POLICY": "passive"} | os.environ
    raise typer.Exit(subprocess.call(command + ([] if browser else ["--no-browser"]), env=settings))


def main() -> None:
    """Run the command line; errors are one sentence and exit status 2."""
    try:
        app()
    except EngramError as error:
        # Messages quote what was typed; a bracket in it is no markup.
        _err.print(f"[bold red]Error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        _err.print("Stopped.")
        sys.exit(130)
