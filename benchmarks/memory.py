"""Peak memory of one side beyond the model: `python -m benchmarks.memory SIDE` prints bytes.

One process per side. The model is built and run once on one sentence, which loads libraries and starts
threads; what is resident then is the zero. The kernel's high-water mark is reset and read after the work.
"""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
from pathlib import Path

SIDES = ("ours", "reference", "forward")


def measure(side: str) -> int:
    """Run one side in a fresh process and return its peak in bytes, the model left out."""
    command = [sys.executable, "-m", "benchmarks.memory", side]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    return int(done.stdout.split()[-1])


def status(field: str) -> int:
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def _main(side: str) -> None:
    import torch

    from .models import qwen
    from .sides import one_concept, our_atlas, their_engram

    case = qwen()
    work = {
        "ours": lambda: our_atlas(case, one_concept(case)).apply(erase="target"),
        "reference": lambda: their_engram(case),
        "forward": lambda: torch.no_grad()(case.model)(**case.plain()),
    }[side]
    with torch.no_grad():
        case.model(**case.lean(slice(0, 1)))
    gc.collect()
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts again from here
    result = work()
    print(status("VmHWM") - before)
    del result


if __name__ == "__main__":
    _main(sys.argv[1])
