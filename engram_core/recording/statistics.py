"""What is kept of a concept in one layer: its rows while they are few, its second moment after that.

All shapes carry a leading `groups` dimension (1 except for grouped convolutions).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..numerics.eigen import add_product

__all__ = ["Source", "Statistics", "homogeneous_moment", "homogeneous_rows", "total_moment"]

# Rows are turned to float64 block by block, so that the copy stays in the processor's cache.
_BLOCK_VALUES = 1 << 20
_DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass
class Statistics:
    """Uncentred statistics of one concept's rows in one layer.

    Either `chunks` holds the rows (fewer than the width), or `moment` and `total` hold ``XᵀX`` and the
    sum of the rows in float64 (row form: one row per input). Memory is bounded by the width.

    Attributes:
        groups: number of stacked maps.
        columns: width of a row, without the bias column.
        count: rows seen so far.
        chunks: tensors (groups, rows, columns).
        moment: (groups, columns, columns) float64, or None.
        total: (groups, columns) float64, or None.
        dtype: type of the rows, float32 or float64.
    """

    groups: int
    columns: int
    count: int = 0
    chunks: list[Tensor] = field(default_factory=list)
    moment: Tensor | None = None
    total: Tensor | None = None
    dtype: torch.dtype = torch.float32

    @property
    def folded(self) -> bool:
        """Whether the rows have become a second moment."""
        return self.moment is not None

    def folds(self, more: int) -> bool:
        """Whether `more` rows would be folded at once instead of being kept."""
        return self.folded or self.count + more >= self.columns

    def add(self, rows: Tensor) -> None:
        """Take in rows (groups, rows, columns). The tensor is kept: pass one that nobody changes."""
        if rows.shape[1] == 0:
            return
        folds = self.folds(rows.shape[1])
        self.count += rows.shape[1]
        self.dtype = rows.dtype
        self.chunks.append(rows)
        if folds:
            self._fold()

    def rows(self) -> Tensor:
        """Return the kept rows as one tensor (groups, rows, columns)."""
        if self.folded:
            raise RuntimeError("the rows were folded into a second moment")
        if len(self.chunks) > 1:
            self.chunks = [torch.cat(self.chunks, 1)]
        return self.chunks[0] if self.chunks else torch.zeros(self.groups, 0, self.columns, dtype=self.dtype)

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        return sum(t.nbytes for t in (*self.chunks, self.moment, self.total) if t is not None)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return what `restore` needs: tensors by name, and plain values."""
        values = {"count": self.count, "dtype": str(self.dtype).removeprefix("torch.")}
        if self.moment is None or self.total is None:
            return {"rows": self.rows()}, values
        return {"moment": self.moment, "total": self.total}, values

    @classmethod
    def restore(
        cls, groups: int, columns: int, tensors: Mapping[str, Tensor], values: Mapping[str, Any]
    ) -> Statistics:
        """Return statistics as `state` described them.

        Raises:
            KeyError: if something is missing.
        """
        restored = cls(groups, columns, values["count"], dtype=_DTYPES[values["dtype"]])
        if "moment" in tensors:
            restored.moment, restored.total = tensors["moment"], tensors["total"]
        else:
            restored.chunks = [tensors["rows"]]
        return restored

    def copy(self) -> Statistics:
        """Return statistics that can grow on their own."""
        moment = None if self.moment is None else self.moment.clone()
        total = None if self.total is None else self.total.clone()
        return Statistics(self.groups, self.columns, self.count, list(self.chunks), moment, total, self.dtype)

    def absorb(self, other: Statistics) -> None:
        """Add everything `other` has seen."""
        if other.folded:
            self._fold()
            self.dtype = torch.promote_types(self.dtype, other.dtype)
            assert self.moment is not None and self.total is not None
            assert other.moment is not None and other.total is not None
            self.moment += other.moment.to(self.moment.device)
            self.total += other.total.to(self.total.device)
            self.count += other.count
        else:
            for chunk in other.chunks:
                self.add(chunk)

    def _fold(self) -> None:
        if self.moment is None:
            device = self.chunks[0].device if self.chunks else torch.device("cpu")
            shape = (self.groups, self.columns)
            self.moment = torch.zeros(*shape, self.columns, dtype=torch.float64, device=device)
            self.total = torch.zeros(*shape, dtype=torch.float64, device=device)
        assert self.total is not None
        for chunk in self.chunks:
            add_gram(self.moment, chunk)
            self.total += chunk.sum(1, dtype=torch.float64)
        self.chunks = []


@dataclass
class Source:
    """The stream of rows that one or several layers read.

    Attributes:
        columns: width of a row, without the bias column.
        groups: stacked maps (1 except for grouped convolutions).
        statistics: per concept name.
    """

    columns: int
    groups: int
    statistics: dict[str, Statistics] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Rows over all concepts and the background."""
        return sum(s.count for s in self.statistics.values())

    def statistics_of(self, concept: str) -> Statistics:
        """Return the concept's statistics, empty ones if it has put no row here."""
        return self.statistics.setdefault(concept, Statistics(self.groups, self.columns))

    def copy(self) -> Source:
        """Return a source that can grow on its own."""
        copied = {name: s.copy() for name, s in self.statistics.items()}
        return Source(self.columns, self.groups, copied)


def add_gram(moment: Tensor, rows: Tensor) -> None:
    """Add ``rowsᵀ rows`` to `moment` in float64, block by block.

    Args:
        moment: (groups, columns, columns) float64, changed in place.
        rows: (groups, rows, columns).
    """
    groups, count, columns = rows.shape
    step = max(256, _BLOCK_VALUES // max(1, groups * columns))
    for start in range(0, count, step):
        block = rows[:, start : start + step].double()
        if groups == 1:
            moment[0].addmm_(block[0].t(), block[0])
        else:
            moment.baddbmm_(block.transpose(1, 2), block)


def homogeneous_rows(rows: Tensor, bias: bool) -> Tensor:
    """Append the column of ones that stands for the bias, if there is one."""
    if not bias:
        return rows
    return torch.cat([rows, rows.new_ones(*rows.shape[:-1], 1)], -1)


def homogeneous_moment(statistics: Statistics, bias: bool) -> Tensor:
    """Return the second moment of ``[x; 1]`` (or of ``x``), shape (groups, width, width), float64."""
    return total_moment([statistics], bias)


def total_moment(parts: Iterable[Statistics], bias: bool) -> Tensor:
    """Return the second moment of the rows of all parts together; see `homogeneous_moment`.

    What was kept as rows is multiplied once, however many parts it is in: a concept of few rows costs as
    much as its rows, and not another matrix of the layer's width squared.
    """
    parts = list(parts)
    columns = parts[0].columns
    width = columns + bias
    device = _device(parts)
    total = torch.zeros(parts[0].groups, width, width, dtype=torch.float64, device=device)
    for rows in _blocks([chunk for s in parts for chunk in s.chunks], parts[0].groups, width, device):
        add_product(total, rows)
    for s in parts:
        if s.moment is None:
            continue
        assert s.total is not None
        total[:, :columns, :columns] += s.moment
        if bias:
            total[:, columns, :columns] += s.total
            total[:, :columns, columns] += s.total
            total[:, columns, columns] += s.count
    return total


def _device(parts: Iterable[Statistics]) -> torch.device:
    held = (t for s in parts for t in (*s.chunks[:1], s.moment) if t is not None)
    return next((t.device for t in held), torch.device("cpu"))


def _blocks(chunks: list[Tensor], groups: int, width: int, device: torch.device) -> Iterator[Tensor]:
    """Gather rows in float64, with a one at the end where `width` has a column more: (groups, rows, width).

    Every block lies in the same memory, so each must be used before the next is asked for.

    Yields:
        Blocks of rows, each in the memory of the one before.
    """
    count = sum(chunk.shape[1] for chunk in chunks)
    step = min(count, max(256, _BLOCK_VALUES // max(1, groups * width)))
    block = torch.ones(groups, step, width, dtype=torch.float64, device=device)
    filled = 0
    for chunk in chunks:
        while chunk.shape[1]:
            taken = min(chunk.shape[1], step - filled)
            block[:, filled : filled + taken, : chunk.shape[-1]] = chunk[:, :taken]
            filled, chunk = filled + taken, chunk[:, taken:]
            if filled == step:
                yield block
                filled = 0
    if filled:
        yield block[:, :filled]
