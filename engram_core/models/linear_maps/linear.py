"""A Linear layer: the plainest linear map, and what every other kind of map has in common with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...errors import DataError
from ..view import submodule

__all__ = ["Conv1DMap", "LinearMap"]


@dataclass(frozen=True)
class LinearMap:
    """One linear map of a model: a Linear layer.

    Attributes:
        name: public name.
        module: path of the module that owns the parameters.
        kind: for people.
        outputs: rows of the matrix over all groups.
        columns: columns of a row without the bias column, per group.
        bias: whether there is a bias column.
        groups: number of independent maps stacked.
    """

    name: str
    module: str
    kind: str
    outputs: int
    columns: int
    bias: bool
    groups: int = 1

    dense_only = False
    """Whether an edit must replace the weight: its forward cannot be reached by a hook."""

    routed = False
    """Whether its rows are those tokens that a router sends there, so that there may be none."""

    opaque = False
    """Whether its stored values are not its weights, so that an edit can act on its input alone."""

    whole = False
    """Whether all rows of an input are one response, as the patches of a picture are."""

    encloses = False
    """Whether the modules below its own are parts of it and no layers of their own."""

    @property
    def width(self) -> int:
        """Columns of a row, with the bias column."""
        return self.columns + self.bias

    @property
    def port(self) -> str:
        """Path, in an opened view, of the module whose input this map reads."""
        return self.module

    @property
    def row_key(self) -> tuple:
        """Two maps with one key turn the same input tensor into the same rows."""
        return ("rows", self.columns)

    def rows(self, x: Tensor) -> Tensor:
        """Return the rows of input `x` (…, columns), shape (groups, rows, columns).

        Args:
            x: (…, columns).

        Raises:
            DataError: if it has another number of columns.
        """
        if x.shape[-1] != self.columns:
            raise DataError(
                f"Layer {self.name!r} reads rows of {self.columns} values; found {x.shape[-1]} "
                f"in an input of shape {tuple(x.shape)}."
            )
        return x.reshape(1, -1, self.columns)

    def piece(self, x: Tensor) -> int:
        """Return how many inputs to turn into rows at once, so that memory stays bounded.

        Args:
            x: what the layer reads.
        """
        return max(1, x.shape[0]) if x.ndim else 1

    def positions(self, x: Tensor) -> tuple[int, ...]:
        """Return the shape that indexes the rows of `x`: (inputs, …).

        Args:
            x: what the layer reads.
        """
        return tuple(x.shape[:-1])

    def placed(self, owner: Tensor, x: Tensor) -> Tensor:
        """Return an owner per input or position of the data as one that fits `positions` of `x`.

        Args:
            owner: (inputs,) or (inputs, positions), integers; −1 does not count.
            x: what the layer reads.
        """
        return owner

    def parameters(self, model: nn.Module) -> tuple[nn.Parameter, nn.Parameter | None]:
        """Return the owning module's weight and bias parameters.

        Args:
            model: the model.
        """
        module = submodule(model, self.module)
        return module.weight, module.bias  # type: ignore[return-value]

    def parameter_names(self) -> tuple[str, str]:
        """Return the attribute names of weight and bias on the owning module."""
        return "weight", "bias"

    def matrix(self, model: nn.Module) -> Tensor:
        """Return ``[W | b]``, shape (groups, outputs / groups, width), in float32 or float64.

        Args:
            model: the model.
        """
        weight, bias = (None if p is None else p.detach() for p in self.parameters(model))
        assert weight is not None
        dtype = torch.float64 if weight.dtype == torch.float64 else torch.float32
        matrix = self._weight_to_matrix(weight.to(dtype))
        if self.bias:
            assert bias is not None
            column = self._part(bias.to(dtype)).reshape(self.groups, -1, 1)
            matrix = torch.cat([matrix, column], -1)
        return matrix

    def split(self, matrix: Tensor) -> tuple[Tensor, Tensor | None]:
        """Turn a matrix (groups, outputs / groups, width) into weight- and bias-shaped tensors.

        Args:
            matrix: (groups, outputs / groups, width).

        Returns:
            Weight and bias, in the shapes of the layer's own.
        """
        bias = matrix[..., -1].reshape(-1) if self.bias else None
        return self._matrix_to_weight(matrix[..., : self.columns]), bias

    def replaced_parameters(self, model: nn.Module, weight: Tensor, bias: Tensor | None) -> dict[str, Tensor]:
        """Return the owning module's parameters with this map's part replaced, by attribute name.

        Args:
            model: the model.
            weight: the new weight.
            bias: the new bias, or None.
        """
        names = self.parameter_names()
        found = {names[0]: weight}
        if bias is not None:
            found[names[1]] = bias
        return found

    def weights(self, module: nn.Module) -> dict[str, nn.Parameter]:
        """Return the parameters that the weight is made of, by their path below the owning module.

        Another owner of one of them would be changed by an edit as well. Empty if there are none to edit.

        Args:
            module: the owning module.
        """
        own = dict(module.named_parameters())
        return {n: own[n] for n in self.parameter_names()[:1] if n in own}

    def constant(self, module: nn.Module) -> Callable[[], Tensor]:
        """Return what gives the bias that `module`, the port on a view, adds to every row: (outputs,).

        Args:
            module: the port on a view.
        """
        return lambda: module.bias.detach()  # type: ignore[union-attr,operator,return-value]

    def check_bake(self, model: nn.Module) -> None:
        """Raise CoverageError if an edit of this layer cannot be written into a copy of `model`.

        Args:
            model: the base.
        """

    def open(self, view: nn.Module) -> None:
        """Make the port exist in `view`, a private copy, before an edit hooks it.

        Args:
            view: a private view.
        """

    def install(self, model: nn.Module, matrix: Tensor, *, own: bool) -> bool:
        """Take an edited matrix without replacing the parameters; False if this kind of map cannot.

        Args:
            model: a view, or a copy to bake into.
            matrix: (groups, outputs / groups, width).
            own: whether the model's parameters are nobody else's, so that they may be written to.

        Returns:
            Whether it was done.
        """
        return False

    def release(self, view: nn.Module) -> bool:
        """Undo `install`; False if there is nothing to undo.

        Args:
            view: a private view.

        Returns:
            Whether there was something to undo.
        """
        return False

    def _part(self, tensor: Tensor) -> Tensor:
        """Return this map's part of a parameter of the owning module."""
        return tensor

    def _weight_to_matrix(self, weight: Tensor) -> Tensor:
        return weight.reshape(1, self.outputs, self.columns)

    def _matrix_to_weight(self, matrix: Tensor) -> Tensor:
        return matrix.reshape(self.outputs, self.columns)


@dataclass(frozen=True)
class Conv1DMap(LinearMap):
    """Hugging Face's ``Conv1D`` (GPT-2): a Linear layer with its weight transposed."""

    def _weight_to_matrix(self, weight: Tensor) -> Tensor:
        return weight.t().reshape(1, self.outputs, self.columns)

    def _matrix_to_weight(self, matrix: Tensor) -> Tensor:
        return matrix.reshape(self.outputs, self.columns).t().contiguous()
