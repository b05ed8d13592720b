"""A forward pass that writes its own parameters is refused before anything of the base has changed."""

import pytest
import torch
from torch import nn

import engram_core as ec
from engram_core.errors import EffectError, EngramError

A, B = torch.randn(40, 12) + 1, torch.randn(40, 12) - 1


def _average(m):
    with torch.no_grad():
        m.scale.mul_(0.9).add_(0.1)


WRITES = {
    "clamp of .data": lambda m: m.fc.weight.data.clamp_(-0.1, 0.1),
    "an average without gradient": _average,
    "copy": lambda m: m.fc.weight.data.copy_(m.fc.weight * 2),
    "one element": lambda m: m.scale.data.__setitem__(0, 7.0),
    "a slice by view": lambda m: m.fc.weight.data[:1].zero_(),
    "other data": lambda m: setattr(m.fc.weight, "data", m.fc.weight.data * 2),
    "another type": lambda m: setattr(m.scale, "data", m.scale.data.double().float()),
    "out=": lambda m: torch.add(m.scale.data, 1.0, out=m.scale.data),
    "foreach": lambda m: torch._foreach_mul_([m.scale.data, m.fc.bias.data], 2.0),
    "bias": lambda m: m.fc.bias.data.add_(1.0),
}


class Writes(nn.Module):
    def __init__(self, write):
        super().__init__()
        self.fc, self.scale, self.write = nn.Linear(12, 3), nn.Parameter(torch.full((3,), 3.0)), write

    def forward(self, x):
        self.write(self)
        return self.fc(x) * self.scale


@pytest.mark.parametrize("name", WRITES)
def test_a_written_parameter_is_refused_and_the_base_is_as_it_was(name):
    model = Writes(WRITES[name]).eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    places = [parameter.data_ptr() for parameter in model.parameters()]
    with pytest.raises(EngramError):
        ec.record(model, {"a": A, "b": B})
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert places == [parameter.data_ptr() for parameter in model.parameters()]


def test_the_sentence_names_the_parameter_and_the_operation():
    with pytest.raises(EffectError, match=r"writes its parameter 'scale' \(mul_\)"):
        ec.record(Writes(_average).eval(), {"a": A, "b": B})


def test_a_write_that_comes_later_is_found_when_an_edit_shows_that_it_acts():
    model = Writes(lambda m: None).eval()
    atlas = ec.extract(model, ec.record(model, {"a": A, "b": B}))
    model.write = _average
    before = model.scale.detach().clone()
    with pytest.raises(EngramError):
        atlas.apply(model, erase="a")
    assert torch.equal(model.scale, before)


def test_what_a_view_owns_may_be_written():
    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(12, 3)
            self.register_buffer("seen", torch.zeros(()))

        def forward(self, x):
            self.seen.add_(len(x))
            return self.fc(x)

    model = Counts().eval()
    atlas = ec.extract(model, ec.record(model, {"a": A, "b": B}))
    atlas.apply(model, erase="a")(A)
    assert model.seen == 0
