"""Maps: PCA at once, UMAP when ready; base and edited inputs on one map."""

from __future__ import annotations

import threading
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch

from ..errors import DataError, DependencyError, NonFiniteError

__all__ = ["JointProjection", "Method", "Projection", "joint_projection", "project", "warm_up"]

Method = Literal["pca", "umap"]

NEIGHBOURS = 15
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


@dataclass(frozen=True)
class JointProjection:
    """Base and edited points on one map.

    Attributes:
        base: the base's points.
        edited: the edited model's coordinates, (points, dimensions); the base's own where nothing changed.
        moved: ``‖edited − base‖`` of each point in the features, before any projection, (points,).
        relative: `moved` as a share of the base points' root mean square distance from their mean.
        shown: PCA: share of all squared movement that lies in the drawn directions (NaN if none); UMAP: NaN.
        fit: ``"base"`` or ``"joint"``.
    """

    base: Projection
    edited: np.ndarray
    moved: np.ndarray
    relative: np.ndarray
    shown: float
    fit: str

    def most_moved(self, count: int) -> np.ndarray:
        """Return the numbers of the points that moved most, at most `count`, none that did not move."""
        order = np.argsort(-self.moved, kind="stable")[:count]
        return order[self.moved[order] > 0]

    def table(self) -> pd.DataFrame:
        """Return one row per point: x, y (z), the same of the edited model, moved, relative."""
        axes = list("xyz"[: self.edited.shape[1]])
        table = self.base.table()
        table[[f"edited_{axis}" for axis in axes]] = self.edited
        table["moved"], table["relative"] = self.moved, self.relative
        return table


def project(
    matrix: np.ndarray,
    *,
    method: Method = "pca",
    dimensions: int = 2,
    seed: int = 0,
    neighbours: int = NEIGHBOURS,
) -> Projection:
    """Lay points out in two or three dimensions.

    PCA centres and does not scale; each axis is turned so that its largest loading is positive, so the
    same points give the same map. UMAP (McInnes et al., arXiv 1802.03426) starts from the PCA map and sees
    the first 50 principal components. Points that UMAP cannot lay out (fewer than five different ones, or
    such as differ in fewer directions than the map has) are laid out by PCA, and `Projection.note` says why.

    Args:
        matrix: (points, features).
        method: ``"pca"`` or ``"umap"``.
        dimensions: 2 or 3.
        seed: of UMAP.
        neighbours: of UMAP; lowered to one less than there are points.

    Raises:
        DataError: fewer than two points, or an option that is not offered.
        NonFiniteError: NaN or infinity among the features.
        DependencyError: if UMAP is not installed.
    """
    return _Fit(_checked(matrix, method, dimensions), method, dimensions, seed, neighbours).projection


def joint_projection(
    base: np.ndarray,
    edited: np.ndarray,
    *,
    method: Method = "pca",
    dimensions: int = 2,
    seed: int = 0,
    neighbours: int = NEIGHBOURS,
    fit: Literal["joint", "base"] = "joint",
) -> JointProjection:
    """Put base and edited points on one map.

    Args:
        base: (points, features) of the base model.
        edited: the same points of the edited model.
        method: as in `project`.
        dimensions: as in `project`.
        seed: as in `project`.
        neighbours: as in `project`.
        fit: ``"joint"``: the map is made of both, stacked, so that what an edit moves can be seen. It is then
            turned (no scaling) until the base's points lie as near as they can to their own PCA map; still,
            another edit is another map. ``"base"``: it is made of the base alone and the edited points are
            placed on it, so the base's points are the same for every edit, to the last digit. Either way
            a point whose features did not change stays exactly where it is.

    Raises:
        DataError: if the two differ in shape; else as `project`.
    """
    before, after = _checked(base, method, dimensions), _checked(edited, method, dimensions)
    if before.shape != after.shape:
        raise DataError(
            f"Base and edited points must have one shape; found {before.shape} and {after.shape}. "
            "Measure both on the same inputs, layers and concepts."
        )
    if fit not in ("base", "joint"):
        raise DataError(f"fit must be 'base' or 'joint'; found {fit!r}.")
    moved = np.linalg.norm(after - before, axis=1)
    still = moved == 0
    if fit == "base":
        made = _Fit(before, method, dimensions, seed, neighbours)
        placed = made.projection.coordinates.copy()
        if not still.all():
            placed[~still] = made.place(after[~still])
            if not np.isfinite(placed).all():
                made = _Fit(before, "pca", dimensions, seed, neighbours, note=_NOT_FINITE)
                placed[:] = made.projection.coordinates
                placed[~still] = made.place(after[~still])
        points, drawn = made.projection, made.projection.method
    else:
        stacked = np.concatenate([before, after[~still]])
        both = _Fit(stacked, method, dimensions, seed, neighbours).projection
        drawn = both.method
        alone = _Fit(before, "pca", dimensions, seed, neighbours).projection.coordinates
        turned, count = _turned(both.coordinates, alone), len(before)
        explained = both.explained
        if drawn == "pca":
            energy = np.square(stacked - stacked.mean(0)).sum()
            explained = tuple(np.square(turned - turned.mean(0)).sum(0) / energy if energy > 0 else explained)
        points = Projection(turned[:count], drawn, explained, both.neighbours, seed, both.note)
        placed = points.coordinates.copy()
        placed[~still] = turned[count:]
    scale = np.sqrt(np.square(before - before.mean(0)).sum(1).mean())
    whole = float(np.square(after - before).sum())
    shown = np.nan
    if drawn == "pca" and whole > 0:
        shown = float(np.square(placed - points.coordinates).sum()) / whole
    relative = moved / scale if scale > 0 else np.zeros_like(moved)
    return JointProjection(points, placed, moved, relative, shown, fit)


def _turned(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Rotate and mirror points until the first of them lie as near as possible to a target."""
    first = points[: len(target)]
    left, _, right = np.linalg.svd((first - first.mean(0)).T @ (target - target.mean(0)))
    return points @ (left @ right)


def warm_up() -> None:
    """Let UMAP compile, some seconds once per process, so that the first map need not wait for it."""
    points = np.random.default_rng(0).normal(size=(32, 4))
    joint_projection(points, points + 1, method="umap")


class _Fit:
    """A map that other points can be placed on."""

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
        return "" if np.isfinite(self.projection.coordinates).all() else _NOT_FINITE

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


_NOT_FINITE = "UMAP found no finite places for these points, so PCA is shown."


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


def _checked(matrix: np.ndarray, method: str, dimensions: int) -> np.ndarray:
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
