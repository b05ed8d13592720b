"""Where a command has its engrams from: the cache or this very run, a recording, or a file of engrams."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from ..atlas import Atlas, extract
from ..concepts.tasks import Subject
from ..errors import DataError
from ..recording.recording import Recording
from ..solving.filters import Sharpness
from .subject import extracted

__all__ = ["EngramOptions"]


@dataclass(frozen=True)
class EngramOptions:
    """Files that spare the recording, or the solving as well."""

    atlas: Annotated[
        Path | None,
        typer.Option("--atlas", help="Engrams from `engram extract -o`: nothing is recorded or solved."),
    ] = None
    recording: Annotated[
        Path | None, typer.Option("--recording", help="A file from `engram record`: nothing is recorded.")
    ] = None

    def check(self, *, cut: float | None = None) -> None:
        """Refuse what says the same twice, before a model is loaded for it.

        Args:
            cut: the eigenvalue cut that was asked for, if any.

        Raises:
            DataError: naming the options.
        """
        if self.atlas is not None and self.recording is not None:
            raise DataError("Give --atlas or --recording, not both: the engrams are made from one of them.")
        if self.atlas is not None and cut is not None:
            raise DataError(
                "--cut is part of solving, and --atlas has been solved already: give it to engram extract."
            )

    def of(
        self,
        subject: Subject,
        bar: Any,
        *,
        cut: float | None = None,
        power: float | None = None,
        clip: bool = False,
    ) -> Atlas:
        """Return the engrams of a model.

        Args:
            subject: the model with its concepts.
            bar: called with (done, total or None, text).
            cut: of the eigenvalues, where they are solved for.
            power: selectivity; None is 1, or that of the file.
            clip: whether no direction is removed more than once.

        Raises:
            DataError: if a file holds none of the subject's concepts, or ones that it does not have.
            ModelMismatchError, StorageError: if a file is of another model, or damaged.
        """
        sharpness = Sharpness(1.0 if power is None else power, clip)
        if self.atlas is None and self.recording is None:
            return extracted(subject, bar, cut=cut, sharpness=sharpness)
        if self.atlas is not None:
            atlas = Atlas.load(self.atlas, subject.model)
        else:
            atlas = extract(subject.model, Recording.load(self.recording), cut=cut, progress=bar)
        strange = [name for name in atlas.concepts if name not in subject.concepts]
        if strange:
            raise DataError(
                f"{self.atlas or self.recording} holds {len(strange)} concepts that the model has not "
                f"here, such as {strange[0]!r}: name the file of concepts it was made from with "
                "--concepts-file."
            )
        return atlas if power is None and not clip else atlas.sharpen(sharpness.power, clip=clip)
