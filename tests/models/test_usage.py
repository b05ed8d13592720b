"""A layer that the pass goes past says why; a model of such layers alone is refused with that reason."""

import pytest
import torch
import torch.nn.functional as F
from helpers import relative
from torch import Tensor, nn

import engram_core as ec
from engram_core.errors import CoverageError, DataError, EffectError

A, B = torch.randn(2, 20, 12, generator=torch.Generator().manual_seed(0)) + 1


class Direct(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc, self.out = nn.Linear(12, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.relu(self.fc.forward(x)))


class Autoencoder(nn.Module):
    """A weight used twice, once as a layer and once by itself."""

    def __init__(self, wide: int = 8) -> None:
        super().__init__()
        self.enc, self.out = nn.Linear(12, wide, bias=False), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(F.linear(torch.relu(self.enc(x)), self.enc.weight.t()))


class Matmul(Autoencoder):
    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.matmul(torch.relu(self.enc(x)), self.enc.weight[:, :]))


class Regularised(Autoencoder):
    def forward(self, x: Tensor) -> Tensor:
        return self.out(x) + self.enc(x).mean() * self.enc.weight.norm()


class Unused(Direct):
    def forward(self, x: Tensor) -> Tensor:
        return self.out(x[:, :6])


class Peeks(Direct):
    """Looks at what a weight is, and at none of its values."""

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.fc.weight.dtype).to(self.fc.weight.device)[:, : self.fc.weight.shape[1]]
        return self.out(torch.relu(self.fc(x)))


CASES = {
    "called as .forward()": (Direct, "fc", r"called past the layer \(as `\.forward\(\)`"),
    "F.linear": (Autoencoder, "enc", "used functionally"),
    "matmul": (Matmul, "enc", "used functionally"),
    "a regulariser": (Regularised, "enc", "used functionally"),
    "never called": (Unused, "fc", "^never called in the recorded forward passes$"),
}


@pytest.mark.parametrize(("make", "layer", "reason"), CASES.values(), ids=CASES.keys())
def test_a_layer_that_the_pass_goes_past_says_why(make, layer: str, reason: str) -> None:
    model = make().eval()
    recording = ec.record(model, {"a": A, "b": B})
    assert list(recording.source_of) == ["out"]
    (info,) = [i for i in recording.layers if i.name == layer]
    assert not info.covered
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(info.reason)
    view = ec.extract(model, recording).apply(erase="a")
    with torch.no_grad():
        assert relative(view(A), ec.bake(view)(A)) < 1e-6 < relative(view(A), model(A))
    with pytest.raises(CoverageError, match=f"(?s){layer}: .*{reason.strip('^$')}"):
        ec.record(model, {"a": A, "b": B}, layers=[layer])


def test_looking_at_a_weight_is_no_use_of_it() -> None:
    assert list(ec.record(Peeks().eval(), {"a": A, "b": B}).source_of) == ["fc", "out"]


def test_a_mask_that_leaves_nothing_is_told_from_layers_that_are_not_reached() -> None:
    class Forked(Direct):
        def forward(self, x: Tensor) -> Tensor:
            return self.out(x[:, :6]) if x.sum() > 0 else x

    model = Forked().eval()
    with pytest.raises(DataError, match=r"'b' put no row .* its inputs reach none of those .*\(out\)"):
        ec.record(model, {"a": A.abs(), "b": -A.abs()})
    with pytest.raises(DataError, match="'a' put no row into any layer: its mask leaves nothing"):
        ec.record(model, {"a": A.abs()}, masks={"a": torch.zeros(20, dtype=torch.bool)})


# -- what is kept for the proof ------------------------------------------------------------------------------


class Roads(nn.Module):
    """One layer for the inputs of each sign; a batch must be even."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(12, 3), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x.reshape(2, -1, 12)
        return (self.up(x) if x.sum() > 0 else self.down(x)).reshape(-1, 3)


def test_probes_together_reach_every_layer_even_where_no_input_runs_alone(tmp_path) -> None:
    model = Roads().eval()
    recording = ec.record(model, {"a": A.abs(), "b": -A.abs()}, mix=False)
    assert len(recording.probes) == 2 and all(p.needed for p in recording.probes)
    atlas = ec.extract(model, recording)
    atlas.save(tmp_path / "atlas")
    recording.save(tmp_path / "recording")
    for again in (atlas, ec.Atlas.load(tmp_path / "atlas", model),
                  ec.extract(model, ec.Recording.load(tmp_path / "recording"))):  # fmt: skip
        view = again.apply(erase=["a", "b"])
        assert set(ec.live_edit(view).report().layers) == {"up", "down"}
    model.up.forward = lambda x: torch.ones(*x.shape[:-1], 3)  # type: ignore[method-assign]
    for again in (atlas, ec.Atlas.load(tmp_path / "atlas", model)):
        with pytest.raises(EffectError, match="'up'"):
            again.apply(erase=["a", "b"])
        again.apply(erase=["a", "b"], layers=["down"])


def test_an_atlas_without_probes_calls_every_layer_on_recorded_rows() -> None:
    model = Peeks().eval()
    atlas = ec.extract(model, ec.record(model, {"a": A, "b": B}))
    atlas.probes = ()
    view = atlas.apply(erase="a")
    assert relative(view(A), model(A)) > 1e-3
    model.fc.forward = lambda x: torch.ones(len(x), 6)  # type: ignore[method-assign]
    with pytest.raises(EffectError, match="'fc'"):
        atlas.apply(erase="a")


def test_one_proof_serves_all_strengths_and_concepts(monkeypatch) -> None:
    runs: list[int] = []
    forward = Peeks.forward
    monkeypatch.setattr(Peeks, "forward", lambda self, x: runs.append(1) or forward(self, x))
    model = Peeks().eval()
    atlas = ec.extract(model, ec.record(model, {"a": A, "b": B}))
    atlas.apply(erase="a")
    before = len(runs)
    control = ec.live_edit(atlas.apply(erase={"b": 0.5}))
    control.set(erase={"a": 2.0}).off().turn_on().only(["fc"]).only(None)
    atlas.sharpen(2.0).apply(keep=["a"])
    assert len(runs) == before


class Mapped(nn.Module):
    """One layer that is called as layers are, and two inside ``torch.vmap``."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.inner, self.last = nn.Linear(6, 5), nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.vmap(lambda row: self.last(torch.relu(self.inner(row))))(self.first(x))


def test_a_layer_inside_vmap_is_left_out_by_name() -> None:
    torch.manual_seed(0)
    model = Mapped()
    x = {"a": torch.randn(20, 6) + 1, "b": torch.randn(20, 6)}
    recording = ec.record(model, x)
    reasons = {info.name: info.reason for info in recording.layers}
    assert not reasons["first"]
    assert "torch.vmap" in reasons["inner"] and "torch.vmap" in reasons["last"]
    view = ec.extract(model, recording).apply(erase="a")
    assert ec.live_edit(view).report().layers == ("first",)
    assert relative(ec.bake(view)(x["a"]), view(x["a"])) < 1e-6


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_the_out_projection_of_an_attention_that_is_not_covered_is_none_of_its_own(training: bool) -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(12, 2, 16, dropout=0.0, batch_first=True).train(training)
    nn.utils.parametrizations.weight_norm(layer.self_attn.out_proj)
    x = {"a": torch.randn(6, 5, 12) + 1, "b": torch.randn(6, 5, 12)}
    atlas = ec.extract(layer, ec.record(layer, x))
    assert [info.name for info in atlas.coverage if not info.covered][0] == "self_attn"
    assert atlas.layers == ["linear1", "linear2"]
    view = atlas.apply(erase="a").eval()
    assert relative(ec.bake(view).eval()(x["a"]), view(x["a"])) < 1e-5


def test_an_attribute_that_is_only_named_like_hooks_is_no_obstacle() -> None:
    model = Direct()
    model.require_grads_hooks = [lambda: None]  # as transformers keeps those of gradient checkpointing
    x = {"a": torch.randn(20, 12) + 1, "b": torch.randn(20, 12)}
    view = ec.extract(model, ec.record(model, x)).apply(erase="a")
    assert ec.live_edit(view).report().relative > 0
