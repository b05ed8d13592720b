"""A Linear layer with three concepts, from which random subsets are drawn."""

from __future__ import annotations

import pytest
import torch
from subsets import CONCEPTS, WIDTH
from torch import nn

import engram_core as ec


@pytest.fixture(scope="module")
def linear() -> nn.Linear:
    torch.manual_seed(3)
    return nn.Linear(WIDTH, 5, dtype=torch.float64)


@pytest.fixture(scope="module")
def exact(linear: nn.Linear) -> ec.Atlas:
    return ec.extract(linear, ec.record(linear, CONCEPTS))
