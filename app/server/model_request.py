"""A model that a visitor asks for: its name, what is tried of it, and what is read."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

import engram_core as ec
from engram_core.concepts.sample import Sample
from engram_core.errors import DataError, EngramError
from engram_core.language.dataset_names import dataset_file, is_dataset
from engram_core.opening.examine import Examined, content_of

from .background_load import BackgroundLoad
from .content import content_at, is_sample, model_content, path_of, same_path
from .examined import examine_apart

__all__ = ["ModelRequest"]

_CHANGED = (
    "The model or its concepts were changed while they were read. Check again when nothing writes to them."
)


@dataclass(frozen=True)
class ModelRequest:
    """What a visitor wants to open.

    Attributes:
        model: local folder, hub name, or the name of a sample.
        concepts: path of the texts or pictures.
        label: what the visitor calls the concepts; "" if by their path.
        hidden: whether paths on the server are shown to nobody.
        digest: SHA-256 of concepts that were uploaded; "" for those at a path.
        options: what is said of how the concepts are read, by the names of `ec.load_subject`: positions,
            template, columns (as pairs), label. Only what differs from the start; images take none.
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
        columns: Mapping[str, str] | None = None,
        label_column: str = "",
    ) -> ModelRequest:
        """Return what is wanted; `content` is an uploaded file's, which lies at `concepts` for a while."""
        digest = hashlib.sha256(content).hexdigest() if content else ""
        given: dict[str, tuple[Any, Any]] = {
            "positions": (positions, "all"), "template": (template, False),
            "columns": (tuple(sorted((columns or {}).items())), ()), "label": (label_column, ""),
        }  # fmt: skip
        options = tuple((name, value) for name, (value, usual) in given.items() if value != usual)
        return cls(model, concepts, label, hidden, digest, options)

    @property
    def given(self) -> dict[str, Any]:
        """The options as `ec.load_subject` takes them."""
        return {name: dict(value) if name == "columns" else value for name, value in self.options}

    @property
    def place(self) -> str:
        """The path of the concepts; a dataset that is named is fetched first, once.

        Raises:
            EngramError: that is out of reach.
        """
        return str(dataset_file(self.concepts)) if is_dataset(self.concepts) else self.concepts

    @property
    def code(self) -> str:
        """The line of Python that makes `sample` again."""
        model, concepts = self.model, self.label or self.concepts
        if self.hidden:
            model, concepts = (Path(text.rstrip("/\\")).name for text in (model, concepts))
        options = "".join(f", {name}={value!r}" for name, value in self.given.items())
        return f"sample = ec.load_subject({model!r}, {concepts!r}{options})"

    def name(self, folder: Path | None = None) -> str:
        """Return the name in the list of models: the same for the same content, and for no other.

        By whatever path a model is named, it is one model.

        Of a text file and a zip every byte counts; of folders the names, sizes and times of change of their
        files, since weights of gigabytes would take minutes. What was uploaded has no path of its own.

        Args:
            folder: where a model that is named by its hub name was found.
        """
        concepts = self.digest or f"{same_path(self.concepts)}\n{content_at(path_of(self.place))}"
        model = self.model if is_sample(self.model) else same_path(self.model)
        whole = f"{model}\n{model_content(self.model, folder)}\n{concepts}"
        if self.options:
            whole += f"\n{self.options}"
        short = Path(model.rstrip("/\\")).name or "model"
        # 48 bits: a name is also what lets others in by a link, so it must not be found by trying.
        return f"{short}-{hashlib.sha256(whole.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"

    def tried(
        self, *, doing: Callable[[str], None] = lambda _: None, stop: threading.Event | None = None
    ) -> Examined:
        """Try it in a process of its own, with limits of time and memory.

        Args:
            doing: is told what is being done.
            stop: ends it.

        Returns:
            What the trial found.

        Raises:
            EngramError: what is wrong with the model or the concepts, or which limit they exceed.
        """
        if is_dataset(self.concepts):
            doing("Fetching the dataset")
        return examine_apart(self.model, self.place, self.given, doing=doing, stop=stop or threading.Event())

    def read(self, found: Examined, expected: str = "") -> Sample:
        """Load what was tried, if it is still that.

        Args:
            found: what was found when it was tried.
            expected: the name it must have; "" if it gets its name only now.

        Returns:
            The model with its concepts.

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
        sample = _apart(ec.load_subject(self.model, self.place, **self.given))
        self._check_content(found)
        if self.name() != before or ec.model_hash(sample.model) != found.model:
            raise DataError(_CHANGED)
        local = model_content(self.model, None)
        return replace(sample, name=before if local or expected else self.name(sample.folder))

    def _check_content(self, found: Examined) -> None:
        if content_of(self.model, self.place) != found.content:
            raise DataError(_CHANGED)

    def _without_paths(self, text: str) -> str:
        for given in (self.model, self.concepts):
            path = path_of(given)
            for shown in {given, str(path), str(path.absolute())} if path.name else ():
                text = text.replace(shown, path.name)
        return text

    def load_in_background(self, name: str) -> BackgroundLoad:
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

        return BackgroundLoad(load, start={"load_code": self.code}, reports=True)


def _apart(sample: Sample) -> Sample:
    """Take a model's weights apart from their file.

    They are mapped from it: whoever writes into the file in place writes into the model that was checked.

    Returns:
        The model, whose weights are memory of this process alone.
    """
    with torch.no_grad():
        for tensor in (*sample.model.parameters(), *sample.model.buffers()):
            tensor.data = tensor.data.clone()
    return sample
