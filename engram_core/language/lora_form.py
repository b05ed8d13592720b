"""What PEFT's adapter files can say: which layers, in which shapes, and with which settings."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ..models.linear_maps.adapted_models import inner_model
from ..models.linear_maps.conv import ConvMap
from ..models.linear_maps.derived import DerivedMap
from ..models.linear_maps.linear import Conv1DMap, LinearMap

__all__ = ["lora_config", "lora_tensors", "why_no_lora"]


def _inner(linear_map: LinearMap) -> LinearMap:
    return linear_map.inner if isinstance(linear_map, DerivedMap) else linear_map


def why_no_lora(linear_map: LinearMap, model: nn.Module) -> str:
    """Say why PEFT's LoRA cannot carry an engram of a layer; empty if it can.

    Args:
        linear_map: that of the layer.
        model: the base.

    Returns:
        The reason, or "".
    """
    inner = _inner(linear_map)
    if isinstance(inner, ConvMap):
        if inner.padding_mode != "zeros":
            return f"PEFT pads with zeros, this layer with {inner.padding_mode!r}"
        if any(step != 1 for step in inner.dilation):
            return "PEFT knows no dilation"
    elif type(inner) not in (LinearMap, Conv1DMap) and not inner.opaque:
        return "PEFT has no LoRA of this form for it"
    if not linear_map.module or model.get_submodule(linear_map.module) is inner_model(model):
        return "PEFT adapts layers inside a model, and this layer is the whole model"
    if "modules_to_save" in linear_map.module.split("."):
        return "it is a trained copy that belongs to another adapter (modules_to_save)"
    return ""


def lora_tensors(linear_map: LinearMap, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``A``, ``B`` and the bias of ``B`` for an engram ``left · right``.

    Args:
        linear_map: that of the layer.
        left: (out, r), or (groups, out / groups, r).
        right: (r, width), or (groups, r, width).
    """
    left, right = (t if t.ndim == 3 else t.unsqueeze(0) for t in (left, right))
    weights = right[..., : linear_map.columns]
    column = (left @ right[..., linear_map.columns :].sum(-1, keepdim=True)).reshape(-1)
    groups, rank = weights.shape[:2]
    inner = _inner(linear_map)
    if not isinstance(inner, ConvMap):
        return weights[0].contiguous(), left[0].contiguous(), column.contiguous()
    # PEFT's first convolution reads all channels, whatever the groups: those of the others count 0.
    taps = weights.reshape(groups, rank, -1, *inner.kernel)
    own = taps.shape[2]
    down = weights.new_zeros(groups * rank, groups * own, *inner.kernel)
    for group in range(groups):
        down[group * rank : (group + 1) * rank, group * own : (group + 1) * own] = taps[group]
    up = left.reshape(-1, rank, *[1] * len(inner.kernel))
    return down, up.contiguous(), column.contiguous()


def lora_config(
    model: nn.Module, ranks: dict[str, int], strength: float, biased: bool, base_model: str | None
) -> dict[str, Any]:
    """Return the content of ``adapter_config.json``.

    Args:
        model: the base.
        ranks: rank of every layer, by its path in the model that is adapted.
        strength: the scaling is minus this.
        biased: whether the file holds biases.
        base_model: what the config names as the base.
    """
    inner, task = inner_model(model), _task(inner_model(model))
    largest = max(ranks.values())
    # The longest first: PEFT takes the first pattern that a path ends with.
    order = sorted(ranks, key=lambda path: (-len(path), path))
    config: dict[str, Any] = {
        "peft_type": "LORA",
        "task_type": task,
        "base_model_name_or_path": base_model,
        "inference_mode": True,
        "r": largest,
        "lora_alpha": -strength * largest,
        # PEFT's scaling is alpha / r, layer by layer; this makes it −α in all of them.
        "rank_pattern": {path: ranks[path] for path in order},
        "alpha_pattern": {path: -strength * ranks[path] for path in order},
        "target_modules": _targets(inner, ranks),
        "lora_dropout": 0.0,
        "lora_bias": biased,
        "bias": "none",
        "fan_in_fan_out": any(_is_conv1d(inner, path) for path in ranks),
        "use_rslora": False,
        "use_dora": False,
    }
    if task is None:
        kind = type(inner)
        config["auto_mapping"] = {"base_model_class": kind.__name__, "parent_library": kind.__module__}
    return config


def _task(model: Any) -> str | None:
    """Return PEFT's name of the task; None where its class for it would add layers or arguments."""
    generates = any(kind.__name__ == "GenerationMixin" for kind in type(model).__mro__)
    if not generates or getattr(model, "main_input_name", "") != "input_ids":
        return None
    return "SEQ_2_SEQ_LM" if getattr(model.config, "is_encoder_decoder", False) else "CAUSAL_LM"


def _is_conv1d(model: nn.Module, path: str) -> bool:
    module: Any = model.get_submodule(path)
    base = module.get_base_layer() if hasattr(module, "get_base_layer") else module
    return any(kind.__name__ == "Conv1D" for kind in type(base).__mro__)


def _targets(model: nn.Module, paths: dict[str, int]) -> list[str] | str:
    """Return the layers as PEFT looks for them: endings, or a pattern where those would hit others."""
    others = [name for name, _ in model.named_modules() if name not in paths]
    endings = {name[i + 1 :] for name in others for i, letter in enumerate(name) if letter == "."}
    if endings & set(paths):
        return "|".join(path.replace(".", r"\.") for path in sorted(paths))
    return sorted(paths)
