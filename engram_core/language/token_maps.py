"""Where a concept sits: which tokens of a text reactivate it, and which layers and modules carry it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from ..atlas import Atlas
from ..errors import NonFiniteError
from ..models.layers import LinearMap, block_of
from ..models.linear_maps.experts import open_experts
from ..models.packed_attention import open_attention
from ..models.ports import hear_ports
from ..models.view import base_of, device_of, shared_copy
from ..progress import Progress, Step, Steps, drain
from ..recording.statistics import homogeneous_rows
from .decoding import Stop, stopper, token_text
from .models import call_options, embedding_rows, token_limit
from .module_sizes import module_kinds
from .texts import TextItem
from .tokens import encode

__all__ = ["reactivation_map", "reactivation_map_steps"]


def reactivation_map(
    model: nn.Module,
    atlas: Atlas,
    concept: str,
    tokenizer: Any,
    text: str,
    *,
    layers: str | Iterable[str] | None = None,
    stop: Stop = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Return how strongly every token of a text reactivates a concept: ``‖E_c x‖ / ‖W x‖`` in every layer.

    One forward pass of the base model, on a view. Near 1, the layer's whole response to that token is the
    concept's; near 0, the concept has no part in it. With a bias, ``x`` is
    ``[x; 1]`` (docs/science.md section 1).

    Args:
        model: the base, or a view of it, whose base is taken.
        atlas: the engrams, at their sharpness.
        concept: which one.
        tokenizer: of the model.
        text: any text.
        layers: which layers (see `layers.select_layers`); default all.
        stop: a function that returns True, or an event; the layers done by then are returned.
        progress: called with (done, total, text) between two layers.

    Returns:
        layer, block, module, position, token, ratio; in forward order. A mixture's expert has rows for the
        tokens it was sent. Layers whose rows are not the tokens of the text are left out.

    Raises:
        ModelMismatchError: if the atlas is of another model.
        DataError: if the text has no token or too many.
    """
    return drain(
        reactivation_map_steps(model, atlas, concept, tokenizer, text, layers=layers, stop=stop), progress
    )


def reactivation_map_steps(
    model: nn.Module,
    atlas: Atlas,
    concept: str,
    tokenizer: Any,
    text: str,
    *,
    layers: str | Iterable[str] | None = None,
    stop: Stop = None,
) -> Steps[pd.DataFrame]:
    """Do what `reactivation_map` does in steps, a layer in each; arguments and errors are the same."""
    base = base_of(model)
    atlas.identity.check(base)
    atlas[concept]  # raises for an unknown one
    encoded = encode(tokenizer, TextItem("", text), limit=token_limit(base), rows=embedding_rows(base))
    tokens = [token_text(tokenizer, number) for number in encoded.ids]
    chosen = atlas.select(layers)
    kinds = module_kinds(atlas.layers)
    heard = _inputs(base, [atlas.linear_map(name) for name in chosen], encoded.ids)
    frames, stopped, reader = [], stopper(stop), _Reader(atlas, concept)
    for done, layer in enumerate(chosen):
        if stopped():
            break
        yield Step(done, len(chosen), f"reading {layer}")
        if layer not in heard:
            continue
        x, places = heard[layer]
        frames.append(
            pd.DataFrame(
                {
                    "layer": layer,
                    "block": block_of(layer),
                    "module": kinds[layer],
                    "position": places,
                    "token": [tokens[place] for place in places],
                    "ratio": reader.ratios(layer, x).tolist(),
                }
            ).astype({"block": "Int64"})
        )
    if not frames:
        return pd.DataFrame(columns=["layer", "block", "module", "position", "token", "ratio"])
    return pd.concat(frames, ignore_index=True)


def _inputs(
    base: nn.Module, linear_maps: list[LinearMap], ids: tuple[int, ...]
) -> dict[str, tuple[Tensor, list[int]]]:
    """Return what every linear map reads, (rows, columns), and the token that each row belongs to."""
    view = shared_copy(base).eval()
    open_attention(view)
    open_experts(view, linear_maps)
    heard: dict[str, tuple[Tensor, list[int]]] = {}

    def hear(linear_map: LinearMap, x: Tensor, others: tuple[Any, ...]) -> None:
        if linear_map.groups > 1:
            return
        rows = linear_map.rows(x)[0]
        places = others[0].tolist() if linear_map.routed else list(range(len(ids)))
        if len(rows) == len(places):
            heard[linear_map.name] = (rows.clone(), places)  # what follows may write in place

    hear_ports(view, linear_maps, hear, strict=False)
    device = device_of(view)
    with torch.no_grad():
        view(input_ids=torch.tensor([ids], device=device), **call_options(base))
    return heard


class _Reader:
    """Answers of one concept, layer after layer; layers that read one input share the thin products."""

    def __init__(self, atlas: Atlas, concept: str):
        self._atlas, self._concept = atlas, concept
        self._last: tuple[Any, Tensor, Tensor] | None = None

    def ratios(self, layer: str, x: Tensor) -> Tensor:
        """Return ``‖E_c x‖ / ‖W x‖`` of every row; NaN where W gives no response at all."""
        linear_map, matrix = self._atlas.linear_map(layer), self._atlas.matrix(layer)[0]
        rows = homogeneous_rows(x[None].to(matrix.dtype), linear_map.bias)[0]
        trace = self._atlas.trace(layer, self._concept)
        if trace.folded and self._atlas.sharpness.plain:
            answer = rows @ self._atlas.dense(layer, self._concept)[0].mT
        else:
            answer = self._projected(layer, rows) @ matrix.mT
        own, whole = answer.norm(dim=-1).double(), (rows @ matrix.mT).norm(dim=-1).double()
        if not torch.isfinite(own).all():
            raise NonFiniteError(f"Layer {layer!r} reads NaN or infinity for this text.")
        return torch.where(whole > 0, own / whole, torch.nan).cpu()

    def _projected(self, layer: str, rows: Tensor) -> Tensor:
        """Return ``P x`` with ``E = W P``, (rows, D)."""
        key = self._atlas.source_key(layer)
        if self._last is not None and self._last[0] == key and torch.equal(self._last[1], rows):
            return self._last[2]
        sharpness = self._atlas.sharpness
        ups, downs, mu = self._atlas.trace(layer, self._concept).pair(sharpness)
        share = rows @ downs[0].to(rows).mT
        if mu is not None:
            share = share * sharpness.weights(mu[0], 1.0).to(share)
        found = share @ ups[0].to(rows)
        self._last = (key, rows, found)
        return found
