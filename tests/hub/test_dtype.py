"""Which type weights are loaded in."""

import pytest
import torch

from engram_core.errors import DataError
from engram_core.hub.dtype import torch_type

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_nothing_given_is_float32_on_a_cpu_and_as_stored_elsewhere() -> None:
    assert torch_type(None, CPU) is torch.float32 and torch_type(None, CUDA) == "auto"


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16", "float64"])
def test_a_type_is_meant_by_itself_and_by_its_name(name: str) -> None:
    wanted = getattr(torch, name)
    assert torch_type(name, CPU) is torch_type(wanted, CUDA) is wanted


@pytest.mark.parametrize("given", ["int8", torch.int64, torch.bool, "float8_e4m3fn", "nn", "nothing", 3, ""])
def test_what_is_no_type_of_weights_is_refused(given) -> None:
    with pytest.raises(DataError, match=r"dtype must be float32, bfloat16, float16 or float64; found"):
        torch_type(given, CPU)
