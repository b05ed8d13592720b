"""Groups of layers, read off their names: all, attention, MLP, each projection, each block."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ..errors import CoverageError, suggest

__all__ = ["GROUP_KINDS", "choose_groups", "layer_groups"]

GROUP_KINDS = ("whole", "parts", "projections", "blocks")

_ATTENTION = re.compile(r"attn|attention|(^|\.)(q|k|v|query|key|value)(_proj|_lin)?($|\.)", re.IGNORECASE)


def layer_groups(layers: Iterable[str], *, kinds: Iterable[str] = GROUP_KINDS) -> dict[str, tuple[str, ...]]:
    """Sort layers into groups by their names alone.

    Four kinds: ``whole`` (``"all"``); ``parts`` (in models with attention ``"attention"`` and ``"mlp"``, in
    others the stems of numbered names, such as ``"conv"`` and ``"fc"``); ``projections`` (the last word of
    the name inside a block: ``"q"``, ``"v"``, ``"down"``, ``"c_attn"``; a word that attention and MLP both
    use is told apart, ``"attention c_proj"``); ``blocks`` (``"block 0"``, or the path to the number where
    there are several stacks). Where nothing is numbered as a block, every layer is a block of its own.

    Args:
        layers: full names, in forward order.
        kinds: which kinds to return.

    Returns:
        Names of the layers of every group, in the order given. Empty groups, and groups that hold the same
        layers as an earlier one, are left out.

    Raises:
        CoverageError: if there is no layer, or a kind is unknown.
    """
    names, wanted = list(layers), list(kinds)
    if not names:
        raise CoverageError("There is no layer to sort into groups.")
    for kind in wanted:
        if kind not in GROUP_KINDS:
            raise suggest("kind of group", kind, GROUP_KINDS)
    found = {
        "whole": {"all": names}, "parts": _parts(names), "projections": _projections(names),
        "blocks": _blocks(names),
    }  # fmt: skip
    groups: dict[str, tuple[str, ...]] = {}
    for kind in GROUP_KINDS:
        for name, members in found[kind].items():
            if kind in wanted and members and tuple(members) not in groups.values():
                groups.setdefault(name, tuple(members))
    return groups


def choose_groups(
    layers: Iterable[str], groups: Mapping[str, Iterable[str]] | Iterable[str] | str | None
) -> dict[str, tuple[str, ...]]:
    """Return chosen groups: a mapping as it is; names of groups or of kinds; None for whole and parts.

    ``"v+o"`` is the union of two groups.

    Args:
        layers: names of all layers.
        groups: names of the groups wanted; None for all.

    Raises:
        UnknownNameError: for a name that is neither a group nor a kind.
    """
    names = list(layers)
    if groups is None:
        return layer_groups(names, kinds=("whole", "parts"))
    if isinstance(groups, Mapping):
        return {name: tuple(members) for name, members in groups.items()}
    every = layer_groups(names)
    chosen: dict[str, tuple[str, ...]] = {}
    for name in [groups] if isinstance(groups, str) else groups:
        if name in every:
            chosen[name] = every[name]
        elif name in GROUP_KINDS:
            chosen |= layer_groups(names, kinds=[name])
        else:
            union: set[str] = set()
            for part in name.split("+"):
                if part not in every:
                    raise suggest("group of layers", part, [*every, *GROUP_KINDS])
                union.update(every[part])
            chosen[name] = tuple(layer for layer in names if layer in union)
    return chosen


def _parts(names: list[str]) -> dict[str, list[str]]:
    attention = [name for name in names if _ATTENTION.search(name)]
    if attention:
        held = set(attention)
        # What stands in a block beside attention is its MLP, whatever the family calls it.
        return {"attention": attention, "mlp": [n for n in names if n not in held and _block_path(n)]}
    stems: dict[str, list[str]] = {}
    for name in names:
        stem = re.sub(r"[\d_]+$", "", name.rpartition(".")[2])
        if stem:
            stems.setdefault(stem, []).append(name)
    return stems


def _projections(names: list[str]) -> dict[str, list[str]]:
    by_word: dict[str, dict[bool, list[str]]] = {}
    for name in names:
        word = next((part for part in reversed(name.split(".")) if not part.isdigit()), "")
        # GPT-2's c_proj keeps its ending: "c" alone would say nothing.
        word = re.sub(r"(?<!^c)_(proj|lin|linear)$", "", re.sub(r"[\[(]\d+[\])]$", "", word))
        if word and _block_path(name) and not name.endswith(_block_path(name)):
            by_word.setdefault(word, {}).setdefault(bool(_ATTENTION.search(name)), []).append(name)
    found = {}
    for word, sides in by_word.items():
        for inside, members in sides.items():
            told = f"{'attention' if inside else 'mlp'} {word}" if len(sides) > 1 else word
            found[told] = members
    return found


def _blocks(names: list[str]) -> dict[str, list[str]]:
    places: dict[str, list[str]] = {}
    for name in names:
        places.setdefault(_block_path(name) or name, []).append(name)
    stacks = {place.rpartition(".")[0] for place in places if place.rpartition(".")[2].isdigit()}
    if len(stacks) != 1:
        return places
    return {
        f"block {place.rpartition('.')[2]}" if place.rpartition(".")[2].isdigit() else place: members
        for place, members in places.items()
    }


def _block_path(name: str) -> str:
    """Return the path up to and with the first number, or "" if there is none."""
    parts = name.split(".")
    for place, part in enumerate(parts):
        if part.isdigit():
            return ".".join(parts[: place + 1])
    return ""
