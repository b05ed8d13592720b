"""A visitor's own model: read in a thread of its own, checked before anything is recorded."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import engram_core as ec
from engram_core.checkup import CheckUp
from engram_core.errors import EngramError
from engram_core.samples import Sample

from .base import Loading

__all__ = ["Checking", "Opened", "Wanted", "upload"]

MOST_CONCEPTS = 2000
"""More than that cannot be looked at on a page; the command line takes them."""


@dataclass(frozen=True)
class Wanted:
    """What a visitor wants to open.

    Attributes:
        model: local folder, hub name, or the name of a sample.
        concepts: path of the texts or pictures.
        name: the name it gets in the list of models.
        label: what the visitor calls the concepts; "" if by their path.
        hidden: whether paths on the server are shown to nobody.
    """

    model: str
    concepts: str
    name: str
    label: str = ""
    hidden: bool = False

    @classmethod
    def of(
        cls, model: str, concepts: str, content: bytes = b"", *, label: str = "", hidden: bool = False
    ) -> Wanted:
        """Name what is wanted after what it is made of, so that the same things get the same name."""
        mark = hashlib.sha256(f"{model}\n{concepts if not content else ''}\n".encode() + content).hexdigest()
        short = Path(model.rstrip("/\\")).name or "model"
        return cls(model, concepts, f"{short}-{mark[:6]}", label, hidden)

    @property
    def code(self) -> str:
        """The line of Python that makes `sample` again."""
        model, concepts = self.model, self.label or self.concepts
        if self.hidden:
            model, concepts = (Path(text.rstrip("/\\")).name for text in (model, concepts))
        return f"sample = ec.load_subject({model!r}, {concepts!r})"

    def read(self) -> Sample:
        """Load it.

        Raises:
            EngramError: what is wrong with the model or the concepts.
        """
        return replace(ec.load_subject(self.model, self.concepts), name=self.name)

    def loading(self) -> Loading:
        """Start to load, record and solve it."""
        return Loading(self.read, start={"load_code": self.code})


@dataclass(frozen=True)
class Opened:
    """A model that was read and checked.

    Attributes:
        wanted: what was asked for.
        sample: the model with its concepts.
        check: what the check-up found.
    """

    wanted: Wanted
    sample: Sample
    check: CheckUp

    def loading(self) -> Loading:
        """Start to record and solve it."""
        return Loading(lambda: self.sample, start={"load_code": self.wanted.code})


class Checking:
    """A model on its way to a check-up; whoever reloads the page finds it going on."""

    def __init__(self, wanted: Wanted, *, after: Callable[[], None] | None = None) -> None:
        self.wanted = wanted
        self._opened: Opened | None = None
        self._error: Exception | None = None
        self._after = after
        self._thread = threading.Thread(target=self._run, name="check", daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait for the end, but no longer than `seconds`; return whether it has come."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def opened(self) -> Opened:
        """Return what was opened.

        Raises:
            EngramError: what is wrong with the model or the concepts.
        """
        self._thread.join()
        if self._error is not None:
            raise self._error
        assert self._opened is not None
        return self._opened

    def _run(self) -> None:
        try:
            sample = self.wanted.read()
            if len(sample.concepts) > MOST_CONCEPTS:
                raise ec.errors.DataError(
                    f"There are {len(sample.concepts):,} concepts; these pages show at most "
                    f"{MOST_CONCEPTS:,}. Take fewer, or use the command line, which has no such limit."
                )
            check = ec.check_up(sample.model, sample.concepts)
            self._opened = Opened(self.wanted, sample, check)
        except EngramError as error:
            shown = str(error).replace(self.wanted.concepts, self.wanted.label or self.wanted.concepts)
            self._error = EngramError(shown)
        except Exception as error:  # a foreign model may fail in any way, and the page must say so
            self._error = EngramError(
                f"The model {self.wanted.model!r} could not be used: {type(error).__name__}: {error}"
            )
        finally:
            if self._after is not None:
                self._after()


def upload(name: str, content: bytes) -> tuple[str, Callable[[], None]]:
    """Put an uploaded file where the core can read it; return its path and what removes it."""
    folder = Path(tempfile.mkdtemp(prefix="engram-upload-"))
    # Only its ending is taken from the visitor: it says what the file is.
    path = folder / f"concepts{Path(name).suffix.lower()[:8]}"
    path.write_bytes(content)
    return str(path), lambda: shutil.rmtree(folder, ignore_errors=True)
