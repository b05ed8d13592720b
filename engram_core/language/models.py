"""Language models: load them safely, and call them alike."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import NonFiniteError
from ..models.layers import find_linear_maps
from ..models.view import base_of, shared_copy

__all__ = ["call_options", "embedding_rows", "first_not_finite", "not_finite", "token_limit"]


def call_options(model: nn.Module, *, head: bool = True) -> dict[str, Any]:
    """Return keyword arguments that keep a forward pass lean: no cache; without `head`, one logit row.

    Recording needs no logits, and for a small model the head is a third of the work. A head with weights of
    its own is a layer like any other, though: it has to read every position to be recorded.

    Args:
        model: the model.
        head: whether logits are needed at every position.
    """
    accepted = inspect.signature(type(base_of(model)).forward).parameters
    options: dict[str, Any] = {}
    if "use_cache" in accepted:
        options["use_cache"] = False
    if not head and "logits_to_keep" in accepted and _head_is_all(base_of(model)):
        options["logits_to_keep"] = 1
    return options


def _head_is_all(model: nn.Module) -> bool:
    """Whether no layer that is recorded is past the body: the head is tied, and alone there."""
    head, table = model.get_output_embeddings(), model.get_input_embeddings()  # type: ignore[operator]
    if head is not None and head.weight is not table.weight:
        return False
    body = f"{getattr(model, 'base_model_prefix', '')}."
    return all(linear_map.name.startswith(body) for linear_map in find_linear_maps(model))


def token_limit(model: nn.Module) -> int | None:
    """Return the most tokens the model takes, or None if its config does not say.

    Args:
        model: any model.
    """
    config = getattr(model, "config", None)
    for name in ("max_position_embeddings", "n_positions", "max_seq_len"):
        value = getattr(config, name, None)
        if isinstance(value, int) and value > 0:
            return value - _unused_positions(model, value)
    return None


def _unused_positions(model: nn.Module, rows: int) -> int:
    """Return how many of a position table's rows no token gets: RoBERTa counts from behind its padding's."""
    for name, module in base_of(model).named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            if module.num_embeddings == rows and module.padding_idx is not None:
                return module.padding_idx + 1
    return 0


def embedding_rows(model: nn.Module) -> int | None:
    """Return how many tokens a model has rows for, or None if it does not say.

    Args:
        model: any model.
    """
    table = getattr(base_of(model), "get_input_embeddings", lambda: None)()
    weight = getattr(table, "weight", None)
    return None if weight is None else int(weight.shape[0])


def first_not_finite(model: nn.Module, inputs: dict[str, Any]) -> str | None:
    """Return the name of the first module whose output holds NaN or infinity, or None.

    A model whose answer is NaN although no part of it gave any is named by its class.

    Args:
        model: any model; its base is run, not an edited view of it.
        inputs: keyword arguments of one call.
    """
    view, found = shared_copy(base_of(model)), list[str]()

    def listen(name: str) -> Any:
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            first = output[0] if isinstance(output, (tuple, list)) and output else output
            # Masks hold infinities on purpose; they are no module's output.
            if isinstance(first, Tensor) and first.is_floating_point() and not first.isfinite().all():
                found.append(name)

        return hook

    for name, module in view.named_modules():
        if name:
            module.register_forward_hook(listen(name))
    with torch.no_grad():
        logits = getattr(view(**inputs), "logits", None)
    if not found and isinstance(logits, Tensor) and logits.isnan().any():
        found.append(type(base_of(model)).__name__)
    return found[0] if found else None


def not_finite(model: nn.Module, inputs: dict[str, Any]) -> NonFiniteError:
    """Build the error for a model that answers NaN; it names the layer where that starts.

    Args:
        model: the model.
        inputs: keyword arguments of the call.

    Returns:
        The error, to be raised.
    """
    layer = first_not_finite(model, inputs)
    if layer is not None:
        return NonFiniteError(
            f"The model itself answers NaN: the first layer with NaN or infinity in its output is {layer!r}. "
            "Check the weights of that layer, or load the model in float32."
        )
    return NonFiniteError(
        "The edited model answers NaN, and its base does not: the strength is too high for these layers."
    )
