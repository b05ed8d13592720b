"""Parameters of a model's own in place of shared ones: written, adopted from another view, given back."""

from __future__ import annotations

from torch import Tensor, nn

from ..models.layers import LinearMap
from ..models.view import parameter_of_base, submodule
from ..numerics.precision import exactly

__all__ = ["adopt_weights", "restore_weights", "write_matrix"]


@exactly
def write_matrix(model: nn.Module, linear_map: LinearMap, matrix: Tensor, *, own: bool = False) -> None:
    """Give `model` its own parameters for a linear_map; what a parameter held before is not written to.

    Only if `own` says that nobody else holds the parameters, and only fused experts, are they written in
    place: a copy of the whole block for every expert would take hours.
    """
    if linear_map.install(model, matrix, own=own):
        return
    weight, bias = linear_map.split(matrix)
    module = submodule(model, linear_map.module)
    for name, tensor in linear_map.replaced_parameters(model, weight, bias).items():
        owner, attribute = _owner(module, name)
        old = owner._parameters[attribute]
        assert old is not None
        new = tensor.to(device=old.device, dtype=old.dtype)
        if new.data_ptr() == matrix.data_ptr():
            new = new.clone()
        owner._parameters[attribute] = nn.Parameter(new.contiguous(), requires_grad=old.requires_grad)


def adopt_weights(view: nn.Module, other: nn.Module, linear_map: LinearMap) -> bool:
    """Let `view` hold the parameters that another view of the same model holds; False if it holds none."""
    if type(linear_map).install is not LinearMap.install:
        return False
    mine, theirs = submodule(view, linear_map.module), submodule(other, linear_map.module)
    found = False
    for name in linear_map.parameter_names():
        (owner, attribute), (giver, _) = _owner(mine, name), _owner(theirs, name)
        given = giver._parameters.get(attribute)
        if given is not owner._parameters.get(attribute):
            owner._parameters[attribute] = given
            found = True
    return found


def restore_weights(view: nn.Module, base: nn.Module, linear_map: LinearMap) -> None:
    """Let `view` hold the parameters of its base again."""
    if linear_map.release(view):
        return
    edited, original = submodule(view, linear_map.module), submodule(base, linear_map.module)
    for name in linear_map.parameter_names():
        mine, attribute = _owner(edited, name)
        theirs, _ = _owner(original, name)
        mine._parameters[attribute] = parameter_of_base(view, theirs._parameters[attribute])


def _owner(module: nn.Module, path: str) -> tuple[nn.Module, str]:
    head, _, attribute = path.rpartition(".")
    return submodule(module, head), attribute
