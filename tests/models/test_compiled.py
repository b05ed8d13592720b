"""Compiled, wrapped and replaced parts: a view runs the code it edits, or the edit is refused by name."""

import copy
import functools
import re
import types
import warnings
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from helpers import relative
from torch import Tensor, nn

import engram_core as ec
from engram_core.errors import CoverageError, EffectError
from engram_core.models.view import shared_copy

A, B = (part.float() for part in torch.randn(2, 20, 12, generator=torch.Generator().manual_seed(0)) + 1)


def net() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 3)).eval()


def atlas_of(model: nn.Module) -> ec.Atlas:
    return ec.extract(model, ec.record(model, {"a": A, "b": B}))


@functools.cache
def right() -> Tensor:
    model = net()
    with torch.no_grad():
        return ec.bake(atlas_of(model).apply(erase="a"))(A)


def whole(model: nn.Sequential) -> nn.Module:
    return torch.compile(model, backend="eager")  # type: ignore[return-value]


def in_place(model: nn.Sequential) -> nn.Module:
    model.compile(backend="eager")
    return model


def part(model: nn.Sequential) -> nn.Module:
    model[0] = torch.compile(model[0], backend="eager")
    return model


def part_in_place(model: nn.Sequential) -> nn.Module:
    model[2].compile(backend="eager")
    return model


def hooked(model: nn.Sequential) -> nn.Module:
    model[0] = torch.compile(model[0], backend="eager")
    model[0].register_forward_hook(lambda module, args, output: output + 0.0)
    return model


def partial(model: nn.Sequential) -> nn.Module:
    model[0].forward = functools.partial(nn.Linear.forward, model[0])  # type: ignore[arg-type]
    return model


def method(model: nn.Sequential) -> nn.Module:
    model[0].forward = types.MethodType(lambda self, x: F.linear(x, self.weight, self.bias), model[0])
    return model


def closure(model: nn.Sequential) -> nn.Module:
    old = model[0].forward
    model[0].forward = lambda x: old(x)  # type: ignore[method-assign]
    return model


def closure_over_all(model: nn.Sequential) -> nn.Module:
    model.forward = lambda x: model[2](model[1](model[0](x)))  # type: ignore[method-assign]
    return model


def accelerated(model: nn.Sequential) -> nn.Module:
    from accelerate.hooks import AlignDevicesHook, add_hook_to_module

    add_hook_to_module(model[0], AlignDevicesHook(execution_device="cpu"))
    return model


WRAPPERS: dict[str, Callable[[nn.Sequential], nn.Module]] = {
    "torch.compile": whole, "m.compile()": in_place, "a compiled part": part,
    "a part by compile()": part_in_place,
    "a compiled part with a hook": hooked, "DataParallel": nn.DataParallel, "fx": torch.fx.symbolic_trace,
    "a partial as forward": partial, "a method as forward": method, "accelerate": accelerated,
    "a closure over a layer as its forward": closure, "a closure over the model": closure_over_all,
}  # fmt: skip


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS.keys())
@pytest.mark.parametrize("when", ["before recording", "before applying"])
def test_what_only_says_how_to_run_changes_nothing(wrap, when: str) -> None:
    model: nn.Module = net()
    if when == "before recording":
        model = wrap(model)
    atlas = atlas_of(model)
    assert atlas.layers == ["0", "2"]
    if when == "before applying":
        model = wrap(model)
    view = atlas.apply(model, erase="a")
    with torch.no_grad():
        assert relative(view(A), right()) < 1e-6
        assert relative(ec.bake(view)(A), right()) < 1e-6
        ec.live_edit(view).off()
        assert torch.equal(view(A), net()(A))
        assert torch.equal(model(A), net()(A))


@pytest.mark.parametrize("order", ["compiled first", "compiled later"])
def test_files_do_not_care_what_is_compiled(tmp_path, order: str) -> None:
    plain, compiled = net(), whole(part(net()))  # type: ignore[arg-type]
    first, second = (compiled, plain) if order == "compiled first" else (plain, compiled)
    atlas_of(first).save(tmp_path / "atlas")
    view = ec.Atlas.load(tmp_path / "atlas", second).apply(erase="a")
    with torch.no_grad():
        assert relative(view(A), right()) < 1e-6
    assert ec.model_hash(plain) == ec.model_hash(compiled)


class Lean(nn.Module):
    """A container that has a length, as compiled modules have in name only."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x)


def test_a_view_has_no_compiled_part_and_the_base_keeps_its_own() -> None:
    model = nn.Sequential(torch.compile(Lean(), backend="eager"))
    model.compile(backend="eager")
    view = shared_copy(model)
    assert type(view[0]) is Lean and view._compiled_call_impl is None
    assert type(model[0]).__name__ == "OptimizedModule" and model._compiled_call_impl is not None
    assert [info.name for info in ec.list_layers(model)] == ["0.fc"]


def test_a_view_that_is_compiled_afterwards_is_still_switched() -> None:
    model = net()
    view = atlas_of(model).apply(erase="a")
    with torch.no_grad():
        fast = torch.compile(view, backend="eager")
        assert relative(fast(A), right()) < 1e-6
        ec.live_edit(fast).off()
        assert torch.equal(fast(A), model(A))
        ec.live_edit(fast).turn_on()
        assert relative(fast(A), right()) < 1e-6


# -- what cannot be edited is refused ---------------------------------------------------------------------


HELD: dict[str, nn.Sequential] = {}  # what a forward finds by a global name, as in a notebook


def by_global_name(model: nn.Sequential) -> None:
    HELD["model"] = model

    def forward(x: Tensor) -> Tensor:
        found = HELD["model"]
        return found[2](found[1](found[0](x)))

    model.forward = forward  # type: ignore[method-assign]


def frozen(model: nn.Sequential) -> None:
    weight, bias = (p.detach().clone() for p in model[0].parameters())
    model[0].forward = lambda x: F.linear(x, weight, bias)  # type: ignore[method-assign]


def hook_on_the_base(model: nn.Sequential) -> None:
    first = model[0]
    first.register_forward_hook(lambda module, args, output: F.linear(args[0], first.weight, first.bias))


class Loud(nn.Linear):
    def __call__(self, x: Tensor) -> Tensor:
        return self.forward(x)


class Larger(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 1.5


def own_call(model: nn.Sequential) -> None:
    model[0].__class__ = Loud


def swapped(model: nn.Sequential) -> None:
    model[0].__class__ = Larger


def functional(model: nn.Sequential) -> None:
    def forward(self: nn.Sequential, x: Tensor) -> Tensor:
        return self[2](self[1](F.linear(x, self[0].weight, self[0].bias)))  # type: ignore[arg-type]

    model.forward = types.MethodType(forward, model)  # type: ignore[method-assign]


def left_out(model: nn.Sequential) -> None:
    def forward(self: nn.Sequential, x: Tensor) -> Tensor:
        return self[2](torch.cat([x, x[:, :4]], 1))

    model.forward = types.MethodType(forward, model)  # type: ignore[method-assign]


def scripted(model: nn.Sequential) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model[0] = torch.jit.script(model[0])


CHANGES: dict[str, tuple[Callable[[nn.Sequential], None], str]] = {
    "a forward that finds the base by name": (by_global_name, "used by the base model itself"),
    "a hook that computes with the base": (hook_on_the_base, "used functionally"),
    "a __call__ of its own": (own_call, r"`\.forward\(\)`, or by a class with a `__call__`"),
    "another class": (swapped, "replaces the forward pass"),
    "used functionally": (functional, r"used functionally \(addmm\)"),
    "no longer used": (left_out, "never called"),
    "TorchScript": (scripted, "TorchScript"),
    "a forward with weights of its own": (frozen, "does not compute with what the layer holds"),
}


@pytest.mark.parametrize(("change", "reason"), CHANGES.values(), ids=CHANGES.keys())
def test_a_layer_that_the_pass_goes_round_after_recording_is_refused_by_name(change, reason: str) -> None:
    model = net()
    atlas = atlas_of(model)
    change(model)
    with pytest.raises(EffectError, match=f"(?s)0.*{reason}"):
        atlas.apply(erase="a")
    if change is not by_global_name:
        view = atlas.apply(erase="a", layers=["2"])
        with torch.no_grad():
            assert relative(view(A), ec.bake(view)(A)) < 1e-6 < relative(view(A), model(A))


@pytest.mark.parametrize(
    ("change", "reason"), [v for v in CHANGES.values() if v[0] is not frozen],
    ids=[k for k, v in CHANGES.items() if v[0] is not frozen],
)  # fmt: skip
def test_a_layer_that_the_pass_goes_round_is_not_covered(change, reason: str) -> None:
    model = net()
    change(model)
    if change is by_global_name:
        with pytest.raises(CoverageError, match=f"0: .*{reason}"):
            atlas_of(model)
        return
    recording = ec.record(model, {"a": A, "b": B})
    assert list(recording.source_of) == ["2"]
    (info,) = [i for i in recording.layers if i.name == "0"]
    assert not info.covered
    assert re.search(reason, info.reason)
    view = ec.extract(model, recording).apply(erase="a")
    with torch.no_grad():
        assert relative(view(A), ec.bake(view)(A)) < 1e-6 < relative(view(A), model(A))


def test_a_refused_edit_leaves_the_view_as_it_was() -> None:
    model = net()
    atlas = atlas_of(model)
    view = atlas.apply(erase="a", layers=["2"])
    before = view(A)
    frozen(model)
    with pytest.raises(EffectError):
        ec.live_edit(view).set(layers=["0", "2"])
    assert torch.equal(view(A), before) and ec.live_edit(view).report().layers == ("2",)


def test_a_model_of_scripted_parts_alone_says_so() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(copy.deepcopy(net()), A)
    with pytest.raises(CoverageError, match="TorchScript: its compiled code cannot be listened to"):
        ec.record(traced, {"a": A, "b": B})
