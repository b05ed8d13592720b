"""The default device, which a caller may have set, and where a model's own code expects it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["callers_device", "outside"]

outside = threading.local()
"""The default device of whoever called, as `device`; unset where it is the CPU."""


@contextmanager
def callers_device() -> Iterator[None]:
    """Give a model's own code the default device that its caller had set."""
    device = getattr(outside, "device", None)
    if device is None:
        yield
    else:
        with device:
            yield
