"""Whole models with adapters of PEFT: what is wrapped, and the plain model that they compute."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ...errors import CoverageError
from .adapted import adapter_name, is_adapted, merged_layer, put_in_place

__all__ = ["adapted_path", "adapter_states", "inner_model", "merged_model"]

_WRAPPERS = ("PeftModel", "PeftMixedModel")


def _is(model: nn.Module, *names: str) -> bool:
    return any(k.__name__ in names and k.__module__.startswith("peft.") for k in type(model).__mro__)


def inner_model(model: Any) -> nn.Module:
    """Return the model that a ``PeftModel`` wraps, with its adapters in it; any other model itself.

    Args:
        model: any model.
    """
    if not _is(model, *_WRAPPERS):
        return model  # type: ignore[no-any-return]
    tuner: Any = model.base_model
    inner: nn.Module = tuner.model if _is(tuner, "BaseTuner") else tuner
    return inner


def adapter_states(model: nn.Module) -> list[str]:
    """Return for every part of a model that adapters wrap, its path and which of them are on.

    Args:
        model: any model.
    """
    found = []
    for path, module in model.named_modules():
        if is_adapted(module) or _is(module, "AuxiliaryTrainingWrapper"):
            state: Any = module
            on = [] if state.disable_adapters else list(state.active_adapters)
            found.append(f"{path} (adapters on: {', '.join(on) or 'none'})")
    return found


def adapted_path(model: nn.Module, path: str) -> str:
    """Return a module's path below the model that a ``PeftModel`` wraps.

    Args:
        model: any model.
        path: of a module in it.
    """
    inner = inner_model(model)
    stem = next((name for name, module in model.named_modules() if module is inner), "")
    return path.removeprefix(f"{stem}.") if stem else path


def merged_model(model: Any) -> nn.Module:
    """Return the plain model that a model with adapters computes; a model without any itself.

    Args:
        model: a model that nobody else holds: its wrappers are replaced by the layers they amount to.

    Raises:
        CoverageError: if an adapter is none of weights, or cannot be merged.
    """
    if _is(model, *_WRAPPERS) and inner_model(model) is model.base_model:
        raise CoverageError(
            f"The adapter of this {type(model).__name__} adds inputs (prompts, a prefix) and no weights, "
            "so no plain model computes the same. Save it as it is, and the edit as an adapter of its own "
            "(save_lora)."
        )
    for name, module in list(model.named_modules()):
        if is_adapted(module):
            base = module.get_base_layer()
            try:
                layer = merged_layer(module)
            except Exception as error:  # an adapter's own code: what it raises is not known here
                raise CoverageError(
                    f"The {adapter_name(module)} adapter of {name!r} cannot be merged by PEFT ({error}), so "
                    "there is no plain model to save."
                ) from error
            weight = getattr(base, "weight", None)
            if isinstance(weight, Tensor) and weight.is_floating_point():
                layer.to(weight.dtype)
            put_in_place(model, module, layer)
    for module in list(model.modules()):
        if _is(module, "ModulesToSaveWrapper"):
            off = module.disable_adapters or not module.active_adapters
            chosen = module.original_module if off else module.modules_to_save[module.active_adapters[0]]
            put_in_place(model, module, chosen)
        elif _is(module, "TrainableTokensWrapper"):
            put_in_place(model, module, module.token_adapter)
    inner: Any = inner_model(model)
    if getattr(inner, "_hf_peft_config_loaded", False):
        inner._hf_peft_config_loaded = False  # else transformers would save the adapters alone
    _untie(inner)
    return inner  # type: ignore[no-any-return]


def _untie(model: Any) -> None:
    """Let a config say that head and embedding are two, if merging made them so: a tied head is not saved."""
    if not getattr(getattr(model, "config", None), "tie_word_embeddings", False):
        return
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    if head is not None and embedding is not None and head.weight is not embedding.weight:
        model.config.tie_word_embeddings = False
