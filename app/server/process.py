"""What holds for the whole process: threads of torch, turns of Python, and how weights are read."""

from __future__ import annotations

import functools
import os
import sys

import torch

from engram_core.libraries import map_weights

from ..options import server_options

__all__ = ["prepare_process"]


@functools.cache
def prepare_process() -> None:
    """Set the process up to serve many visitors, once; one that is somebody else's is left as it is."""
    if server_options().guest:
        return
    # Changing it later makes every pool start again, and sessions would fight over it. On two cores one
    # thread is faster: the browser needs the other, and two threads that wait for each other's turn took
    # 92 s for what one does in 42 s.
    torch.set_num_threads(1 if (os.cpu_count() or 1) <= 2 else 2)
    # Every operation of torch lets Python's lock go and then waits for it again: up to 5 ms beside a thread
    # that draws a figure. A forward pass has hundreds of them.
    sys.setswitchinterval(0.0005)
    # Whoever cuts a mapped file short would end the server, and with it everybody's visit.
    map_weights(False)
