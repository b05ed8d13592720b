"""In which order the concepts of a matrix stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import pdist

from ..choice.matrix import CLUSTER, DAMAGE, NAME

__all__ = ["ordered"]


def ordered(
    names: Sequence[str], how: str, rows: Mapping[str, Sequence[float]], damage: Mapping[str, float]
) -> tuple[str, ...]:
    """Return the names of a matrix in an order.

    Args:
        names: in the model's order.
        how: one of `choice.matrix.ORDERS`.
        rows: values by name; in clusters, names with like rows stand together.
        damage: how much each suffers; the most comes first, and NaN last.
    """
    if how == NAME:
        return tuple(sorted(names, key=str.casefold))
    if how == DAMAGE:
        return tuple(sorted(names, key=lambda name: -np.nan_to_num(damage[name], nan=-np.inf)))
    if how == CLUSTER and len(names) > 2:
        values = np.nan_to_num(np.array([rows[name] for name in names], float))
        # Average linkage, with the branches turned so that neighbours are as alike as they can be.
        leaves = leaves_list(linkage(pdist(values), "average", optimal_ordering=True))
        return tuple(names[leaf] for leaf in leaves)
    return tuple(names)
