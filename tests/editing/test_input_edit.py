"""The thin products of an edit: shared by layers that read one tensor, never stale, and exact."""

import threading

import pytest
import torch
from helpers import relative, structured
from torch import Tensor, nn

import engram_core as ec
from engram_core.editing.input_edit import InputEdit, OutputEdit
from engram_core.editing.live_edit import live_edit
from engram_core.errors import UnknownNameError


class Shared(nn.Module):
    """Two maps of one input, and a narrow one of a wide input; between the two, a change in place if told."""

    def __init__(self, bias: bool = True) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(40, 60, bias=bias), nn.Linear(40, 30, bias=bias)
        self.down = nn.Linear(60, 20, bias=bias)
        self.disturb = 0.0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            for parameter in self.parameters():
                nn.init.normal_(parameter, std=0.3)

    def forward(self, x: Tensor) -> Tensor:
        x = x * 1.0
        first = torch.relu(self.one(x))
        if self.disturb:
            x += self.disturb
        return torch.cat([self.down(first), self.two(x)], -1)


@pytest.fixture(params=["products", "weights"])
def way(request, monkeypatch) -> str:
    smallest = 0 if request.param == "products" else 1 << 22
    monkeypatch.setattr("engram_core.editing.placement._SMALL_EDIT", smallest)
    return request.param


def case(bias: bool = True) -> tuple[Shared, ec.Atlas, Tensor]:
    model, x = Shared(bias).eval(), (structured(3, 12, 40) + 0.3).float()
    atlas = ec.extract(model, ec.record(model, dict(zip("abcd", x.split(3), strict=True))))
    return model, atlas, x


@pytest.mark.parametrize(
    "edit",
    [
        {"erase": "a"}, {"erase": {"a": 1.0, "c": 0.4}}, {"erase": {"a": 2.0, "b": 2.0}},
        {"keep": ["b"]}, {"keep": ["b"], "null": "in place"}, {"erase": {"d": -1.5}, "scaling": "adaptive"},
        {"erase": "a", "layers": ["one"]}, {"erase": "a", "layers": ["down"]},
    ],
    ids=str,
)  # fmt: skip
def test_both_ways_compute_what_the_baked_weights_do_and_undo_is_exact(way, edit) -> None:
    model, atlas, x = case()
    view = atlas.apply(**edit)
    baked = ec.bake(view)
    for layer in live_edit(view).edit.layers:
        mine, base = view.get_submodule(layer).weight, model.get_submodule(layer).weight
        assert (mine is not base) == (way == "weights")
    for mode in (torch.no_grad, torch.enable_grad, torch.inference_mode):
        with mode():
            assert relative(view(x), baked(x)) < 1e-5
            live_edit(view).off()
            assert torch.equal(view(x), model(x))
            live_edit(view).turn_on()
    assert relative(baked(x), model(x)) > 1e-2


def test_narrow_layers_are_edited_at_the_output_and_others_share_their_input(monkeypatch) -> None:
    monkeypatch.setattr("engram_core.editing.placement._SMALL_EDIT", 0)
    _, atlas, x = case()
    view = atlas.apply(erase="a")
    kinds = [type(edit) for edit in live_edit(view)._inputs.values()]
    assert sorted(kind.__name__ for kind in kinds) == ["InputEdit", "OutputEdit"]
    calls: list[int] = []
    original = InputEdit._edit
    monkeypatch.setattr(InputEdit, "_edit", lambda *a: (calls.append(1), original(*a))[1])
    with torch.no_grad():
        view(x)
    assert len(calls) == 1  # for both of the layers that read x


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad, torch.inference_mode])
def test_an_input_changed_in_place_between_two_layers_is_edited_anew(monkeypatch, mode) -> None:
    """The recording saw one tensor; this input makes the layers read two."""
    monkeypatch.setattr("engram_core.editing.placement._SMALL_EDIT", 0)
    model, _, x = case()
    atlas = ec.extract(model, ec.record(model, dict(zip("abcd", x.split(3), strict=True))))
    assert atlas.source_key("one") == atlas.source_key("two")
    view = atlas.apply(erase="a")
    view.disturb = 0.7
    baked = ec.bake(view)
    baked.disturb = 0.7
    with mode():
        assert relative(view(x), baked(x)) < 1e-5


def inputs(count: int) -> Tensor:
    """Inputs of no concept: of a concept that is off, next to nothing would be left to compare."""
    return torch.randn(count, 40, generator=torch.Generator().manual_seed(7))


MODES = (torch.no_grad, torch.enable_grad, torch.inference_mode)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "edit", [{"erase": {"a": 1.0, "b": 1.0}}, {"erase": {"a": 1.0, "c": 0.4}}, {"keep": ["b"]}], ids=str
)
def test_a_single_position_is_computed_as_one_of_many(monkeypatch, bias, edit) -> None:
    """The products of one position, as in generation, are taken with a vector."""
    monkeypatch.setattr("engram_core.editing.placement._SMALL_EDIT", 0)
    model, atlas, _ = case(bias)
    x = inputs(5)
    view = atlas.apply(**edit)
    baked = ec.bake(view)
    for mode in MODES:
        with mode():
            whole = view(x)
            for one in (x[0], x[:1], x[:1, None], x[:1, None, None], x[:1].t().contiguous().t()):
                found = view(one)
                assert found.shape == model(one).shape
                assert relative(found.reshape(-1), whole[0]) < 1e-5
                assert relative(found, baked(one)) < 1e-5


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_a_single_position_changed_in_place_is_edited_anew(monkeypatch, bias, mode) -> None:
    monkeypatch.setattr("engram_core.editing.placement._SMALL_EDIT", 0)
    _, atlas, _ = case(bias)
    x = inputs(5)
    view = atlas.apply(erase="a")
    view.disturb = 0.7
    baked = ec.bake(view)
    baked.disturb = 0.7
    with mode():
        assert relative(view(x[:1]), baked(x[:1])) < 1e-5


@pytest.mark.parametrize("count", [1, 5])
def test_the_last_reader_of_an_input_lets_go_of_it(monkeypatch, count: int) -> None:
    monkeypatch.setattr("engram_core.editing.placement._SMALL_EDIT", 0)
    _, atlas, _ = case(bias=False)
    x = inputs(5)
    view = atlas.apply(erase="a")
    edit = next(e for e in live_edit(view)._inputs.values() if isinstance(e, InputEdit))
    held: list[bool] = []
    view.down.register_forward_pre_hook(lambda *_: held.append(edit.memo is not None))
    with torch.no_grad():
        view(x[:count])
    assert held == [True] and edit.memo is None


def test_a_single_position_keeps_the_type_that_autocast_gives(monkeypatch) -> None:
    monkeypatch.setattr("engram_core.editing.placement._SMALL_EDIT", 0)
    model, atlas, _ = case(bias=False)
    x = inputs(5)
    view = atlas.apply(erase="a")
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        for count in (1, 4):
            found, base = view(x[:count]), model(x[:count])
            assert found.dtype == base.dtype == torch.bfloat16
            assert relative(found.float(), ec.bake(view)(x[:count]).float()) < 3e-2


def test_a_single_position_follows_a_weight_that_changed_its_place(monkeypatch) -> None:
    """Pruning takes the weight out of the parameters that the products with a vector read."""
    from torch.nn.utils import prune

    monkeypatch.setattr("engram_core.editing.placement._SMALL_EDIT", 0)
    _, atlas, _ = case(bias=False)
    x = inputs(5)
    view = atlas.apply(erase="a")
    prune.l1_unstructured(view.two, "weight", 0.5)
    with torch.no_grad():
        assert relative(view(x[:1]), view(x)[:1]) < 1e-5


def test_a_new_strength_is_a_new_number_and_nothing_else(monkeypatch) -> None:
    monkeypatch.setattr("engram_core.editing.placement._SMALL_EDIT", 0)
    _, atlas, x = case()
    view = atlas.apply(erase={"a": 1.0, "b": 1.0})
    control = live_edit(view)
    held = dict(control._inputs)
    forwards = {name: vars(view.get_submodule(name))["forward"] for name in atlas.layers}
    for strengths in ({"a": 0.5, "b": 0.5}, {"a": 0.5, "b": 2.0}, {"a": -1.0, "b": 3.0}):
        control.set(erase=strengths)
        assert all(control._inputs[key] is edit for key, edit in held.items())
        assert all(vars(view.get_submodule(n))["forward"] is f for n, f in forwards.items())
        with torch.no_grad():
            assert torch.equal(view(x), atlas.apply(erase=strengths)(x))
    for concepts in ("b", "c", "a", {"c": 1.0, "a": 0.5}):
        control.set(erase=concepts)
        with torch.no_grad():
            assert relative(view(x), atlas.apply(erase=concepts)(x)) < 1e-6


def test_only_some_layers_of_an_edit(way) -> None:
    model, atlas, x = case()
    view = atlas.apply(erase="a", scaling="adaptive")
    factor = live_edit(view).report().factors["one"]
    live_edit(view).only(["one"])
    report = live_edit(view).report()
    assert report.layers == ("one",) and list(report.per_layer) == ["one"]
    expected = atlas.apply(erase={"a": factor}, layers=["one"])
    assert relative(view(x), expected(x)) < 1e-5
    assert relative(ec.bake(view)(x), expected(x)) < 1e-5
    live_edit(view).only([])
    assert torch.equal(view(x), model(x))
    live_edit(view).only(None)
    assert relative(view(x), atlas.apply(erase="a", scaling="adaptive")(x)) < 1e-6
    with pytest.raises(UnknownNameError, match="layer of this edit"):
        live_edit(view).only(["three"])


def test_one_view_in_many_threads_shares_no_input(monkeypatch) -> None:
    monkeypatch.setattr("engram_core.editing.placement._SMALL_EDIT", 0)
    _, atlas, x = case()
    view, wrong = atlas.apply(erase="a"), []
    parts = x.split(3)
    with torch.no_grad():
        expected = [view(part) for part in parts]

    def use(i: int) -> None:
        with torch.no_grad():
            wrong.extend(i for _ in range(300) if not torch.equal(view(parts[i]), expected[i]))

    threads = [threading.Thread(target=use, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_products_are_those_of_the_formula() -> None:
    rows, duals = torch.randn(3, 7), torch.randn(3, 7)
    x, weights = torch.randn(5, 6), torch.tensor([0.5, 1.0, -2.0])
    wide = torch.cat([x, torch.ones(5, 1)], 1)
    taken = (wide @ duals.mT * weights) @ rows
    for keeps in (True, False):
        edited, beta = InputEdit(rows, duals, weights, columns=6, keeps=keeps, members=1)(x)
        expected = keeps * wide - taken
        assert relative(edited, expected[:, :6]) < 1e-5
        assert relative(1 + beta[:, 0], expected[:, 6]) < 1e-5
        matrix = torch.randn(4, 7)
        output = OutputEdit(rows @ matrix.mT, duals, weights, columns=6, keeps=keeps)
        found = output(x, lambda x: torch.cat([x, torch.ones(5, 1)], 1) @ matrix.mT)  # noqa: B023
        assert relative(found, expected @ matrix.mT) < 1e-5


@pytest.mark.parametrize("clip", [False, True])
def test_adaptive_factors_follow_the_shares_of_the_concepts_and_not_their_size(
    way, clip, monkeypatch
) -> None:
    _, atlas, x = case()
    atlas = atlas.sharpen(1.5, clip=clip)
    view = atlas.apply(erase={"a": 1.0, "b": 0.5}, scaling="adaptive")
    solved: list[int] = []
    original = ec.Atlas.weight_norm
    monkeypatch.setattr(ec.Atlas, "weight_norm", lambda *a: (solved.append(1), original(*a))[1])
    for strengths in ({"a": 2.0, "b": 1.0}, {"a": 2.0, "b": 2.0}, {"b": -1.0}, {"b": 3.0}):
        solved.clear()
        live_edit(view).set(erase=strengths)
        if strengths == {"a": 2.0, "b": 1.0}:
            assert bool(solved) == clip
        fresh = atlas.apply(erase=strengths, scaling="adaptive")
        with torch.no_grad():
            assert relative(view(x), fresh(x)) < 1e-5
