"""What the columns of a table are called, and how its numbers become those that a model reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import DataError

__all__ = ["Features"]


@dataclass(frozen=True)
class Features:
    """The features of a table; a model reads ``(value - mean) / std`` of each.

    Attributes:
        names: of the features, in the order in which the model reads them.
        mean: what is subtracted from each value, shape (features,).
        std: what it is then divided by, shape (features,); never 0.
    """

    names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        lengths = {len(self.names), len(self.mean), len(self.std)}
        if len(lengths) > 1:
            raise DataError(
                f"Features need one mean and one std each; found {len(self.names)} names, {len(self.mean)} "
                f"means and {len(self.std)} deviations."
            )
        if not np.isfinite((*self.mean, *self.std)).all() or 0.0 in self.std:
            raise DataError("Mean and std of features must be finite numbers, and no std may be 0.")
        if len(set(self.names)) < len(self.names):
            raise DataError("Two features have one name; give each column its own.")

    @classmethod
    def plain(cls, names: Sequence[str]) -> Features:
        """Return features that the model reads as they are.

        Args:
            names: of the features.
        """
        return cls(tuple(map(str, names)), (0.0,) * len(names), (1.0,) * len(names))

    def read(self, values: np.ndarray) -> np.ndarray:
        """Return what the model reads of a table's values.

        Args:
            values: shape (…, features), in the table's units.

        Returns:
            The same shape, float32.
        """
        return ((np.asarray(values, np.float64) - self.mean) / self.std).astype(np.float32)

    def shown(self, inputs: np.ndarray) -> np.ndarray:
        """Return the table's values of what a model reads.

        Args:
            inputs: shape (…, features), as the model reads them.

        Returns:
            The same shape, float64, in the table's units.
        """
        return np.asarray(inputs, np.float64) * self.std + self.mean
