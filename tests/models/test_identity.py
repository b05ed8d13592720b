"""Which model is this: the same values are the same model, wherever they lie; others never are."""

import copy
import gc
import weakref

import pytest
import torch
from torch import Tensor, nn

import engram_core as ec
from engram_core.errors import ModelMismatchError
from engram_core.models import identity

A, B = torch.randn(30, 12) + 1, torch.randn(30, 12) - 1


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 3)).eval()


def atlas_of(model: nn.Module) -> ec.Atlas:
    return ec.extract(model, ec.record(model, {"a": A, "b": B}))


def moved(model: nn.Module) -> None:
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()


def loaded(model: nn.Module) -> None:
    model.load_state_dict(copy.deepcopy(model.state_dict()))


def written_over(model: nn.Module) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.clone())


def replaced(model: nn.Module) -> None:
    for module in model.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is not None:
                setattr(module, name, nn.Parameter(parameter.detach().clone()))


def strided(model: nn.Module) -> None:
    model[0].weight.data = model[0].weight.data.t().contiguous().t()


def there_and_back(model: nn.Module) -> None:
    model.double().float()


def shared(model: nn.Module) -> None:
    model.share_memory()


SAME = [moved, loaded, written_over, replaced, strided, there_and_back, shared]


@pytest.mark.parametrize("move", SAME)
def test_the_same_values_at_another_address_are_the_same_model(move) -> None:
    model = net()
    recording = ec.record(model, {"a": A, "b": B})
    digest = ec.model_hash(model)
    right = ec.extract(model, recording).apply(model, erase="a")(A)
    move(model)
    atlas = ec.extract(model, recording)
    move(model)
    view = atlas.apply(model, erase="a")
    assert torch.equal(view(A), right) and not torch.equal(view(A), model(A))
    assert atlas.identity.digest == digest == ec.model_hash(model)


def change(model: nn.Module, what: str) -> None:
    weight = model[2].weight
    with torch.no_grad():
        if what == "one value":
            weight[1, 7] += 1e-6
        elif what == "one value behind autograd's back":
            weight.data = weight.data.clone()
            weight.data[2, 3] *= 1 + 1e-6
        elif what == "two values exchanged":
            weight.data = weight.data.clone()
            weight.data[0, :2] = weight.data[0, [1, 0]]
        elif what == "rows exchanged":
            weight.data = weight.data[[1, 0, 2]]
        elif what == "columns exchanged":
            weight.data = weight.data.roll(1, 1)
        elif what == "sign":
            weight.neg_()
        elif what == "type":
            model[2].weight = nn.Parameter(weight.double())
            model[2].weight.data = model[2].weight.data.float().double()
        elif what == "shape":
            model[2].weight = nn.Parameter(weight.detach().clone().reshape(16, 3))
        elif what == "rounded":
            weight.data = weight.data.bfloat16().float()
        elif what == "removed":
            model[2].weight = None
        elif what == "added":
            model[2].extra = nn.Parameter(torch.zeros(1))


CHANGES = ["one value", "one value behind autograd's back", "two values exchanged", "rows exchanged",
           "columns exchanged", "sign", "type", "shape", "rounded", "removed", "added"]  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_what_really_changed_is_refused_and_named(what: str) -> None:
    model = net()
    recording = ec.record(model, {"a": A, "b": B})
    atlas = ec.extract(model, recording)
    moved(model)
    change(model, what)
    name = "2.extra" if what == "added" else "2.weight"
    with pytest.raises(ModelMismatchError, match=rf"changed since it was recorded \({name}\)"):
        atlas.apply(model, erase="a")
    with pytest.raises(ModelMismatchError, match=name):
        ec.extract(model, recording)


def test_a_change_that_is_undone_is_no_change() -> None:
    model = net()
    atlas = atlas_of(model)
    kept = model[0].weight.detach().clone()
    with torch.no_grad():
        model[0].weight.zero_()
        with pytest.raises(ModelMismatchError, match="0.weight"):
            atlas.apply(model, erase="a")
        model[0].weight.copy_(kept)
    assert not torch.equal(atlas.apply(model, erase="a")(A), model(A))


def test_unmoved_weights_are_not_read_again(monkeypatch) -> None:
    model = net()
    atlas = atlas_of(model)
    sums: list[int] = []
    read = identity._sum
    monkeypatch.setattr(identity, "_sum", lambda tensor: sums.append(1) or read(tensor))
    for _ in range(3):
        atlas.apply(model, erase="a")
    assert not sums
    model[0].weight.data = model[0].weight.data.clone()
    for _ in range(3):
        atlas.apply(model, erase="a")
    assert len(sums) == 1  # of the one that moved, and once


def test_a_recording_outlives_its_model_where_another_holds_the_same() -> None:
    model = net()
    other = copy.deepcopy(model)
    different = net()
    recording = ec.record(model, {"a": A, "b": B})
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None
    with pytest.raises(ModelMismatchError, match="no longer exists"):
        recording.identity.check(different)
    atlas = ec.extract(other, recording)
    assert atlas.identity.digest == ec.model_hash(other)
    with pytest.raises(ModelMismatchError, match="another model"):
        atlas.apply(different, erase="a")


SIZES = [0, 1, 3, 7, 8, 9, 4095, 32768, 32769, 65536 + 5, 3 * 2**20 + 13]


@pytest.mark.parametrize("size", SIZES)
def test_every_byte_counts_in_the_sum(size: int) -> None:
    generator = torch.Generator().manual_seed(size)
    data = torch.randint(0, 256, (size,), dtype=torch.uint8, generator=generator)
    right = identity._sum(data)
    shifted = torch.cat([data[:0], torch.zeros(3, dtype=torch.uint8), data])[3:]
    assert identity._sum(data.clone()) == right == identity._sum(shifted)
    for place in {0, size // 3, size // 2, size - 2, size - 1} & set(range(size)):
        for bit in (1, 128):
            data[place] ^= bit
            assert identity._sum(data) != right, (place, bit)
            data[place] ^= bit
    if size > 70000:
        a, b = 11, 11 + 64 * 32768  # one column, two chunks
        for one, two in ((11, 19), (11, 32779), (a, b)):
            swapped = data.clone()
            swapped[[one, two]] = data[[two, one]]
            assert (identity._sum(swapped) != right) == (int(data[one]) != int(data[two]))


def odd_parameters() -> dict[str, Tensor]:
    return {
        "complex": torch.randn(3, 2, dtype=torch.cfloat), "half": torch.randn(5).bfloat16(),
        "float8": torch.randn(5).to(torch.float8_e4m3fn), "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(1.5),
        "conjugate": torch.randn(3, dtype=torch.cfloat).conj(), "meta": torch.zeros(2, device="meta"),
        "turned": torch.randn(6, 5).t(),
    }  # fmt: skip


def test_parameters_of_every_kind_have_an_identity() -> None:
    model = nn.ModuleDict({"fc": nn.Linear(2, 2), "lazy": nn.LazyLinear(3)})
    for name, value in odd_parameters().items():
        model.register_parameter(f"my {name}", nn.Parameter(value))
    known = identity.ModelIdentity(model)
    for name in odd_parameters():
        if name != "meta":
            parameter = model.get_parameter(f"my {name}")
            parameter.data = parameter.data.clone()
    known.check(model)
    assert known.digest == ec.model_hash(model)
    model.get_parameter("my half").data[2] += 1
    with pytest.raises(ModelMismatchError, match="half"):
        known.check(model)
