"""Record a model: one forward pass over all concepts, statistics of every covered layer's input."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from ..concepts.batch_axis import too_many_arguments
from ..concepts.batches import Part, Reader
from ..concepts.concepts import BACKGROUND, Concept, ConceptSet
from ..concepts.inputs import MODEL_ERRORS, Inputs
from ..concepts.mixing import BatchWithOwner, mixed, plain
from ..concepts.row_owners import Owner
from ..errors import CoverageError, DataError, EngramError, suggest
from ..models.identity import ModelIdentity
from ..models.layers import LayerInfo, find_linear_maps, list_layers, select_layers
from ..models.linear_maps.experts import open_experts
from ..models.packed_attention import open_attention
from ..models.usage import Usage
from ..models.view import base_of, device_of, shared_copy, walk
from ..numerics.precision import exactly
from ..progress import Progress, Step, Steps, drain
from .listener import Listener
from .probes import ProbeKeeper
from .recording import Recording

__all__ = ["record", "record_steps"]

_SHOWN = 8  # arguments that an error names


@exactly
def record(
    model: nn.Module,
    concepts: ConceptSet | Mapping[str, Inputs | Concept],
    *,
    masks: Mapping[str, Any] | None = None,
    layers: str | Iterable[str] | None = None,
    blocks: Iterable[int] | None = None,
    batch_size: int = 256,
    batch_axis: int | str | None = "auto",
    mix: bool = False,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> Recording:
    """Record what every covered layer reads, for all concepts, in one forward pass.

    The model is used in evaluation mode through a view: its own mode, hooks and weights stay as they
    are, other threads may use it meanwhile. Memory is bounded by the statistics (at most one
    second moment per concept and distinct layer input), not by the data. docs/science.md sections 1 and 3.

    Args:
        model: any module; it is called as ``model(*args, **kwargs)`` with each batch.
        concepts: a ConceptSet, or a mapping from names to inputs (see `concepts`).
        masks: per concept, which inputs (shape (inputs,)) or positions (shape (inputs, positions)) count: a
            tensor, or one per batch if the inputs are batches. Positions are those of the one argument that
            has as many; where several have, or for more than one mask, a mapping from the argument (its name,
            or its place among the positional ones) to its mask. Layers that read the positions of other
            arguments count all theirs. Default: what a batch's own two-dimensional ``attention_mask`` and
            ``…_attention_mask`` mark, so that padding is no row, else all; None for a concept: all, padding
            included.
        layers: which layers (see `layers.select_layers`); default all covered ones.
        blocks: only layers whose first number in the path is one of these.
        batch_size: largest number of inputs per forward pass. Batches that are given are not divided.
        batch_axis: see `ConceptSet`, whose own choice stands unless this is given. By default a few inputs
            are run together and apart, and are divided only where every layer reads the same rows either way.
        mix: let different concepts share a forward pass, where their inputs can be joined. Faster for many
            small concepts.
        device: where statistics are kept; default: where the model is.
        progress: called with (done, total or None, text) after every batch.

    Returns:
        Per concept and layer, the statistics of what the layer reads.

    Raises:
        DataError: an empty concept, a mask that does not fit, fewer than one row.
        NonFiniteError: NaN or infinity; names layer and concept.
        CoverageError: no layer to record.
    """
    return drain(
        record_steps(
            model, concepts, masks=masks, layers=layers, blocks=blocks, batch_size=batch_size,
            batch_axis=batch_axis, mix=mix, device=device,
        ),
        progress,
    )  # fmt: skip


@exactly
def record_steps(
    model: nn.Module,
    concepts: ConceptSet | Mapping[str, Inputs | Concept],
    *,
    masks: Mapping[str, Any] | None = None,
    layers: str | Iterable[str] | None = None,
    blocks: Iterable[int] | None = None,
    batch_size: int = 256,
    batch_axis: int | str | None = "auto",
    mix: bool = False,
    device: torch.device | str | None = None,
) -> Steps[Recording]:
    """Do what `record` does in steps, one after every batch; arguments and errors are the same."""
    concepts = ConceptSet.of(concepts)
    if BACKGROUND in concepts:
        raise DataError(f"{BACKGROUND!r} is the name of the rows that are no concept; choose another name.")
    prepared = concepts.prepared(base_of(model))
    if prepared is not None:
        if masks:
            raise DataError("These concepts choose their own positions; masks= cannot be given as well.")
        names, stream, counts, total = prepared
        return (
            yield from _batch_steps(
                model, names, stream, counts, total=total, layers=layers, blocks=blocks, device=device
            )
        )
    if masks is not None and not isinstance(masks, Mapping):
        raise DataError(f"masks is a mapping from concepts to their masks; found {type(masks).__name__}.")
    masks = dict(masks or {})
    groups = [*concepts, *([BACKGROUND] if concepts.background is not None else [])]
    for name in masks:
        if name not in groups:
            raise suggest("concept", name, groups)
    index = {name: i for i, name in enumerate(groups)}
    counts = dict.fromkeys(groups, 0)
    axis = concepts.batch_axis if batch_axis == "auto" else batch_axis
    reader = Reader(model, batch_size=batch_size, axis=axis)
    sizes = [reader.count(c.record, name) for name, c in concepts.items()]
    sizes += [reader.count(concepts.background, BACKGROUND)] if concepts.background is not None else []
    total = None if any(s is None for s in sizes) else sum(s for s in sizes if s is not None)

    def counted() -> Iterator[Part]:
        for part in reader.parts(concepts, masks):
            counts[part.concept] += part.batch.size
            yield part
            del part  # what was read is let go before the next is made

    owned = mixed(counted(), index, reader) if mix else plain(counted(), index, reader)
    return (
        yield from _batch_steps(
            model, tuple(groups), owned, counts, total=total, layers=layers, blocks=blocks, device=device
        )
    )


def _batch_steps(
    model: nn.Module,
    names: tuple[str, ...],
    stream: Iterable[BatchWithOwner],
    counts: dict[str, int],
    *,
    total: int | None,
    layers: str | Iterable[str] | None,
    blocks: Iterable[int] | None,
    device: torch.device | str | None,
) -> Steps[Recording]:
    base = base_of(model)
    linear_maps = find_linear_maps(base)
    chosen = set(select_layers([s.name for s in linear_maps], layers, blocks))
    linear_maps = [s for s in linear_maps if s.name in chosen]
    place = device_of(base)
    listener = Listener(linear_maps, None if device is None else torch.device(device))
    listener.groups = names
    view = shared_copy(base)
    open_attention(view)
    open_experts(view, linear_maps)
    view.eval()
    _stop_at_lazy(view)
    listener.attach(view)
    usage = Usage(view, linear_maps, base)
    keeper = ProbeKeeper(names, base, linear_maps)
    counted: set[int] = set()
    done = 0
    pieces = iter(stream)
    yield Step(0, total, "recording", long=True)
    while True:
        with torch.no_grad():  # and not between two steps, where the caller computes
            piece = next(pieces, None)
            if piece is None:
                break
            name, batch, owner = piece
            del piece  # what was read is let go before the next is made
            counted |= _owners(owner)
            keeper.before(batch, owner)
            try:
                with usage.watching(batch.args, batch.kwargs):
                    listener.run_batch(view, batch.to(place).unshared(), owner)
            except EngramError:
                raise
            except MODEL_ERRORS as error:
                found = [f"{label} {tuple(t.shape)} {t.dtype}" for label, t in batch.tensors()]
                more = [f"… and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
                shapes = ", ".join([*found[:_SHOWN], *more])
                raise DataError(
                    f"{type(base).__name__} could not run the inputs of concept {name!r} ({shapes}): "
                    f"{too_many_arguments(base, batch) or error}"
                ) from error
            keeper.after(listener.stream_of)
            done += batch.size
        yield Step(done, total, f"recording {name}", long=True)
    marked = {name for number, name in enumerate(names) if number in counted}
    return _finish(
        listener, base, [name for name in names if name != BACKGROUND], counts, usage, keeper, marked
    )


def _stop_at_lazy(view: nn.Module) -> None:
    """Let a layer that would be given random weights by its first call refuse that call."""
    for name, module in walk(view):
        if not any(p is not None and is_lazy(p) for p in module._parameters.values()):
            continue

        def refuse(module: nn.Module, args: Any, name: str = name) -> None:
            raise CoverageError(
                f"Layer {name or type(module).__name__!r} ({type(module).__name__}) has no weights yet: run "
                "the model once, so that they are made, and record then."
            )

        module.register_forward_pre_hook(refuse, prepend=True)


def _owners(owner: int | torch.Tensor | Owner) -> set[int]:
    if isinstance(owner, Owner):
        owner = owner.counted()
    return {owner} if isinstance(owner, int) else set(owner.unique().tolist())


def _finish(
    listener: Listener,
    base: nn.Module,
    concepts: Sequence[str],
    counts: dict[str, int],
    usage: Usage,
    keeper: ProbeKeeper,
    marked: set[str],
) -> Recording:
    reasons = usage.excluded() | listener.beyond
    for name in reasons:
        listener.leave_out(name)
    heard = list(listener.stream_of)
    for linear_map in listener.linear_maps:
        if linear_map.name not in listener.stream_of:
            reasons.setdefault(linear_map.name, usage.why_silent(linear_map.name))
    infos = [
        LayerInfo(i.name, i.kind, i.width, i.outputs, False, reasons[i.name]) if i.name in reasons else i
        for i in list_layers(base)
    ]
    for concept in concepts:
        if concept not in marked and counts.get(concept):
            raise DataError(f"Concept {concept!r} put no row into any layer: its mask leaves nothing.")
    if not heard:
        skipped = "; ".join(f"{name}: {reason}" for name, reason in list(reasons.items())[:6])
        raise CoverageError(
            f"No layer of this {type(base).__name__} that could hold an engram is used as a layer by its "
            f"forward pass. {skipped}."
        )
    for concept in concepts:
        if not any(s.source.statistics_of(concept).count for s in listener.streams if s.members):
            shown = ", ".join(heard[:4]) + (" …" if len(heard) > 4 else "")
            raise DataError(
                f"Concept {concept!r} put no row into any layer: its inputs reach none of those that the "
                f"others reach ({shown}). Leave it out, or check how the model treats its inputs."
            )
    streams = [s for s in listener.streams if s.members]
    places = {id(s): i for i, s in enumerate(streams)}
    source_of = {name: places[id(listener.stream_of[name])] for name in heard}
    return Recording(
        tuple(concepts), [s.source for s in streams], source_of, counts, infos, ModelIdentity(base),
        probes=keeper.settle(),
    )  # fmt: skip
