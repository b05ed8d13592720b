"""Foreign folders are tried in a process of their own first; few at a time, and whoever waits is told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from engram_core.errors import EngramError
from engram_core.hub.downloads import find_folder
from engram_core.opening.examine import Examined, examination_limits, is_path
from engram_core.opening.samples import missing_samples, sample_names
from engram_core.sandboxing.limited_process import run_limited

__all__ = ["PLACES", "Places", "examine_apart"]

MOST_CONCEPTS = 2000
"""More than that cannot be looked at on a page; the command line takes them."""
_LOOK = 0.2  # seconds


class Places:
    """A few places that are given in the order in which they were asked for.

    Args:
        most: how many there are.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._changed = threading.Condition()
        self._line: list[object] = []

    @contextmanager
    def one(self, doing: Callable[[str], None], stop: threading.Event) -> Iterator[None]:
        """Have a place for a while.

        Args:
            doing: is told for how many others this one waits.
            stop: ends the waiting.

        Raises:
            EngramError: it was stopped.
        """
        me = object()
        with self._changed:
            self._line.append(me)
            try:
                while (before := self._line.index(me)) >= self.most:
                    if stop.is_set():
                        raise EngramError("It was ended before it was begun: something else was asked for.")
                    doing(
                        f"Waiting: {self.most} folders of other visitors are being read, as many as this "
                        f"server reads at once, and {before - self.most} wait before yours"
                    )
                    self._changed.wait(_LOOK)
            except BaseException:
                self._leave(me)
                raise
        try:
            yield
        finally:
            with self._changed:
                self._leave(me)

    def _leave(self, me: object) -> None:
        self._line.remove(me)
        self._changed.notify_all()


PLACES = Places(2)
"""Each is a process with a limit of its own, so that one that hangs gives its place back."""


def examine_apart(
    model: str,
    concepts: str,
    options: Mapping[str, Any],
    *,
    doing: Callable[[str], None],
    stop: threading.Event,
) -> Examined:
    """Try a model and concepts in a process of its own.

    Args:
        model: see `engram_core.load_subject`.
        concepts: see `engram_core.load_subject`.
        options: see `engram_core.load_subject`.
        doing: is told what is being done.
        stop: ends it.

    Returns:
        What the trial found.

    Raises:
        EngramError: what is wrong with them, or which limit they exceed.
    """
    if model not in (*sample_names(), *missing_samples()) and not is_path(model):
        # What has to be fetched is fetched here: the process has neither the network nor anybody's token.
        doing("Looking for the model")
        find_folder(model)
    with PLACES.one(doing, stop):
        doing("Starting a process of its own, with limits of time and memory")
        arguments = {
            "model": model,
            "concepts": concepts,
            "options": dict(options),
            "most_concepts": MOST_CONCEPTS,
            "threads": torch.get_num_threads(),
        }
        answer = run_limited(
            "engram_core.opening.examine:examine",
            arguments,
            limits=examination_limits(model, concepts),
            doing=doing,
            stop=stop,
        )
    return Examined.of(answer)
