"""How large a concept"s engram is, by block and kind of module."""

from __future__ import annotations

from collections.abc import Generator, Iterable

import pandas as pd

from ..atlas import Atlas
from ..models.groups import layer_groups
from ..models.layers import block_of
from ..progress import Progress, Step, drain
from ..solving.tables import size_table_steps

__all__ = ["module_energy", "module_energy_steps", "module_kinds"]


def module_kinds(layers: Iterable[str]) -> dict[str, str]:
    """Return the kind of every layer: in the Llama family q, k, v, o, gate, up and down.

    Other families keep their own words (``c_attn``, ``query_key_value``); a layer outside the blocks has
    the last part of its name.

    Args:
        layers: names of the layers.
    """
    names = list(layers)
    kinds = {name: name.rpartition(".")[2] for name in names}
    if names:
        for kind, members in layer_groups(names, kinds=["projections"]).items():
            kinds |= dict.fromkeys(members, kind)
    return kinds


def module_energy(atlas: Atlas, concept: str, *, progress: Progress | None = None) -> pd.DataFrame:
    """Return how large a concept's engram is in every layer, by block and kind of module.

    Args:
        atlas: the engrams.
        concept: whose.
        progress: called with (done, total, text) after every layer.

    Returns:
        layer, block (first number in the path; missing outside the blocks), module (see `module_kinds`), norm
        ``‖E‖``, relative ``‖E‖/‖W‖``, rank. A large engram need not be where the memory is: erasing says.

    Raises:
        UnknownNameError: if the atlas has no such concept.
    """
    return drain(module_energy_steps(atlas, concept), progress)


def module_energy_steps(
    atlas: Atlas, concept: str
) -> Generator[Step[dict[str, pd.DataFrame]], None, pd.DataFrame]:
    """Do what `module_energy` does in steps, a layer in each."""
    sizes = yield from size_table_steps(atlas, concepts=[concept])
    table, kinds = sizes.drop(columns="concept"), module_kinds(atlas.layers)
    table.insert(1, "block", pd.array([block_of(layer) for layer in table["layer"]], dtype="Int64"))
    table.insert(2, "module", table["layer"].map(kinds))
    return table
