"""Stop a forward pass that would write the base's parameters, before it does.

A view shares every parameter with its base. A model whose own forward pass writes one (a norm that is kept,
an average that is carried along) would change the base through the view.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ..errors import EffectError

__all__ = ["Unwritten", "storage_of", "tensors_in"]


class Unwritten(TorchDispatchMode):
    """While this is in force, an operation that writes what a view shares with its base is refused.

    It costs some microseconds for every operation, so it watches the first passes and not all of them.

    Args:
        view: the view that computes.
        base: its base.

    Raises:
        EffectError: instead of the writing; names the parameter and the operation.
    """

    def __init__(self, view: nn.Module, base: nn.Module) -> None:
        super().__init__()
        theirs = {storage_of(parameter) for parameter in base.parameters()} - {0}
        own = ((storage_of(parameter), name) for name, parameter in view.named_parameters())
        self._shared = {storage: name for storage, name in own if storage in theirs}
        self._parameters = [(name, p) for name, p in view.named_parameters() if storage_of(p) in theirs]
        self._before: list[Tensor] = []

    def __enter__(self) -> Unwritten:
        self._before = [parameter.data for _, parameter in self._parameters]
        return super().__enter__()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        super().__exit__(kind, error, trace)
        # To give a parameter other data is no operation, but the old ones are still there to be given back.
        given = []
        for (name, parameter), data in zip(self._parameters, self._before, strict=True):
            if parameter.data_ptr() != data.data_ptr() or parameter.shape != data.shape:
                parameter.data = data
                given.append(name)
        self._before = []
        if given and error is None:
            raise _refusal(given[0], ".data =")

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        for tensor in _written(func, args, kwargs):
            name = self._shared.get(storage_of(tensor))
            if name is not None:
                said = str(func).removeprefix("aten.").partition(".")[0]
                raise _refusal(name, said)
        return func(*args, **kwargs)


def _refusal(name: str, operation: str) -> EffectError:
    return EffectError(
        f"The model's own forward pass writes its parameter {name!r} ({operation}). A view shares its "
        "parameters with the base, which is never written: nothing was changed. Let the forward pass compute "
        "a new tensor, or keep what it updates in a buffer."
    )


def storage_of(tensor: Tensor) -> int:
    """Return a number that tensors over one storage have in common; 0 for what has none.

    Args:
        tensor: any tensor.
    """
    try:
        # Not its address: to ask for that would make a copy-on-write tensor a copy.
        return int(tensor.untyped_storage()._cdata)
    except (NotImplementedError, RuntimeError, ValueError):  # sparse, nested, without any values yet
        return 0


def tensors_in(values: Iterable[Any]) -> Iterator[Tensor]:
    """Yield the tensors among the arguments of an operation.

    Args:
        values: arguments of a call, nested as they may be.
    """
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from tensors_in(value)


def _written(operation: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterator[Tensor]:
    schema = getattr(operation, "_schema", None)
    if schema is None or not schema.is_mutable:
        return
    for place, argument in enumerate(schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            yield from tensors_in([args[place] if place < len(args) else kwargs.get(argument.name)])
