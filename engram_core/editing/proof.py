"""Show that an edit acts: every layer it changes is called in a pass, and answers as its edited map does.

The pass is made by a witness, a second view with the same edit, so that nobody's view is run or listened to.
What was shown of a layer holds for every edit of it in the same form, as long as the model's structure is the
same, so one pass serves all strengths and concepts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import EffectError
from ..models.linear_maps.linear import LinearMap
from ..models.packed_attention import open_attention
from ..models.usage import NEVER_CALLED, Usage
from ..models.view import shared_copy, submodule
from ..recording.probes import Probe
from .layer_check import Edited, LayerCheck

__all__ = ["show_it_acts"]


def show_it_acts(
    witness: nn.Module,
    base: nn.Module,
    forms: Sequence[tuple[LinearMap, str]],
    probes: Iterable[Probe],
    edited: Edited,
    rows_of: Callable[[LinearMap], Tensor | None],
) -> None:
    """Run a witness and compare what its edited layers answer with what they should.

    Args:
        witness: a private view with the edit in force; of no further use.
        base: the model.
        forms: the layers to be shown, and how each is edited.
        probes: inputs, in the order in which they are to be tried.
        edited: what the edit makes of a layer's rows, for layers that are edited by products.
        rows_of: some recorded rows of a layer, (rows, columns), for models without probes.

    Raises:
        EffectError: if a layer is not called or does not answer so; names it and says why.
    """
    checks: dict[str, list[LayerCheck]] = {}
    waiting: set[str] = set()
    for linear_map, form in forms:
        # The parts of an attention are shown together: its packed map is called once for all of them.
        path = linear_map.port if linear_map.routed or form != "weights" else linear_map.module
        check = LayerCheck(linear_map, form, base, witness, edited)
        checks.setdefault(path, []).append(check)
        if not linear_map.routed:
            waiting.add(linear_map.name)
    for module in witness.modules():
        if isinstance(module, nn.TransformerEncoder):
            module.use_nested_tensor = False  # made for the fused path, which hooks close
    usage = Usage(witness, [linear_map for linear_map, _ in forms], base)
    for path, several in checks.items():
        _attach(submodule(witness, path), several, usage)
    tried = False
    for probe in probes:
        tried = True
        try:
            with usage.watching(probe.args, probe.kwargs):
                probe.run(witness)
        except EffectError:
            raise
        except Exception as error:  # whatever the model's own code raises
            raise _could_not_run(base, probe, error) from error
        waiting -= {check.linear_map.name for several in checks.values() for check in several if check.done}
        if not waiting:
            break
    for name, why in usage.excluded().items():
        raise EffectError(
            f"The edit of layer {name!r} would not be all that happens, as the model is now: {why}. Leave "
            "the layer out with layers=…, or record the model again as it is now."
        )
    if not tried:
        _call_alone(witness, forms, rows_of)
        return
    if waiting:
        raise _unused(base, [linear_map for linear_map, _ in forms if linear_map.name in waiting], probes)


def _attach(module: nn.Module, checks: list[LayerCheck], usage: Usage) -> None:
    def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        usage.paused = True
        for check in checks:
            check(args, kwargs, output)
        usage.paused = False

    # First of all hooks: what others make of the output is the model's own affair.
    module.register_forward_hook(hook, with_kwargs=True, prepend=True)


def _call_alone(
    witness: nn.Module, forms: Sequence[tuple[LinearMap, str]], rows_of: Callable[[LinearMap], Tensor | None]
) -> None:
    """Call every layer by itself on recorded rows, where no input of the model is at hand."""
    witness.eval()
    with torch.no_grad():
        for linear_map, _ in forms:
            rows = None if linear_map.routed or linear_map.dense_only else rows_of(linear_map)
            if rows is not None:
                weight = linear_map.parameters(witness)[0]
                submodule(witness, linear_map.module)(rows.to(weight))


def _could_not_run(base: nn.Module, probe: Probe, error: Exception) -> EffectError:
    try:
        probe.run(shared_copy(base))
    except Exception:  # then it is not the edit
        return EffectError(
            f"The edit cannot be shown to act: this {type(base).__name__} cannot run the recorded input of "
            f"{', '.join(probe.concepts) or 'a batch'} any more ({error}). Record it again as it is now."
        )
    return EffectError(
        f"The edited {type(base).__name__} cannot run an input that the base runs ({error}): the model's "
        "code was changed since it was recorded, or needs the very weights that the edit replaces."
    )


def _unused(base: nn.Module, linear_maps: Sequence[LinearMap], probes: Iterable[Probe]) -> EffectError:
    view = shared_copy(base)
    open_attention(view)
    usage = Usage(view, linear_maps, base)
    for probe in probes:
        with usage.watching(probe.args, probe.kwargs):
            probe.run(view)
    told = "; ".join(
        f"{s.name}: {usage.why_silent(s.name).replace(NEVER_CALLED, 'never called')}" for s in linear_maps[:4]
    )
    more = f" and {len(linear_maps) - 4} more" if len(linear_maps) > 4 else ""
    return EffectError(
        "The edit would not act in every layer it names, on the recorded inputs as the model is now. "
        f"{told}{more}. Leave such layers out with layers=…, or record the model again as it is now."
    )
