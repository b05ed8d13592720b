"""Run the benchmarks: `python -m benchmarks [--only NAME …] [--runs N] [--out FILE]`."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

NAMES = ("a", "forward", "b", "concepts", "mlp", "apply", "memory", "language", "start")
PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"


def main() -> None:
    """Measure, print each row as it comes, and write the page if every case was run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=NAMES, metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--runs", type=int, default=5, help="measured runs of each side (default 5)")
    parser.add_argument("--out", type=Path, help=f"page to write (default {PAGE.name}, if all cases are run)")
    options = parser.parse_args()
    if options.runs < 1:
        parser.error("--runs must be at least 1")
    # Read when torch loads its threads: a waiting thread sleeps instead of spinning, for both sides.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

    from .cases import Bench
    from .report import document, table
    from .timing import Interference

    bench, noise, start = Bench(options.runs), Interference(), time.perf_counter()
    rows = []
    for name in options.only or NAMES:
        for row in bench.cases[name]():
            rows.append(row)
            print(table([row]).splitlines()[-1], flush=True)
    page = options.out or (None if options.only else PAGE)
    if page is not None:
        seconds = time.perf_counter() - start
        page.parent.mkdir(parents=True, exist_ok=True)
        left_out = [name for name in NAMES if options.only and name not in options.only]
        text = document(
            rows, left_out=left_out, agreement=bench.agreement, noise=noise.cores, seconds=seconds
        )
        page.write_text(text, encoding="utf-8")
        print(f"wrote {page}")


if __name__ == "__main__":
    main()
