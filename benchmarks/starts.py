"""From a click on a sample to its first live answer: `python -m benchmarks.starts [--samples NAME …]`.

Every start is a process of its own, with PyTorch's threads as the app sets them. Cold is a cache without
anything in it, except that SmolLM2 has been converted (a note says how long that takes); warm is the start
after it. The same is measured for one question on the command line.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "starts.md"
PRETRAINED = "smollm2-135m"
QUESTION = ("ask", PRETRAINED, "The capital of France is", "capital of France=0.5", "--sharpness", "4")


def _child(name: str) -> None:
    """Open a sample as the app does, erase its first concept, and answer once; print the seconds."""
    from app.choice.choice import clean
    from app.choice.picture import clean_picture
    from app.compute import texts
    from app.compute.edited_view import Visitor
    from app.compute.images import answer
    from app.server.background_load import BackgroundLoad

    began = time.perf_counter()
    loading = BackgroundLoad.of_sample(name)
    base = loading.base()
    opened = time.perf_counter() - began
    visitor = Visitor(base)
    concept = base.facts.classes[0]
    choice = clean({"concepts": [concept]}, base.facts)
    visitor.put(choice)
    edited = time.perf_counter() - began
    if base.is_text:
        prompt = texts.questions_of(base, concept)[0].prompt
        next(
            iter(
                texts.continue_both(
                    base, choice, prompt, max_new_tokens=1, temperature=0.0, seed=0, chat=False
                )
            )
        )
    else:
        answer(
            base, visitor, clean_picture({"class": concept, "image": 1}, base.facts, base.sample.image_shape)
        )
    answered = time.perf_counter() - began
    loading.join()
    whole = time.perf_counter() - began
    print(json.dumps({"opened": opened, "edited": edited, "answered": answered, "kept": whole}))


def _run(environment: dict[str, str], *command: str) -> tuple[float, str]:
    began = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return time.perf_counter() - began, done.stdout


def _start(environment: dict[str, str], name: str) -> dict[str, float]:
    _, out = _run(environment, sys.executable, "-m", "benchmarks.starts", "--child", name)
    found: dict[str, float] = json.loads(out.splitlines()[-1])
    return found


def document(samples: list[str], runs: int) -> str:
    """Measure everything and return the page."""
    rows, notes = [], []
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        environment = dict(os.environ) | {"ENGRAM_CACHE": folder, "HF_HUB_OFFLINE": "1"}
        if PRETRAINED in samples:
            load = f"import engram_core as ec; ec.load_sample({PRETRAINED!r})"
            seconds, _ = _run(environment, sys.executable, "-c", load)
            notes.append(f"SmolLM2's one conversion, imports and all, takes {seconds:.0f} s.")
        for name in samples:
            cold = _start(environment, name)
            warm = sorted((_start(environment, name) for _ in range(runs)), key=lambda one: one["answered"])
            one = warm[len(warm) // 2]
            figures = [
                f"{cold['answered']:.1f}", f"{cold['kept']:.1f}",
                f"{one['answered']:.2f}", f"{one['opened']:.2f}",
                f"{one['edited'] - one['opened']:.2f}", f"{one['answered'] - one['edited']:.2f}",
            ]  # fmt: skip
            rows.append(f"| `{name}` | {' | '.join(figures)} |")
        if PRETRAINED in samples:
            command = [sys.executable, "-c", "from engram_core.cli import main; main()", *QUESTION]
            seconds = sorted(_run(environment, *command)[0] for _ in range(runs))
            asked = " ".join(repr(part) if " " in part else part for part in QUESTION)
            notes.append(
                f"`engram {asked}` with a filled cache: {seconds[len(seconds) // 2]:.1f} s from the shell "
                f"and back (median of {runs}; wanted: 20 s)."
            )
    lines = [
        "# From a click to the first answer",
        "",
        "Made by `python -m benchmarks.starts`. Seconds from the choice of a sample to the edited model's",
        "first answer, each in a process of its own that has imported the app "
        f"({os.cpu_count()} processors, Python {platform.python_version()};",
        f"load {before:.1f} before, {os.getloadavg()[0]:.1f} after). Wanted when warm: 5 s.",
        "",
        "*Cold*: nothing is kept, so the data is recorded and solved. *Kept*: until what was solved is also",
        "on disk, which goes on after the answer. *Warm*: the next start, "
        f"median of {runs}; the last columns are its parts.",
        "",
        "| sample | cold | cold, kept | warm | opened | first edit | first answer |",
        "|---|--:|--:|--:|--:|--:|--:|",
        *rows,
        "",
        *notes,
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure and write the page."""
    import engram_core as ec

    parser = argparse.ArgumentParser()
    parser.add_argument("--samples", nargs="+", default=ec.sample_names())
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path, default=PAGE)
    parser.add_argument("--child", default="")
    options = parser.parse_args()
    if options.child:
        _child(options.child)
        return
    text = document(options.samples, options.runs)
    options.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
