"""The check-up of a model that a visitor asks for: tried in a process of its own, then read here."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from engram_core.concepts.sample import Sample
from engram_core.errors import EngramError
from engram_core.libraries import first_line, foreign_errors
from engram_core.opening.checkup import CheckUp

from .background_load import BackgroundLoad
from .model_request import ModelRequest

__all__ = ["CheckedModel", "ModelCheck"]


@dataclass(frozen=True)
class CheckedModel:
    """A model that was read and checked.

    Attributes:
        wanted: what was asked for.
        sample: the model with its concepts; None where the check-up found a problem, as nothing can be opened
            then.
        check: what the check-up found.
    """

    wanted: ModelRequest
    sample: Sample | None
    check: CheckUp

    @property
    def name(self) -> str:
        """The name in the list of models."""
        return self.wanted.name() if self.sample is None else self.sample.name

    def load_in_background(self) -> BackgroundLoad:
        """Start to record and solve it: what was checked, whatever has become of its files."""

        def load() -> Sample:
            if self.sample is None:
                raise EngramError("The check-up found a problem with it. Correct that, and check again.")
            return self.sample

        return BackgroundLoad(load, start={"load_code": self.wanted.code})


class ModelCheck:
    """A model on its way to a check-up: the work goes on in a thread of its own, whoever watches or leaves.

    It is tried in a process of its own first, and read by this one only if that went well.

    Args:
        wanted: what to read and check.
        after: called at the end, whatever the end is.
    """

    def __init__(self, wanted: ModelRequest, *, after: Callable[[], None] | None = None) -> None:
        self.wanted = wanted
        self._opened: CheckedModel | None = None
        self._error: Exception | None = None
        self._after = after
        self._stop = threading.Event()
        self.doing = ""
        self.begun = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="check", daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait for the end, but no longer than `seconds`; return whether it has come."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._thread.is_alive()

    def opened(self) -> CheckedModel:
        """Return what was opened.

        Raises:
            EngramError: what is wrong with the model or the concepts.
        """
        self._thread.join()
        if self._error is not None:
            raise self._error
        assert self._opened is not None
        return self._opened

    def stop(self) -> None:
        """End it as soon as can be, for something else: it then has an error and no result."""
        self._stop.set()

    def _say(self, text: str) -> None:
        self.doing = text

    def _run(self) -> None:
        try:
            found = self.wanted.tried(doing=self._say, stop=self._stop)
            sample = None
            if found.check.ok:
                self._say("Reading it again, for these pages")
                sample = self.wanted.read(found)
            self._opened = CheckedModel(self.wanted, sample, found.check)
        except EngramError as error:
            shown = str(error).replace(self.wanted.concepts, self.wanted.label or self.wanted.concepts)
            self._error = EngramError(shown)
        except BaseException as error:  # a foreign model may fail in any way, and the page must say so
            said = first_line(error) if foreign_errors(error) else ""
            kind = type(error).__name__
            self._error = EngramError(
                f"The model {self.wanted.model!r} could not be used: {kind}{f': {said}' if said else ''}"
            )
        finally:
            if self._after is not None:
                self._after()
