"""A visitor's own model: tried in a process of its own, read here, checked before anything is recorded."""

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
from engram_core.concepts.sample import Sample
from engram_core.errors import DataError, EngramError
from engram_core.libraries import first_line, foreign_errors
from engram_core.opening.checkup import CheckUp
from engram_core.opening.examine import Examined, content_of
from engram_core.opening.samples import missing_samples, sample_folder, sample_names
from engram_core.storing.files import Scratch

from . import examined as trial
from .base import Loading

__all__ = ["Checking", "Opened", "Wanted", "upload"]

_CHANGED = (
    "The model or its concepts were changed while they were read. Check again when nothing writes to them."
)


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
        concepts = self.digest or f"{self.concepts}\n{_content(_path(self.concepts))}"
        whole = f"{self.model}\n{_model_content(self.model, folder)}\n{concepts}"
        if self.options:
            whole += f"\n{self.options}"
        short = Path(self.model.rstrip("/\\")).name or "model"
        # 48 bits: a name is also what lets others in by a link, so it must not be found by trying.
        return f"{short}-{hashlib.sha256(whole.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"

    def tried(
        self, *, doing: Callable[[str], None] = lambda _: None, stop: threading.Event | None = None
    ) -> Examined:
        """Try it in a process of its own, with limits of time and memory.

        Args:
            doing: is told what is being done.
            stop: ends it.

        Raises:
            EngramError: what is wrong with the model or the concepts, or which limit they exceed.
        """
        options = dict(self.options)
        return trial.tried(self.model, self.concepts, options, doing=doing, stop=stop or threading.Event())

    def read(self, found: Examined, expected: str = "") -> Sample:
        """Load what was tried, if it is still that.

        Args:
            found: what was found when it was tried.
            expected: the name it must have; "" if it gets its name only now.

        Raises:
            EngramError: it was changed meanwhile, or is wrong in another way.
        """
        before = self.name()
        if expected and before != expected:
            raise DataError(
                f"What this server was started with was changed since: {expected} is no longer there. Start "
                "the server again to open it as it is now."
            )
        # Asked before, so that nothing is opened that was not tried, and after, so that it is what was read.
        self._check_content(found)
        sample = _apart(ec.load_subject(self.model, self.concepts, **dict(self.options)))
        self._check_content(found)
        if self.name() != before or ec.model_hash(sample.model) != found.model:
            raise DataError(_CHANGED)
        local = _model_content(self.model, None)
        return replace(sample, name=before if local or expected else self.name(sample.folder))

    def _check_content(self, found: Examined) -> None:
        if content_of(self.model, self.concepts) != found.content:
            raise DataError(_CHANGED)

    def _without_paths(self, text: str) -> str:
        for given in (self.model, self.concepts):
            path = _path(given)
            for shown in {given, str(path), str(path.absolute())} if path.name else ():
                text = text.replace(shown, path.name)
        return text

    def loading(self, name: str) -> Loading:
        """Start to try, load, record and solve it, if it still has that name."""

        def load(progress: Callable[[int, int | None, str], None]) -> Sample:
            try:
                found = self.tried(doing=lambda text: progress(0, None, text))
                progress(0, None, "Reading the model and its data")
                return self.read(found, name)
            except EngramError as error:
                if not self.hidden:
                    raise
                raise EngramError(self._without_paths(str(error))) from None

        return Loading(load, start={"load_code": self.code}, told=True)


@dataclass(frozen=True)
class Opened:
    """A model that was read and checked.

    Attributes:
        wanted: what was asked for.
        sample: the model with its concepts; None where the check-up found a problem, as nothing can be opened
            then.
        check: what the check-up found.
    """

    wanted: Wanted
    sample: Sample | None
    check: CheckUp

    @property
    def name(self) -> str:
        """The name in the list of models."""
        return self.wanted.name() if self.sample is None else self.sample.name

    def loading(self) -> Loading:
        """Start to record and solve it: what was checked, whatever has become of its files."""

        def load() -> Sample:
            if self.sample is None:
                raise EngramError("The check-up found a problem with it. Correct that, and check again.")
            return self.sample

        return Loading(load, start={"load_code": self.wanted.code})


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
    except (OSError, ValueError):
        return ""  # reading it says what is wrong


def _path(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:  # no such user, or nobody's home
        return Path(text)


def _stamp(file: Path, root: Path) -> str:
    found = file.stat()
    return f"{file.relative_to(root)}\t{found.st_size}\t{found.st_mtime_ns}"


def _model_content(model: str, folder: Path | None) -> str:
    if model in (*sample_names(), *missing_samples()):
        # It holds the SHA-256 of the sample's other files, and loading compares them.
        return _content(sample_folder(model) / "config.json")
    path = _path(model)
    try:
        if path.is_file():
            return _stamp(path, path.parent)
        if path.is_dir():
            folder = path
    except (OSError, ValueError):
        return ""
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

    It is tried in a process of its own first, and read by this one only if that went well.

    Args:
        wanted: what to read and check.
        after: called at the end, whatever the end is.
    """

    def __init__(self, wanted: Wanted, *, after: Callable[[], None] | None = None) -> None:
        self.wanted = wanted
        self._opened: Opened | None = None
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
            self._opened = Opened(self.wanted, sample, found.check)
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
