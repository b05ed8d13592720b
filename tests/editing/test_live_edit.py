"""A view computes exactly what its edit says, beside a base that nothing touches."""

import copy
import pickle
import threading
from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
from helpers import Case, accuracy, engram_by_hand, homogeneous, matrix_of, relative, structured
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

import engram_core as ec
from engram_core.errors import DataError, EngramError, ModelMismatchError, UnknownNameError


@pytest.fixture(autouse=True)
def models_as_if_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Edits of few weights all go into the weights (test_input_edit.py); here both ways are wanted."""
    monkeypatch.setattr("engram_core.editing.placement._SMALL_EDIT", 0)


def atlas_of(case: Case, rows: int | None = None, **options) -> ec.Atlas:
    return ec.extract(
        case.model, ec.record(case.model, {n: x[:rows] for n, x in case.concepts.items()}), **options
    )


@pytest.fixture(scope="module")
def atlas(digits: Case) -> ec.Atlas:
    return atlas_of(digits)


class Wide(nn.Module):
    """Layers of every kind, wide enough that few rows are edited at the input."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.one = nn.Linear(40, 60)
        self.two = nn.Linear(60, 50, bias=False)
        self.three = Conv1D(44, 50)
        self.conv = nn.Conv2d(1, 6, (2, 3), padding=(1, 0), padding_mode="circular")
        self.grouped = nn.Conv2d(6, 4, 2, stride=2, groups=2, bias=False)
        self.attn = nn.MultiheadAttention(12, 3, kdim=12, vdim=7, batch_first=True)
        self.packed = nn.MultiheadAttention(12, 2)
        self.head = nn.Linear(12, 5)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            for parameter in self.parameters():
                nn.init.normal_(parameter, std=0.3)
        self.to(dtype).eval()

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.three(torch.relu(self.two(torch.relu(self.one(x))))))
        x = self.conv(x.reshape(-1, 1, 4, 11))
        x = self.grouped(torch.relu(x)).reshape(len(x), -1)  # 4 × 2 × 4 = 32
        x = torch.nn.functional.pad(x, (0, 4)).reshape(-1, 3, 12)
        x = x + self.attn(x, x, x[..., :7])[0]
        x = x.transpose(0, 1)
        x = x + self.packed(x, x, x, need_weights=False)[0]
        return self.head(x.mean(0))


def wide_case(rows: int, dtype: torch.dtype = torch.float32) -> Case:
    inputs = (structured(7, 4 * rows, 40) + 0.3).to(dtype)
    parts = dict(zip("abcd", inputs.split(rows), strict=True))
    return Case(Wide(dtype), parts, inputs, torch.zeros(len(inputs)))


EDITS: dict[str, dict] = {
    "erase": {"erase": {"a": 1.0}},
    "erase two": {"erase": {"a": 0.7, "b": 1.6}},
    "amplify": {"erase": {"a": -0.5}},
    "keep from nothing": {"keep": ["a"]},
    "keep two weighted": {"keep": {"a": 1.0, "b": 0.4}},
    "keep in place": {"keep": ["a"], "null": "in place"},
    "erase and keep": {"keep": ["a", "b"], "erase": {"b": 0.5, "c": 1.0}},
    "erase and keep in place": {"keep": ["a", "b"], "erase": {"b": 0.5}, "null": "in place"},
    "keep nothing at all": {"keep": {"a": 0.0}},
    "keep what is erased": {"keep": ["a"], "erase": ["a"]},
    "adaptive": {"erase": {"a": 1.0}, "scaling": "adaptive"},
    "adaptive squared, in place": {
        "keep": ["c"], "null": "in place", "scaling": "adaptive", "adaptive_power": 2.0,
    },
    "some layers": {"erase": {"a": 1.0}, "layers": ["one", "attn.v_proj", "packed.k_proj", "grouped"]},
}  # fmt: skip


def by_hand(atlas: ec.Atlas, edit: dict, layer: str) -> Tensor:
    """Return ``W' = w₀ W − f Σ s E`` from the engrams alone (which test_identities holds to the formula)."""
    layers = edit.get("layers") or atlas.layers
    matrix = atlas.matrix(layer).double()
    if layer not in layers:
        return matrix
    erased = edit.get("erase") or {}
    taken = dict.fromkeys(atlas, 0.0) | (dict.fromkeys(erased, 1.0) if isinstance(erased, list) else erased)
    kept, start = edit.get("keep"), 1.0
    if kept is not None:
        kept = kept if isinstance(kept, dict) else dict.fromkeys(kept, 1.0)
        start = 1.0 if edit.get("null") == "in place" else 0.0
        for name in atlas:
            taken[name] += start - kept.get(name, 0.0)

    def change(at: str) -> Tensor:
        return sum((atlas[n] * s).matrix(at).double() for n, s in taken.items())  # type: ignore[return-value]

    factor = 1.0
    if edit.get("scaling") == "adaptive":
        sizes = {at: float(change(at).norm() / atlas.matrix(at).double().norm()) for at in layers}
        factor = (sizes[layer] / max(sizes.values())) ** edit.get("adaptive_power", 1.0)
    return start * matrix - factor * change(layer)


def is_dense(view: nn.Module, layer: str) -> bool:
    control = ec.live_edit(view)
    module = control.atlas.linear_map(layer).module
    mine, base = view.get_submodule(module), control.atlas.model.get_submodule(module)
    return any(p is not q for p, q in zip(mine.parameters(), base.parameters(), strict=True))


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
@pytest.mark.parametrize("rows", [3, 30], ids=["few rows", "many rows"])
@pytest.mark.parametrize("sharp", [None, 2.0, (1.5, True)], ids=["plain", "sharp", "clipped"])
def test_view_and_baked_weights_are_what_the_edit_says(edit: dict, rows: int, sharp) -> None:
    case = wide_case(rows, torch.float64)
    atlas = atlas_of(case)
    if sharp is not None:
        atlas = atlas.sharpen(sharp[0], clip=sharp[1]) if isinstance(sharp, tuple) else atlas.sharpen(sharp)
    view = atlas.apply(**edit)
    baked = ec.bake(view)
    for layer in atlas.layers:
        linear_map = atlas.linear_map(layer)
        assert relative(linear_map.matrix(baked), by_hand(atlas, edit, layer)) < 1e-9, layer
        if is_dense(view, layer):
            assert relative(linear_map.matrix(view), linear_map.matrix(baked)) < 1e-12
    expected = baked(case.inputs)
    assert relative(view(case.inputs), expected) < 1e-9
    with torch.no_grad():
        assert relative(view(case.inputs), expected) < 1e-9
    assert relative(expected, case.model(case.inputs)) > 1e-3


def test_both_ways_of_editing_are_in_use() -> None:
    few, many = (atlas_of(wide_case(rows)).apply(erase="a") for rows in (3, 30))
    assert not is_dense(few, "one") and not is_dense(few, "two") and not is_dense(few, "three")
    assert is_dense(many, "one") and is_dense(few, "conv") and is_dense(few, "attn.q_proj")


@pytest.mark.parametrize("name", ["digits", "digits_cnn", "digits_attention"])
@pytest.mark.parametrize("rows", [4, None], ids=["few rows", "all rows"])
def test_trained_models_compute_the_same_in_view_and_baked(name: str, rows: int | None, request) -> None:
    case = request.getfixturevalue(name)
    atlas = atlas_of(case, rows)
    for edit in ({"erase": {"3": 1.0, "7": 0.5}}, {"keep": ["3", "4"]}, {"keep": ["1"], "null": "in place"}):
        view = atlas.apply(**edit)
        with torch.no_grad():
            assert relative(view(case.inputs[:200]), ec.bake(view)(case.inputs[:200])) < 1e-3
            assert relative(view(case.inputs[:200]), case.model(case.inputs[:200])) > 0.02


def test_erasing_a_digit_by_hand_is_erasing_it(digits: Case, atlas: ec.Atlas) -> None:
    """One layer, from the data up: nothing of the engine on the other side."""
    with torch.no_grad():
        hidden = {n: homogeneous(digits.model[:2](x), True) for n, x in digits.concepts.items()}
    matrix = matrix_of(digits.model[2])
    engram = engram_by_hand(matrix, hidden["6"], torch.cat(list(hidden.values())))
    baked = ec.bake(atlas.apply(erase={"6": 0.8}, layers=["2"]))
    assert relative(matrix_of(baked[2]), matrix - 0.8 * engram) < 1e-4
    assert torch.equal(baked[0].weight, digits.model[0].weight)


def test_erasing_forgets_the_digit_and_keeping_keeps_it(digits: Case, atlas: ec.Atlas) -> None:
    for name in ("0", "5", "6"):
        own = digits.labels == int(name)
        without = atlas.apply(erase=name)
        assert accuracy(without, digits.inputs[own], digits.labels[own]) < 0.3
        before = accuracy(digits.model, digits.inputs[~own], digits.labels[~own])
        assert accuracy(without, digits.inputs[~own], digits.labels[~own]) > before - 0.05
        alone = atlas.apply(keep=name)
        assert accuracy(alone, digits.inputs[own], digits.labels[own]) > 0.9


# -- off, undo, nothing ----------------------------------------------------------------------------------


@pytest.fixture(params=["digits", "digits_cnn", "digits_attention", "wide"])
def edited(request) -> tuple[Case, ec.Atlas]:
    case = wide_case(3) if request.param == "wide" else request.getfixturevalue(request.param)
    return case, atlas_of(case, 6)


def outputs(model: nn.Module, case: Case) -> Tensor:
    with torch.no_grad():
        return model(case.inputs[:50])


def test_off_undo_and_strength_zero_are_the_base_bit_for_bit(edited: tuple[Case, ec.Atlas]) -> None:
    case, atlas = edited
    first = next(iter(atlas))
    expected = outputs(case.model, case)
    view = atlas.apply(erase={first: 1.0})
    control = ec.live_edit(view)
    assert control.on and not torch.equal(outputs(view, case), expected)
    edited_output = outputs(view, case)
    off: dict[str, Callable[[], object]] = {
        "off": control.off,
        "strength 0": lambda: control.set(erase={first: 0.0}),
        "nothing erased": lambda: control.set(erase=None),
    }
    for switch in off.values():
        switch()
        assert not control.on and not control.report().on and control.report().relative == 0
        assert torch.equal(outputs(view, case), expected)
        assert torch.equal(outputs(control.bake(), case), expected)
        assert all(p is q for p, q in zip(view.parameters(), case.model.parameters(), strict=True))
        control.set(erase={first: 1.0})
        assert torch.equal(outputs(view, case), edited_output)
    control.off().turn_on()
    assert torch.equal(outputs(view, case), edited_output)


def test_the_base_keeps_its_very_tensors(edited: tuple[Case, ec.Atlas]) -> None:
    case, atlas = edited
    names = list(atlas)
    objects = [(id(t), t.data_ptr(), t._version) for t in case.model.state_dict(keep_vars=True).values()]
    values = {name: t.clone() for name, t in case.model.state_dict().items()}
    before = outputs(case.model, case)
    view = atlas.apply(keep=names[:2], erase={names[1]: 0.3})
    outputs(view, case)
    ec.live_edit(view).set(keep=None, erase=dict.fromkeys(names, 0.4), scaling="adaptive").bake()
    after = case.model.state_dict(keep_vars=True)
    assert [(id(t), t.data_ptr(), t._version) for t in after.values()] == objects
    assert all(torch.equal(t, values[name]) for name, t in after.items())
    assert torch.equal(outputs(case.model, case), before)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in case.model.modules())
    assert not hasattr(case.model, "engram_edit")


def test_training_a_view_does_not_move_the_bases_running_statistics(digits_cnn: Case) -> None:
    atlas = atlas_of(digits_cnn, 20)
    view = atlas.apply(erase="1").train()
    before = digits_cnn.model[1].running_mean.clone()
    count = int(digits_cnn.model[1].num_batches_tracked)
    view(digits_cnn.inputs[:64] + 3.0)
    assert not torch.equal(view[1].running_mean, before)
    assert torch.equal(digits_cnn.model[1].running_mean, before)
    assert int(digits_cnn.model[1].num_batches_tracked) == count
    assert not digits_cnn.model.training


def test_changing_strength_neither_solves_nor_copies(monkeypatch, edited: tuple[Case, ec.Atlas]) -> None:
    case, atlas = edited
    one, two = list(atlas)[:2]
    view = atlas.apply(erase={one: 1.0, two: 0.5})
    control = ec.live_edit(view)

    def refuse(*_args, **_options):
        raise AssertionError("solved or copied again")

    for name in ("eigh", "eigvalsh", "svd", "cholesky_ex", "inv", "pinv", "solve"):
        monkeypatch.setattr(torch.linalg, name, refuse)
    monkeypatch.setattr(copy, "deepcopy", refuse)
    for strength in (0.0, 0.2, 1.0, 3.0, -1.0):
        control.set(erase={one: strength, two: 0.5})
        outputs(view, case)
    control.set(erase={one: 1.0}, scaling="adaptive")
    control.off()
    control.turn_on()
    assert control.report().on


def test_the_last_of_many_changes_is_what_counts(edited: tuple[Case, ec.Atlas]) -> None:
    case, atlas = edited
    names = list(atlas)
    view = atlas.apply(erase={names[0]: 1.0})
    for change in ({"erase": {names[1]: 2.0}}, {"keep": names[:1]}, {"null": "in place"}, {"keep": None}):
        ec.live_edit(view).set(**change)
    fresh = atlas.apply(erase={names[1]: 2.0})
    assert relative(outputs(view, case), outputs(fresh, case)) < 1e-5


def test_changing_strength_leaves_the_chosen_layers_as_they_are() -> None:
    inner = nn.Sequential(OrderedDict(fc=nn.Linear(6, 6)))
    model = nn.Sequential(OrderedDict(block=inner, fc=nn.Linear(6, 3)))
    rows = structured(0, 40, 6).float()
    atlas = ec.extract(model, ec.record(model, {"a": rows[:20], "b": rows[20:]}))
    view = atlas.apply(erase={"a": 1.0}, layers="fc")  # a regular expression: the outer one only
    assert ec.live_edit(view).edit.layers == ("fc",)
    assert ec.live_edit(view).set(erase={"a": 0.5}).edit.layers == ("fc",)
    assert ec.live_edit(view).set(layers=["fc"]).edit.layers == ("block.fc", "fc")


def test_the_report_measures_the_change_that_was_made(edited: tuple[Case, ec.Atlas]) -> None:
    _, atlas = edited
    one, two = list(atlas)[:2]
    for edit in (
        {"erase": {one: 1.0, two: 0.5}},
        {"erase": {one: 1.0}, "scaling": "adaptive"},
        {"keep": [one], "layers": atlas.layers[:2]},
    ):
        control = ec.live_edit(atlas.apply(**edit))
        report, baked = control.report(), control.bake()
        assert report.on and list(report.per_layer) == list(report.layers) == list(control.edit.layers)
        changes, sizes = [], []
        for layer in report.layers:
            matrix = atlas.matrix(layer).double()
            changes.append(atlas.linear_map(layer).matrix(baked).double() - matrix)
            sizes.append(matrix)
            change = float(changes[-1].norm() / matrix.norm())
            assert report.per_layer[layer] == pytest.approx(change, rel=1e-2, abs=1e-5)
        whole = sum(float(c.square().sum()) for c in changes) / sum(float(m.square().sum()) for m in sizes)
        assert report.relative == pytest.approx(whole**0.5, rel=1e-2)
    assert control.report().kept == (one,)


# -- precision -------------------------------------------------------------------------------------------


def test_bfloat16_weights_are_rounded_once() -> None:
    case = wide_case(30, torch.bfloat16)
    atlas = atlas_of(case)
    strength = 0.004  # smaller than a bfloat16 step of most entries
    baked = ec.bake(atlas.apply(erase={"a": strength}))
    for layer in atlas.layers:
        linear_map = atlas.linear_map(layer)
        exact = linear_map.matrix(case.model) - strength * atlas["a"].matrix(layer)
        assert exact.dtype == torch.float32
        assert torch.equal(linear_map.matrix(baked), exact.bfloat16().float())
    assert all(p.dtype == torch.bfloat16 for p in baked.parameters())
    assert baked(case.inputs).dtype == torch.bfloat16


def test_a_bfloat16_view_computes_in_its_own_type() -> None:
    case = wide_case(3, torch.bfloat16)
    atlas = atlas_of(case)
    view = atlas.apply(erase={"a": 1.0})
    assert not is_dense(view, "one")
    output = view(case.inputs)
    assert output.dtype == torch.bfloat16
    exact = Wide(torch.float32)
    exact.load_state_dict(case.model.state_dict())
    same = ec.extract(exact, ec.record(exact, {n: x.float() for n, x in case.concepts.items()}))
    wanted = same.apply(erase={"a": 1.0}, layers=["one"])(case.inputs.float())
    found = atlas.apply(erase={"a": 1.0}, layers=["one"])(case.inputs)
    plain = relative(case.model(case.inputs), exact(case.inputs.float()))  # what bfloat16 costs anyway
    assert relative(found, wanted) < 3 * plain + 0.01


def _gradient(model: nn.Module, inputs: Tensor) -> Tensor:
    x = inputs.clone().requires_grad_()
    model(x).square().sum().backward()
    assert x.grad is not None
    return x.grad


def test_gradients_flow_through_a_view_to_its_input() -> None:
    # Not the erased rows themselves: their response is zero but for rounding, so on which side of the ReLU
    # they fall, and with it their gradient, is up to the processor.
    case = wide_case(3, torch.float64)
    others = structured(8, 12, 40).double() + 0.3
    view = atlas_of(case).apply(erase={"a": 1.0})
    baked = ec.bake(view)
    found, plain = _gradient(view, others), _gradient(baked, others)
    assert relative(found, plain) < 1e-9
    assert relative(found, _gradient(case.model, others)) > 0.1  # the edit is felt


# -- layers with paths of their own ----------------------------------------------------------------------


@pytest.mark.parametrize("width", [16, 128], ids=lambda w: f"{w} hidden")
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("grad", [False, True], ids=["fused", "not fused"])
def test_edits_act_on_the_fused_encoder(width: int, padded: bool, grad: bool) -> None:
    """Few rows and a wide layer would be edited by hooks, which the fused path cannot take."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(32, 2, width, batch_first=True, dropout=0.0)
    model = nn.TransformerEncoder(layer, 2).eval()
    x = torch.randn(4, 3, 32)
    padding = torch.tensor([[False, False, True]] * 4) if padded else None
    atlas = ec.extract(model, ec.record(model, {"a": x[:2], "b": x[2:]}))
    for edit in ({"erase": {"a": 1.0}}, {"erase": {"a": 1.0}, "layers": ["linear1"]}, {"keep": ["a"]}):
        view = atlas.apply(**edit)
        baked = ec.bake(view)
        with torch.set_grad_enabled(grad):
            found, expected, base = (m(x, src_key_padding_mask=padding)[:, :2] for m in (view, baked, model))
        assert relative(found, expected) < 1e-5
        assert relative(found, base) > 1e-2


class Keyword(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(40, 60)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(input=x)


def test_a_layer_called_with_keywords_is_edited() -> None:
    model, x = Keyword(), structured(0, 8, 40).float()
    atlas = ec.extract(model, ec.record(model, {"a": x[:4], "b": x[4:]}))
    view = atlas.apply(erase="a")
    assert not is_dense(view, "fc")
    assert relative(view(x), ec.bake(view)(x)) < 1e-4
    assert relative(view(x[:4]), model(x[:4])) > 0.5


def test_a_failed_call_does_not_disturb_the_next() -> None:
    case = wide_case(3)
    view = atlas_of(case).apply(erase="a", layers=["one"])
    expected = view(case.inputs)
    handle = view.one.register_forward_pre_hook(lambda *_: (torch.zeros(1, 3),))
    with pytest.raises(RuntimeError):
        view(case.inputs)
    handle.remove()
    assert torch.equal(view(case.inputs), expected)


# -- threads ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [3, 30], ids=["hooks", "weights"])
def test_four_threads_each_with_an_edit_of_its_own_beside_the_base(rows: int) -> None:
    case = wide_case(rows)
    atlas = atlas_of(case)
    edits = [{"erase": {"a": 1.0}}, {"erase": {"b": 2.0}}, {"keep": ["c"]}, {"erase": {"d": -1.0}}, None]
    x = case.inputs[:4]
    wrong: list[int] = []
    start = threading.Barrier(len(edits))

    def use(edit: dict | None) -> None:
        model = case.model if edit is None else atlas.apply(**edit)
        other = None if edit is None else ec.live_edit(model)
        with torch.no_grad():
            expected = model(x)
            start.wait()
            for call in range(500):
                if other is not None and call % 100 == 50:  # switched while others compute
                    other.off()
                    other.turn_on()
                if not torch.equal(model(x), expected):
                    wrong.append(call)

    with torch.no_grad():
        base = case.model(x)
    threads = [threading.Thread(target=use, args=(edit,)) for edit in edits]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert torch.equal(case.model(x), base)


def test_one_view_may_be_called_by_several_threads() -> None:
    case = wide_case(3)
    view = atlas_of(case).apply(erase={"a": 1.0}, layers=["one"])
    parts = case.inputs.split(3)
    with torch.no_grad():
        expected = [view(x) for x in parts]
    wrong: list[int] = []

    def use(i: int) -> None:
        with torch.no_grad():
            for _ in range(300):
                if not torch.equal(view(parts[i]), expected[i]):
                    wrong.append(i)

    threads = [threading.Thread(target=use, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# -- what is refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "edit", [{"erase": "77"}, {"keep": ["77"]}, {"erase": {"1": 1.0, "77": 1.0}}], ids=str
)
def test_an_unknown_concept_suggests_the_nearest(atlas: ec.Atlas, edit: dict) -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown concept '77'. Did you mean '7'"):
        atlas.apply(**edit)


def test_an_unknown_layer_is_named(atlas: ec.Atlas) -> None:
    with pytest.raises(UnknownNameError, match="Unknown layer 'fc'"):
        atlas.apply(erase="1", layers=["fc"])


@pytest.mark.parametrize("strength", [float("nan"), float("inf"), -float("inf"), "much", None, [1.0]])
@pytest.mark.parametrize("kind", ["erase", "keep"])
def test_a_strength_that_is_no_finite_number_is_refused(atlas: ec.Atlas, kind: str, strength) -> None:
    with pytest.raises(DataError, match="'1' must be a finite number"):
        atlas.apply(**{kind: {"1": strength}})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"null": "zero"}, "null"), ({"scaling": "loud"}, "scaling"), ({"adaptive_power": -1.0}, "power"),
        ({"adaptive_power": float("nan")}, "power"), ({"keep": []}, "names no concept"),
        ({"keep": ["2"], "scaling": "adaptive"}, "from nothing"),
    ],
)  # fmt: skip
def test_impossible_options_are_refused(atlas: ec.Atlas, options: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        atlas.apply(**({"erase": "1"} | options))


def test_a_refused_change_leaves_the_edit_in_force(digits: Case, atlas: ec.Atlas) -> None:
    view = atlas.apply(erase={"1": 1.0})
    before = outputs(view, digits)
    for change in ({"erase": {"1": float("nan")}}, {"erase": "99"}, {"null": "zero"}, {"layers": ["fc"]}):
        with pytest.raises(EngramError):
            ec.live_edit(view).set(**change)
    assert torch.equal(outputs(view, digits), before)


def test_another_model_and_changed_weights_are_refused(digits: Case) -> None:
    model = copy.deepcopy(digits.model)
    recording = ec.record(model, digits.concepts)
    atlas = ec.extract(model, recording)
    other = copy.deepcopy(model)
    assert (
        relative(atlas.apply(other, erase="1")(digits.inputs), atlas.apply(erase="1")(digits.inputs)) < 1e-6
    )
    with torch.no_grad():
        other[0].weight[0, 0] += 1e-3
    with pytest.raises(ModelMismatchError, match="another model"):
        atlas.apply(other, erase="1")
    with torch.no_grad():
        model[2].bias += 1e-3
    for use in (lambda: atlas.apply(erase="1"), lambda: ec.extract(model, recording)):
        with pytest.raises(ModelMismatchError, match=r"changed since.*2\.bias"):
            use()


def test_weights_changed_behind_autograds_back_are_refused(digits: Case) -> None:
    """`.data` leaves no trace in the change counter; the reference's own in-place edit writes that way."""
    model = copy.deepcopy(digits.model)
    atlas = ec.extract(model, ec.record(model, digits.concepts))
    model[0].weight.data -= atlas["1"].weight("0")
    with pytest.raises(ModelMismatchError, match=r"changed since.*0\.weight"):
        atlas.apply(erase="1")


def test_only_an_edited_view_has_an_edit_and_it_cannot_be_copied(digits: Case, atlas: ec.Atlas) -> None:
    with pytest.raises(DataError, match="not an edited view"):
        ec.live_edit(digits.model)
    view = atlas.apply(erase="1")
    for duplicate in (copy.deepcopy, pickle.dumps):
        with pytest.raises(EngramError, match="bake"):
            duplicate(view)
    copied = copy.deepcopy(ec.bake(view))
    assert torch.equal(outputs(copied, digits), outputs(ec.bake(view), digits))


def test_a_view_of_a_view_is_a_view_of_the_base(digits: Case, atlas: ec.Atlas) -> None:
    view = atlas.apply(erase="1")
    again = atlas.apply(view, erase="2")
    assert torch.equal(outputs(again, digits), outputs(atlas.apply(erase="2"), digits))
