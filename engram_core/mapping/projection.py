"""Maps: PCA at once, UMAP when ready; base and edited inputs on one map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from ..errors import DataError
from .layout import NOT_FINITE, Layout, Projection, checked_points

__all__ = ["JointProjection", "Method", "Projection", "joint_projection", "project", "warm_up"]

Method = Literal["pca", "umap"]

NEIGHBOURS = 15


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

    Returns:
        The points in two or three dimensions.

    Raises:
        DataError: fewer than two points, or an option that is not offered.
        NonFiniteError: NaN or infinity among the features.
        DependencyError: if UMAP is not installed.
    """
    return Layout(checked_points(matrix, method, dimensions), method, dimensions, seed, neighbours).projection


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

    Returns:
        Both sets of points, in the coordinates of one map.

    Raises:
        DataError: if the two differ in shape; else as `project`.
    """
    before, after = checked_points(base, method, dimensions), checked_points(edited, method, dimensions)
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
        made = Layout(before, method, dimensions, seed, neighbours)
        placed = made.projection.coordinates.copy()
        if not still.all():
            placed[~still] = made.place(after[~still])
            if not np.isfinite(placed).all():
                made = Layout(before, "pca", dimensions, seed, neighbours, note=NOT_FINITE)
                placed[:] = made.projection.coordinates
                placed[~still] = made.place(after[~still])
        points, drawn = made.projection, made.projection.method
    else:
        stacked = np.concatenate([before, after[~still]])
        both = Layout(stacked, method, dimensions, seed, neighbours).projection
        drawn = both.method
        alone = Layout(before, "pca", dimensions, seed, neighbours).projection.coordinates
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
    # Found at run time: nothing but a map needs it.
    from scipy.linalg import orthogonal_procrustes

    first = points[: len(target)]
    return points @ orthogonal_procrustes(first - first.mean(0), target - target.mean(0))[0]


def warm_up() -> None:
    """Let UMAP compile, some seconds once per process, so that the first map need not wait for it."""
    points = np.random.default_rng(0).normal(size=(32, 4))
    joint_projection(points, points + 1, method="umap")
