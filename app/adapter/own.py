"""A visitor's own model: read in a thread of its own, checked before anything is recorded."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

import engram_core as ec
from engram_core.checkup import CheckUp
from engram_core.errors import EngramError
from engram_core.files import Scratch
from engram_core.samples import Sample, missing_samples, sample_folder, sample_names

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
        label: what the visitor calls the concepts; "" if by their path.
        hidden: whether paths on the server are shown to nobody.
        digest: SHA-256 of concepts that were uploaded; "" for those at a path.
        options: what is said of how texts are read, by the names of `ec.load_subject`: positions, template.
            Only what differs from the start; images take neither.
    """

    model: str
    concepts: str
    label: str = ""
    hidden: bool = False
    digest: str = ""
    options: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def of(
        cls,
        model: str,
        concepts: str,
        content: bytes = b"",
        *,
        label: str = "",
        hidden: bool = False,
        positions: str = "all",
        template: bool = False,
    ) -> Wanted:
        """Return what is wanted; `content` is an uploaded file's, which lies at `concepts` for a while."""
        digest = hashlib.sha256(content).hexdigest() if content else ""
        given = {"positions": (positions, "all"), "template": (template, False)}
        options = tuple((name, value) for name, (value, usual) in given.items() if value != usual)
        return cls(model, concepts, label, hidden, digest, options)

    @property
    def code(self) -> str:
        """The line of Python that makes `sample` again."""
        model, concepts = self.model, self.label or self.concepts
        if self.hidden:
            model, concepts = (Path(text.rstrip("/\\")).name for text in (model, concepts))
        options = "".join(f", {name}={value!r}" for name, value in self.options)
        return f"sample = ec.load_subject({model!r}, {concepts!r}{options})"

    def name(self, folder: Path | None = None) -> str:
        """Return the name in the list of models: the same for the same content, and for no other.

        Of a text file and a zip every byte counts; of folders the names, sizes and times of change of their
        files, since weights of gigabytes would take minutes. What was uploaded has no path of its own.

        Args:
            folder: where a model that is named by its hub name was found.
        """
        concepts = self.digest or f"{self.concepts}\n{_content(Path(self.concepts).expanduser())}"
        whole = f"{self.model}\n{_model_content(self.model, folder)}\n{concepts}"
        if self.options:
            whole += f"\n{self.options}"
        short = Path(self.model.rstrip("/\\")).name or "model"
        # 48 bits: a name is also what lets others in by a link, so it must not be found by trying.
        return f"{short}-{hashlib.sha256(whole.encode('utf-8', 'surrogateescape')).hexdigest()[:12]}"

    def read(self, expected: str = "") -> Sample:
        """Load it.

        Args:
            expected: the name it must have; "" if it gets its name only now.

        Raises:
            EngramError: what is wrong with the model or the concepts; or they were changed meanwhile.
        """
        before = self.name()
        sample = _apart(ec.load_subject(self.model, self.concepts, **dict(self.options)))
        if self.name() != before:
            raise ec.errors.DataError(
                "The model or its concepts were changed while they were read. Check again when nothing "
                "writes to them."
            )
        if expected and before != expected:
            raise ec.errors.DataError(
                f"What this server was started with was changed since: {expected} is no longer there. Start "
                "the server again to open it as it is now."
            )
        local = _model_content(self.model, None)
        return replace(sample, name=before if local or expected else self.name(sample.folder))

    def loading(self, name: str) -> Loading:
        """Start to load, record and solve it, if it still has that name."""
        return Loading(lambda: self.read(name), start={"load_code": self.code})


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

    @property
    def name(self) -> str:
        """The name in the list of models."""
        return self.sample.name

    def loading(self) -> Loading:
        """Start to record and solve it: what was checked, whatever has become of its files."""
        return Loading(lambda: self.sample, start={"load_code": self.wanted.code})


def _content(path: Path, *, deep: bool = True) -> str:
    """Return a text that stands for what lies at a path; "" for nothing that can be read."""
    try:
        if path.is_file():
            with open(path, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        if not path.is_dir():
            return ""
        entries = sorted(path.rglob("*") if deep else path.iterdir())
        return "\n".join(_stamp(entry, path) for entry in entries if entry.is_file())
    except OSError:
        return ""  # reading it says what is wrong


def _stamp(file: Path, root: Path) -> str:
    found = file.stat()
    return f"{file.relative_to(root)}\t{found.st_size}\t{found.st_mtime_ns}"


def _model_content(model: str, folder: Path | None) -> str:
    if model in (*sample_names(), *missing_samples()):
        # It holds the SHA-256 of the sample's other files, and loading compares them.
        return _content(sample_folder(model) / "config.json")
    path = Path(model).expanduser()
    try:
        if path.is_file():
            return _stamp(path, path.parent)
    except OSError:
        return ""
    if path.is_dir():
        folder = path
    # Only files at its top are read; below a folder named by mistake may lie a whole disk.
    return "" if folder is None else _content(folder, deep=False)


def _apart(sample: Sample) -> Sample:
    """Take a model's weights apart from their file.

    They are mapped from it: whoever writes into the file in place writes into the model that was checked.
    """
    with torch.no_grad():
        for tensor in (*sample.model.parameters(), *sample.model.buffers()):
            tensor.data = tensor.data.clone()
    return sample


class Checking:
    """A model on its way to a check-up: the work goes on in a thread of its own, whoever watches or leaves.

    Args:
        wanted: what to read and check.
        after: called at the end, whatever the end is.
    """

    def __init__(self, wanted: Wanted, *, after: Callable[[], None] | None = None) -> None:
        self.wanted = wanted
        self._opened: Opened | None = None
        self._error: Exception | None = None
        self._after = after
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
    scratch: Scratch | None = None
    try:
        scratch = Scratch("upload")
        # Only its ending is taken from the visitor: it says what the file is.
        path = scratch.path / f"concepts{Path(name).suffix.lower()[:8]}"
        path.write_bytes(content)
    except OSError as error:
        if scratch is not None:
            scratch.delete()
        raise EngramError(f"The server has no room for the file: {error.strerror or error}.") from error
    return str(path), scratch.delete
