"""How points are laid out: PCA by one symmetric decomposition, UMAP from there."""

from __future__ import annotations

import threading
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from ..errors import DataError, DependencyError, NonFiniteError

__all__ = ["NOT_FINITE", "Layout", "Projection", "checked_points"]

_LEAST = 5  # different points; with fewer, a graph of neighbours says nothing
_COMPONENTS = 50  # principal components that UMAP sees
_LARGEST = 1e140  # its square, summed over any number of points, is a number

# numba's thread pool may not be entered by two threads at once: it ends the process.
_UMAP = threading.Lock()


@dataclass(frozen=True)
class Projection:
    """Points on a map.

    Attributes:
        coordinates: (points, dimensions).
        method: ``"pca"`` or ``"umap"``: what was drawn.
        explained: PCA: share of the variance along each axis; UMAP: empty, its axes have no unit.
        neighbours: UMAP: the number of neighbours in force; else 0.
        seed: of UMAP; PCA has no chance in it.
        note: why PCA was drawn although UMAP was asked for; empty otherwise.
    """

    coordinates: np.ndarray
    method: str
    explained: tuple[float, ...]
    neighbours: int
    seed: int
    note: str = ""

    def table(self) -> pd.DataFrame:
        """Return one row per point, columns x, y (and z)."""
        return pd.DataFrame(self.coordinates, columns=list("xyz"[: self.coordinates.shape[1]]))


class Layout:
    """A map that other points can be placed on.

    PCA is done by hand: where there are more features than points, as in most maps, the exact solvers of
    scikit-learn take ten times as long as the eigenvectors of points × points (600 × 5,040: 1.4 s and .1 s).

    Args:
        matrix: (points, features), as `checked_points` returns it.
        method: ``"pca"`` or ``"umap"``.
        dimensions: of the map.
        seed: of UMAP.
        neighbours: of UMAP.
        note: why it is not what was asked for.

    Attributes:
        projection: where the points lie.
    """

    def __init__(
        self,
        matrix: np.ndarray,
        method: str,
        dimensions: int,
        seed: int,
        neighbours: int,
        *,
        note: str = "",
    ):
        self._dimensions = dimensions
        self._mean = matrix.mean(0)
        self._pca(matrix - self._mean, max(dimensions, _COMPONENTS if method == "umap" else 0))
        components = (matrix - self._mean) @ self._axes.T
        flat = components[:, :dimensions]
        self._umap: Any = None
        if method == "umap":
            note = _why_not(matrix, sum(share > 0 for share in self._shares), dimensions)
            if not note:
                note = self._lay_out(components, flat, matrix, seed, neighbours)
            if not note:
                return
        self._umap = None
        self.projection = Projection(flat, "pca", self._shares[:dimensions], 0, seed, note)

    def _lay_out(
        self, components: np.ndarray, flat: np.ndarray, matrix: np.ndarray, seed: int, neighbours: int
    ) -> str:
        """Fit UMAP; return why there is no map of it, or nothing."""
        near = min(neighbours, len(matrix) - 1)
        size = _power(components)
        self._unit = 1.0 if 1e-9 < size < 1e9 else size
        with _UMAP, warnings.catch_warnings():
            # It says that a seed means one thread, which is what was asked for.
            warnings.simplefilter("ignore")
            start = 10 * (flat / (float(np.abs(flat).max()) or 1.0))
            # A float32 copy: UMAP compiles anew for every other type.
            self._umap = _umap()(
                n_neighbors=near, n_components=self._dimensions, random_state=seed, n_jobs=1,
                init=start.astype(np.float32), min_dist=0.1,
            )  # fmt: skip
            found = self._umap.fit_transform(self._seen(components))
        self.projection = Projection(np.asarray(found, float), "umap", (), near, seed)
        return "" if np.isfinite(self.projection.coordinates).all() else NOT_FINITE

    def _pca(self, centred: np.ndarray, count: int) -> None:
        points, features = centred.shape
        wide = features > points
        # A power of two changes no digit; the squares of very large or small numbers are none.
        centred = centred / _power(centred)
        values, vectors = np.linalg.eigh(centred @ centred.T if wide else centred.T @ centred)
        values, vectors = values[::-1].clip(0), vectors[:, ::-1]
        total = float(np.square(centred).sum())
        kept = min(count, int((values > values[0] * 1e-12).sum()) if values[0] > 0 else 0)
        axes = vectors[:, :kept].T
        if wide:
            axes = (vectors[:, :kept].T @ centred) / np.sqrt(values[:kept, None])
        largest = np.take_along_axis(axes, np.abs(axes).argmax(1)[:, None], 1) if kept else axes[:, :1]
        self._axes = np.zeros((max(count, self._dimensions), features))
        self._axes[:kept] = axes * np.where(largest < 0, -1.0, 1.0)
        shares = np.zeros(len(self._axes))
        shares[:kept] = values[:kept] / total if total > 0 else 0
        self._shares = tuple(float(share) for share in shares)

    def _seen(self, components: np.ndarray) -> np.ndarray:
        """Return components as UMAP sees them: in float32, whose squares are numbers."""
        return (components / self._unit).astype(np.float32)

    def place(self, matrix: np.ndarray) -> np.ndarray:
        """Return where other points of the same features lie on this map."""
        components = (matrix - self._mean) @ self._axes.T
        if self._umap is None:
            return components[:, : self._dimensions]
        with _UMAP, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.asarray(self._umap.transform(self._seen(components)), float)


def _power(values: np.ndarray) -> float:
    """Return the power of two next to the largest of some numbers; 1 if all are 0."""
    largest = float(np.abs(values).max(initial=0.0))
    return float(np.ldexp(1.0, int(np.frexp(largest)[1]) - 1)) if largest > 0 else 1.0


NOT_FINITE = "UMAP found no finite places for these points, so PCA is shown."


def _why_not(matrix: np.ndarray, directions: int, dimensions: int) -> str:
    """Say why UMAP cannot lay these points out; empty if it can."""
    different = len(np.unique(matrix, axis=0)) if len(matrix) >= _LEAST else len(matrix)
    if different < _LEAST:
        found = (
            f"there are {len(matrix)}"
            if len(matrix) < _LEAST
            else f"of {len(matrix)} only {different} differ"
        )
        return f"UMAP needs at least {_LEAST} different points and {found}, so PCA is shown."
    if directions < dimensions:
        return (
            f"The points differ in {directions} direction{'s' if directions > 1 else ''} only and UMAP "
            f"was to "
            f"draw {dimensions}, so PCA is shown."
        )
    return ""


def _umap() -> Any:
    try:
        # Found at run time: it takes seconds to import, and PCA needs none of it.
        from umap import UMAP
    except ModuleNotFoundError as error:
        raise DependencyError(
            f"UMAP needs {error.name}: install it with  pip install 'engram-explorer[app]'. "
            "PCA needs nothing."
        ) from None
    return UMAP


def checked_points(matrix: np.ndarray, method: str, dimensions: int) -> np.ndarray:
    """Return points as a map takes them, (points, features) in double precision.

    Raises:
        DataError: fewer than two points, or an option that is not offered.
        NonFiniteError: NaN or infinity among the features.
    """
    if method not in ("pca", "umap"):
        raise DataError(f"method must be 'pca' or 'umap'; found {method!r}.")
    if dimensions not in (2, 3):
        raise DataError(f"A map has 2 or 3 dimensions; found {dimensions}.")
    if isinstance(matrix, torch.Tensor):
        matrix = (matrix.detach().cpu().to(torch.promote_types(matrix.dtype, torch.float64))).numpy()
    points = np.asarray(matrix)
    if points.dtype.kind not in "biuf":
        raise DataError(f"A map is made of real numbers; found an array of {points.dtype}.")
    points = points.astype(float)
    if points.ndim != 2 or points.shape[1] < 1:
        raise DataError(f"A map is made of points with features, (points, features); found {points.shape}.")
    if len(points) < 2:
        raise DataError(f"A map needs at least 2 points; found {len(points)}. Draw more inputs.")
    bad = int((~np.isfinite(points)).sum())
    if bad:
        raise NonFiniteError(f"{bad} of {points.size} features are NaN or infinite; a map needs finite ones.")
    if np.abs(points).max() > _LARGEST:
        raise DataError(
            f"A feature is {np.abs(points).max():.0e}; distances of more than {_LARGEST:.0e} cannot be "
            "measured. Divide the features by a number."
        )
    return points
