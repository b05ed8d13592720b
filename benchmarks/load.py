"""How long visitors wait, and what they cost: `python -m benchmarks.load [--visitors 20 50] [--seconds 120]`.

Real sessions of a real server, spread over all samples, each of which chooses, looks, and chooses again. They
speak to the server as a browser's page does, but draw nothing: twenty browsers on two cores would measure the
browsers.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import random
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

import engram_core as ec

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "load.md"
EVERY = 10.0  # seconds between two looks at the memory
OPENING = 240.0  # seconds after which a model that has not opened counts as an error
AFTERWARDS = 60.0  # seconds after which all that visitors held must have been let go of

sys.path.insert(0, str(ROOT / "tests" / "support"))

from servers import Server, running  # noqa: E402
from socket_visitor import SocketVisitor  # noqa: E402


@dataclass
class Outcome:
    """What one number of visitors came to.

    Attributes:
        visitors: how many there were.
        waits: by sample, seconds from a choice to its answer.
        errors: what went wrong.
        memory: MiB of the server by what happened then.
    """

    visitors: int
    waits: dict[str, list[float]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    memory: list[tuple[str, float]] = field(default_factory=list)


def concepts() -> dict[str, list[str]]:
    """Return the first concepts of every sample that can be opened here."""
    return {name: list(ec.load_sample(name).concepts)[:3] for name in ec.sample_names()}


def _is_answered(visitor: SocketVisitor, off: bool) -> bool:
    shown = visitor.shown
    return shown is not None and shown.done and shown.status.startswith("Nothing") != off


async def visit(
    server: Server,
    sample: str,
    names: list[str],
    seed: int,
    ready: asyncio.Barrier,
    seconds: float,
    to: Outcome,
) -> None:
    """Use one sample for a while."""
    chance, off = random.Random(seed), True
    visitor = SocketVisitor(server.port, lambda _: None)
    address = [("page", "live"), ("model", sample), ("concepts", names[0]), ("tokens", "8")]
    try:
        await visitor.open(address)
        await visitor.until(lambda v: _is_answered(v, True), seconds=OPENING)
    except Exception as error:
        to.errors.append(f"{sample}, opening: {type(error).__name__}: {error}")
        await ready.wait()
        return
    everybody = asyncio.create_task(ready.wait())
    while not everybody.done():
        await visitor.rest(0.5)  # who takes no answers is sent away
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        off = not off
        began = time.monotonic()
        try:
            await visitor.choose(concepts=[chance.choice(names)] if off else [])
            await visitor.until(lambda v, off=off: _is_answered(v, off), seconds=120)
        except Exception as error:
            to.errors.append(f"{sample}: {type(error).__name__}: {error}")
            break
        to.waits.setdefault(sample, []).append(time.monotonic() - began)
        try:
            await visitor.rest(chance.uniform(1.0, 4.0))
        except Exception as error:
            to.errors.append(f"{sample}: {type(error).__name__}: {error}")
            break
    await visitor.close()


async def crowd(server: Server, of: dict[str, list[str]], number: int, seconds: float) -> Outcome:
    """Let a number of visitors in at once."""
    outcome, ready = Outcome(number), asyncio.Barrier(number + 1)
    outcome.memory.append(("nobody there yet", server.resident))

    async def look() -> None:
        await ready.wait()
        outcome.memory.append(("all are there", server.resident))
        for step in range(1, int(seconds // EVERY) + 1):
            await asyncio.sleep(EVERY)
            outcome.memory.append((f"after {step * EVERY:.0f} s", server.resident))

    samples = list(of)
    async with asyncio.TaskGroup() as group:
        group.create_task(look())
        for seed in range(number):
            sample = samples[seed % len(samples)]
            group.create_task(visit(server, sample, of[sample], seed, ready, seconds, outcome))
    outcome.memory.append(("all have just left", server.resident))
    await asyncio.sleep(AFTERWARDS)
    outcome.memory.append((f"{AFTERWARDS:.0f} s later", server.resident))
    return outcome


def _quantiles(waits: list[float]) -> str:
    ordered = sorted(waits)
    at = [ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.5, 0.95, 0.99)]
    return " | ".join(f"{value:.2f}" for value in (*at, ordered[-1]))


def document(outcomes: list[Outcome], seconds: float, load: tuple[float, float]) -> str:
    """Return the page."""
    lines = [
        "# Under load",
        "",
        "Made by `python -m benchmarks.load`. Real sessions on Live, spread evenly over all samples,",
        "against one server; each chooses, waits for the answer, rests 1 to 4 s and chooses again, for",
        f"{seconds:.0f} s. Seconds from a choice to the complete answer (of a language model: 8 tokens of",
        "both models). The visitors run on the same machine as the server, and take their share of it:",
        "a crowd shares the cores that one visitor has alone.",
        "",
        f"Machine: {os.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GB,",
        f"{platform.system()}, Python {platform.python_version()}. Its 1-minute load average was",
        f"{load[0]:.1f} before anything was started and {load[1]:.1f} at the end.",
        "",
    ]
    for outcome in outcomes:
        every = [wait for waits in outcome.waits.values() for wait in waits]
        lines += [f"## {outcome.visitors} visitors", ""]
        lines += ["| sample | choices | p50 | p95 | p99 | longest |", "|---|---:|---:|---:|---:|---:|"]
        lines += [
            f"| {name} | {len(waits)} | {_quantiles(waits)} |"
            for name, waits in sorted(outcome.waits.items())
        ]
        if every:
            lines += [f"| **all** | {len(every)} | {_quantiles(every)} |"]
        lines += [
            "",
            f"Errors: {len(outcome.errors)}." + "".join(f"\n* {error}" for error in outcome.errors[:10]),
            "",
        ]
        lines += ["| memory of the server | MiB |", "|---|---:|"]
        lines += [f"| {when} | {size:.0f} |" for when, size in outcome.memory] + [""]
    return "\n".join(lines)


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--visitors", type=int, nargs="+", default=[20, 50])
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--out", type=Path, default=PAGE)
    options = parser.parse_args()
    outcomes, began, of = [], os.getloadavg()[0], concepts()
    with running() as server:
        for number in options.visitors:
            outcomes.append(asyncio.run(crowd(server, of, number, options.seconds)))
            every = [wait for waits in outcomes[-1].waits.values() for wait in waits]
            middle = statistics.median(every) if every else float("nan")
            print(
                f"{number} visitors: {len(every)} choices, median {middle:.2f} s, "
                f"{len(outcomes[-1].errors)} errors"
            )
            options.out.write_text(
                document(outcomes, options.seconds, (began, os.getloadavg()[0])), encoding="utf-8"
            )
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
