"""The table, and how it was measured, as Markdown."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version

import torch

from .cases import REFERENCE_SECONDS, Row

METHOD = """## How it was measured

* Both sides run in one process, in turn, and the order alternates. Every figure is a median; a ratio is
  taken run by run and its range stands in brackets. The reference is run again only while it has taken
  less than {budget:.0f} s in a case, so slow cases have fewer runs of it (the column "runs" says how many of
  ours and of theirs); runs of ours beyond that are held against the median of theirs.
* "CPU time" is the same ratio in processor seconds of the process, which other programs on the machine
  disturb less than the wall clock. Waiting threads sleep (`OMP_WAIT_POLICY=passive`), for both sides: on a
  machine with other work, spinning threads make decompositions, of which the reference has most, up to a
  hundred times slower.
* No figure is printed before the results of both sides were compared, layer by layer; the run stops if any
  engram differs by more than 1e-3 (relative). Found here: {agreement}.
* **A** is a Qwen3-shaped random model (hidden 1024, intermediate 3072, 16/8 heads of 128, 4 layers,
  vocabulary 32,000, tied), **B** a Llama-3.2-1B-shaped one (hidden 2048, intermediate 8192, 32/8 heads of 64,
  1 layer). Data: 32 sentences of 16 random tokens; the first 8 are the target, all 32 the total. float32.
* The reference gets all 32 sentences in one batch (`batch_size=32`) and only the layers that we cover
  (`target_modules`), so it does not decompose the tied head's input. Ours is recorded with
  `mix=True`, also one forward pass, the 24 other sentences as background.
* Our batches carry `use_cache=False, logits_to_keep=1`: no covered layer needs the cache or the head. The
  peer's `get_engram` builds its own calls and cannot be told so. The rows "without saving the head's work"
  and "barest forward pass" show what that is worth. Rows without a target are for comparison.
* "Record, extract and apply" ends with an edited model that answers. Our engram is a pair of thin factors
  and the edit works on a layer's input, so no dense ΔW is needed; a row shows the time with all of them
  written out. An edited view costs more per forward pass than a plain model; a row shows that too (`bake()`
  takes it away).
* 8 calls of `get_engram`: timed call by call with the different targets, as many as the time allows, times 8.
* MLP: 784-500-100-10 without bias, ten classes of 1,000 seeded structured images. The reference's best way:
  statistics once per class, the total by merging them, then one `compute_engram_weights` per class.
* "6 facts" are six concepts of SmolLM2's sample with 4 sentences each, and 10 background sentences. The
  Qwen3-shaped model has A's sizes, random weights, and SmolLM2's tokenizer and text. The bare forward pass
  gets the very batches that the recording makes of the text. One call of the reference is timed for one
  fact; all six count as six times that. "First new token" is one decoding step with a cache of the prompt's
  other tokens, one fact off. "A token with two concepts off" is one of 40 given tokens, each with a cache,
  on one thread; the rows are those of random tokens, with as many of background (`python -m
  benchmarks.token_time`). An edit of r rows adds `r · (columns + outputs)` values to be read per layer input:
  of 128 rows that is 16 % of SmolLM2's own weights, so that the memory's speed sets the limit there.
* "Its 24 concepts" are all of SmolLM2's sample, as the explorer's first start records and extracts them with
  nothing in its cache; loading the model is not in it. The target is in seconds, on two cores with nothing
  else running, so such a row says nothing about another machine or a busy one.
* Memory: one fresh process per side. The model is built and has answered one sentence; what is resident then
  is zero, the kernel's high-water mark is reset (`/proc/self/clear_refs`), and read after the work (`VmHWM`).
"""


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    lines = [
        "| case | ours | theirs | ratio | CPU time | runs | target | |",
        "|---|--:|--:|--:|--:|--:|--:|---|",
    ]
    for row in rows:
        values = row.shown(row.ratios)
        ratio = f"**{_times(row.median)}** [{_times(min(values))}–{_times(max(values))}]"
        cpu = _times(statistics.median(row.shown(row.cpu))) if row.cpu else ""
        sign = "≤" if row.inverse else "≥"
        target = "" if row.target is None else f"{sign} {row.target:g}×"
        verdict = {None: "", True: "met", False: "**missed**"}[row.met]
        runs = f"{row.runs[0]} / {row.runs[1]}"
        lines.append(
            f"| {row.case} | {row.ours} | {row.theirs} | {ratio} | {cpu} | {runs} | {target} | {verdict} |"
        )
    return "\n".join(lines)


def _times(value: float) -> str:
    return f"{value:.0f}×" if value >= 100 else f"{value:.3g}×"


def document(
    rows: Sequence[Row],
    *,
    left_out: Sequence[str],
    agreement: Mapping[str, float],
    noise: float,
    seconds: float,
) -> str:
    """Return the whole page."""
    missed = [row.case for row in rows if row.met is False]
    verdict = "Every target is met." if not missed else f"Missed: {'; '.join(missed)}."
    if left_out:
        verdict += f" Not run: {', '.join(left_out)}."
    found = ", ".join(f"{name} {value:.0e}" for name, value in agreement.items()) or "nothing compared"
    head = f"""# Benchmarks

Written by `make bench`; do not edit. Engram Explorer against the reference implementation
`ai-engram` {version("ai-engram")}, side by side. Ratios with "≥" say how many times faster (or smaller) ours
is; ratios with "≤" how many times longer ours takes.

{table(rows)}

{verdict}

Measured on {time.strftime("%Y-%m-%d %H:%M", time.gmtime())} UTC, in {seconds / 60:.1f} minutes:
{platform.machine()}, {torch.get_num_threads()} cores, no accelerator, Python {platform.python_version()},
PyTorch {torch.__version__}, transformers {version("transformers")}. Other programs used {noise:.1f} cores of
the machine meanwhile.

"""
    return head + METHOD.format(budget=REFERENCE_SECONDS, agreement=found)
