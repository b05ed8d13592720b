"""What a caller has switched on around a call changes no number."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
import torch
from helpers import relative
from torch import Tensor, nn

import engram_core as ec
from engram_core.atlas import Atlas
from engram_core.solving.tables import layer_table

FEW = {"a": 3, "b": 4}
MANY = {"a": 60, "b": 70}


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.conv = nn.Conv2d(1, 2, (1, 2), device="cpu")
            self.one = nn.Linear(22, 16, device="cpu")
            self.two = nn.Linear(16, 3, bias=False, device="cpu")
        self.eval().float()

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x.reshape(len(x), 1, 1, 12)).reshape(len(x), -1)
        return self.two(torch.relu(self.one(x)))


def inputs(sizes: dict[str, int]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(2)
    shift = {"a": 1.0, "b": -1.0}
    return {
        name: torch.randn(n, 12, generator=generator, dtype=torch.float32, device="cpu") + shift[name]
        for name, n in sizes.items()
    }


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


AROUND: dict[str, Callable[[], AbstractContextManager]] = {
    "autocast to bfloat16": lambda: torch.autocast("cpu", torch.bfloat16),
    "autocast to float16": lambda: torch.autocast("cpu", torch.float16),
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "deterministic": deterministic,
    "float64 as default": lambda: default_dtype(torch.float64),
    "another default device": lambda: torch.device("meta"),
}


def everything(sizes: dict[str, int], around: Callable[[], AbstractContextManager]) -> tuple[Atlas, dict]:
    """Return every number that is computed between a model and an edited model."""
    model, x = Net(), inputs(sizes)
    with around():
        atlas = ec.extract(model, ec.record(model, x))
    found: dict[str, Tensor] = {}
    with around():
        view = atlas.apply(model, erase={"a": 0.7})
        report = ec.live_edit(view).report()
        baked = ec.bake(view)
        kept = ec.bake(atlas.apply(model, keep=["a"], null="in place"))
        ec.live_edit(view).set(scaling="adaptive")
        table = layer_table(atlas)
        norm = torch.tensor([atlas["a"].norm(layer) for layer in atlas.layers], device="cpu")
        engram = {layer: atlas["a"].weight(layer) for layer in atlas.layers}
    with torch.no_grad():
        found |= {"view": view(x["a"]), "baked": baked(x["a"]), "kept": kept(x["a"]), "norm": norm}
    found |= engram | {"report": torch.tensor(list(report.per_layer.values()))}
    found |= {c: torch.tensor(table[c].to_numpy(float)) for c in table.columns if table[c].dtype == float}
    return atlas, found


@pytest.mark.parametrize("products", [False, True], ids=["weights", "products"])
@pytest.mark.parametrize("sizes", [FEW, MANY], ids=["few rows", "many rows"])
@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND.keys())
def test_what_is_switched_on_around_changes_no_number(around, sizes, products: bool, monkeypatch) -> None:
    if products:
        monkeypatch.setattr("engram_core.editing.placement._SMALL_EDIT", 0)
    _, right = everything(sizes, lambda: torch.enable_grad())
    atlas, found = everything(sizes, around)
    assert found.keys() == right.keys()
    for name, value in right.items():
        assert found[name].dtype == value.dtype and found[name].device == value.device, name
        assert relative(found[name], value) < 1e-6 or torch.equal(found[name], value), name
    # Nothing that was made there stands in the way of gradients later.
    x = inputs(sizes)["a"].requires_grad_()
    atlas.apply(erase="a")(x).sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0


def test_inputs_made_in_inference_mode_are_recorded_even_by_a_model_that_writes_to_them() -> None:
    class Writes(Net):
        def forward(self, x: Tensor) -> Tensor:
            x += 1.0
            return super().forward(x)

    model = Writes()
    with torch.inference_mode():
        x = inputs(FEW)
        recording = ec.record(model, x)
    assert dict(recording.counts) == FEW
    assert not ec.extract(model, recording)["a"].weight("one").is_inference()


def test_a_view_called_inside_autocast_computes_as_its_caller_wants() -> None:
    model, x = Net(), inputs(FEW)
    view = ec.extract(model, ec.record(model, x)).apply(erase="a")
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert view(x["a"]).dtype == torch.bfloat16
