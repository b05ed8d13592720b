"""What torch offers to convert, load or freeze a module never reaches the base through a view."""

import pytest
import torch
from torch import Tensor, nn

import engram_core as ec
from engram_core.errors import EngramError, ModelMismatchError

A = torch.randn(30, 12, generator=torch.Generator().manual_seed(1)) + 1
B = torch.randn(30, 12, generator=torch.Generator().manual_seed(2)) - 1


class Net(nn.Module):
    """Two layers that are edited, and a norm between them whose parameters views share."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.a, self.norm, self.b = nn.Linear(12, 10), nn.LayerNorm(10), nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.relu(self.norm(self.a(x))))


def net() -> tuple[nn.Module, ec.Atlas, nn.Module]:
    model = Net().eval()
    atlas = ec.extract(model, ec.record(model, {"a": A, "b": B}))
    return model, atlas, atlas.apply(erase="a")


WRITES = {
    "half": lambda v: v.half(),
    "double": lambda v: v.to(torch.float64),
    "a part": lambda v: v.norm.bfloat16(),
    "meta": lambda v: v.to("meta"),
    "empty": lambda v: v.to_empty(device="cpu"),
    "freeze": lambda v: v.requires_grad_(False),
    "freeze a part": lambda v: v.norm.requires_grad_(False),
    "load": lambda v: v.load_state_dict(Net().state_dict()),
    "load a part": lambda v: v.norm.load_state_dict(nn.LayerNorm(10).state_dict()),
    "assign": lambda v: v.load_state_dict(Net().state_dict(), assign=True),
}


@pytest.mark.parametrize("name", WRITES)
def test_a_call_that_would_write_the_base_through_a_view_is_refused(name: str) -> None:
    model, _, view = net()
    kept = {n: (p, p.detach().clone(), p.requires_grad) for n, p in model.named_parameters()}
    before, edited = model(A), view(A)
    with pytest.raises(EngramError, match="base"):
        WRITES[name](view)
    for n, p in model.named_parameters():
        same, values, grad = kept[n]
        assert p is same and p.dtype == values.dtype and torch.equal(p, values) and p.requires_grad == grad
    assert torch.equal(model(A), before) and torch.equal(view(A), edited)
    ec.live_edit(view).off()
    assert torch.equal(view(A), before)


def test_calls_that_change_nothing_pass_and_a_baked_model_takes_all_of_them() -> None:
    model, _, view = net()
    edited = view(A)
    assert view.to("cpu").float().requires_grad_(True) is view
    assert torch.equal(view(A), edited)
    baked = ec.bake(view).half().requires_grad_(False)
    assert baked.a.weight.dtype == torch.float16 and not baked.norm.weight.requires_grad
    ec.bake(view).load_state_dict(Net().state_dict())
    assert model.norm.weight.dtype == torch.float32 and model.norm.weight.requires_grad


def train(model: nn.Module) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    model(A).sum().backward()
    optimizer.step()


@pytest.mark.parametrize(
    "change",
    [train, lambda m: m.load_state_dict({n: v + 0.1 for n, v in m.state_dict().items()}), lambda m: m.half()],
    ids=["trained", "loaded", "converted"],
)
def test_an_edit_of_weights_that_changed_since_claims_nothing_and_can_be_taken_off(change) -> None:
    model, _, view = net()
    live = ec.live_edit(view)
    change(model)
    for call in (live.report, live.bake, live.turn_on, lambda: live.set(erase={"a": 0.5})):
        with pytest.raises(ModelMismatchError, match="changed since it was recorded"):
            call()
    live.off()
    assert torch.equal(view(A.to(model.a.weight.dtype)), model(A.to(model.a.weight.dtype)))
    assert not live.report().on
