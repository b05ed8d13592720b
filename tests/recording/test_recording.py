"""One forward pass records everything, whatever the batches, the sharing and the model's habits."""

import copy
import threading
import weakref
from collections.abc import Iterator

import pytest
import torch
from helpers import accuracy, relative, structured
from recorded import LINEAR, Block, moment, one_sided, rows_of
from torch import Tensor, nn
from torch.nn.utils import prune

import engram_core as ec
from engram_core.errors import CoverageError, DataError, ModelMismatchError, NonFiniteError, UnknownNameError
from engram_core.recording.recording import Recording


def assert_same(one: Recording, two: Recording, tolerance: float = 1e-5) -> None:
    """Every layer and concept has the same statistics in both."""
    assert set(one.source_of) == set(two.source_of) and one.concepts == two.concepts
    assert one.counts == two.counts
    for layer in one.source_of:
        for concept in one.concepts:
            assert one.rows(layer, concept) == two.rows(layer, concept)
            expected = moment(two, layer, concept)
            if expected.any():
                assert relative(moment(one, layer, concept), expected) < tolerance, (layer, concept)


# -- statistics ------------------------------------------------------------------------------------------


# -- batches, order, sharing -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["digits", "digits_cnn", "digits_attention"])
@pytest.mark.parametrize(
    "options", [{"batch_size": 7}, {"mix": True}, {"mix": True, "batch_size": 33}], ids=str
)
def test_batch_size_and_mixing_do_not_change_the_recording(name: str, options: dict, request) -> None:
    case = request.getfixturevalue(name)
    few = {concept: x[: 5 + 3 * i] for i, (concept, x) in enumerate(case.concepts.items())}
    assert_same(ec.record(case.model, few, **options), ec.record(case.model, few))


def test_batch_order_and_concept_order_do_not_matter(digits) -> None:
    parts = {name: list(x[:60].split(20)) for name, x in digits.concepts.items()}
    backwards = {name: parts[name][::-1] for name in parts}
    assert_same(ec.record(digits.model, parts), ec.record(digits.model, backwards))
    other = ec.record(digits.model, dict(reversed(list(parts.items()))))
    for name in parts:
        assert relative(moment(other, "2", name), moment(ec.record(digits.model, parts), "2", name)) < 1e-6


# -- how layers are called -------------------------------------------------------------------------------


# -- masks -----------------------------------------------------------------------------------------------


def test_a_mask_over_inputs_chooses_inputs() -> None:
    keep = torch.arange(50) % 3 == 0
    recording = ec.record(nn.Linear(6, 3), LINEAR, masks={"b": keep}, batch_size=8)
    assert relative(moment(recording, "Linear", "b"), rows_of(LINEAR["b"][keep])) < 1e-6
    assert relative(moment(recording, "Linear", "a"), rows_of(LINEAR["a"])) < 1e-6


@pytest.mark.parametrize("mix", [False, True])
def test_a_mask_over_positions_chooses_positions(digits_attention, mix: bool) -> None:
    model, concepts = digits_attention.model, {n: x[:9] for n, x in digits_attention.concepts.items()}
    masks = {name: torch.rand(9, 8) < 0.5 for name in concepts}
    everything = ec.record(model, {n: x[i : i + 1] for n, x in concepts.items() for i in [0]})
    recording = ec.record(model, concepts, masks=masks, mix=mix, batch_size=16)
    assert set(recording.source_of) == set(everything.source_of)
    for name in concepts:
        rows = concepts[name].reshape(9, 8, 8)[masks[name]]
        assert relative(moment(recording, "embed", name), rows_of(rows)) < 1e-6
        for layer in ("encoder.layers.0.self_attn.q_proj", "encoder.layers.1.linear2"):
            assert recording.rows(layer, name) == int(masks[name].sum())
        assert recording.rows("head", name) == int(masks[name].any(1).sum())  # pooled before this layer


def test_masks_given_batch_by_batch_fit_batches_given_one_by_one() -> None:
    parts = list(LINEAR["b"].split(9))
    masks = [torch.rand(len(part)) < 0.5 for part in parts]
    recording = ec.record(nn.Linear(6, 3), {"b": iter(parts)}, masks={"b": iter(masks)})
    assert relative(moment(recording, "Linear", "b"), rows_of(LINEAR["b"][torch.cat(masks)])) < 1e-6


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.ones(49), "shape"), (torch.ones(51), "longer|shape"), (torch.zeros(50), "leaves nothing"),
        (torch.ones(50, 2, 2), "shape"),
    ],
)  # fmt: skip
def test_a_mask_that_does_not_fit_is_refused(mask: Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ec.record(nn.Linear(6, 3), LINEAR, masks={"b": mask})


def test_a_mask_one_position_too_long_is_refused_and_not_taken_for_whole_inputs() -> None:
    with pytest.raises(DataError, match="cannot be matched"):
        ec.record(nn.Linear(6, 3), {"a": torch.randn(5, 4, 6)}, masks={"a": torch.ones(5, 5)})


def test_a_mask_for_an_unknown_concept_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean"):
        ec.record(nn.Linear(6, 3), {"seven": LINEAR["a"]}, masks={"sevn": torch.ones(30)})


# -- the model afterwards --------------------------------------------------------------------------------


def state(model: nn.Module) -> tuple:
    tensors = [t.clone() for t in model.state_dict().values()]
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks), m.training, type(m)) for m in model.modules()]
    return tensors, hooks, [id(p) for p in model.parameters()], set(dict(model.named_modules()))


def assert_untouched(before: tuple, after: tuple) -> None:
    assert before[1:] == after[1:]
    assert all(torch.equal(x, y) for x, y in zip(before[0], after[0], strict=True))


@pytest.mark.parametrize("name", ["digits_cnn", "digits_attention"])
@pytest.mark.parametrize("fails", [False, True])
def test_mode_hooks_and_weights_are_as_before(name: str, fails: bool, request) -> None:
    case = request.getfixturevalue(name)
    model = copy.deepcopy(case.model).train()
    list(model.modules())[-1].eval()  # a mixed mode is kept as it is
    calls: list[int] = []
    model.register_forward_hook(lambda *_: calls.append(1))
    before = state(model)
    good = case.concepts["1"][:20]
    if fails:
        with pytest.raises(DataError):
            ec.record(model, {"good": good, "bad": torch.randn(3, 1, 8, 5)})
    else:
        ec.extract(model, ec.record(model, {"a": good, "b": case.concepts["2"]})).apply(erase="a")(good)
    assert_untouched(before, state(model))


def test_recording_in_train_mode_is_recording_in_evaluation_mode(digits_cnn) -> None:
    few = {name: x[:30] for name, x in digits_cnn.concepts.items()}
    training = copy.deepcopy(digits_cnn.model).train()
    one, two = ec.record(training, few), ec.record(digits_cnn.model, few)
    for layer in one.source_of:
        assert relative(moment(one, layer, "3", layer != "0"), moment(two, layer, "3", layer != "0")) < 1e-6


def test_a_model_with_pruned_or_weight_normed_layers_is_recorded() -> None:
    model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3))
    prune.l1_unstructured(model[0], "weight", 0.5)
    model(LINEAR["a"])  # the computed weight is now a plain attribute with a gradient history
    recording = ec.record(model, LINEAR)
    assert list(recording.source_of) == ["0", "2"]
    with torch.no_grad():
        assert relative(moment(recording, "2", "a"), rows_of(model[:2](LINEAR["a"]))) < 1e-6


def test_a_model_made_in_inference_mode_is_recorded() -> None:
    with torch.inference_mode():
        model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3))
    atlas = ec.extract(model, ec.record(model, LINEAR))
    assert atlas.apply(erase="a")(LINEAR["a"]).shape == (30, 3)


# -- merging ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mine", [4, 25, 200], ids=lambda n: f"{n} rows")
@pytest.mark.parametrize("theirs", [4, 25, 200], ids=lambda n: f"and {n} rows")
def test_merging_equals_recording_both(digits, mine: int, theirs: int) -> None:
    """Few rows are kept, many are folded: every mixture of the two."""
    one = {"0": digits.concepts["0"][:mine], "1": digits.inputs[:mine]}
    two = {"1": digits.inputs[500 : 500 + theirs], "2": digits.concepts["2"][:theirs]}
    both = {"0": one["0"], "1": torch.cat([one["1"], two["1"]]), "2": two["2"]}
    first = ec.record(digits.model, one)
    before = {name: moment(first, "0", name).clone() for name in one}
    merged = first.merge(ec.record(digits.model, two))
    assert_same(merged, ec.record(digits.model, both), 1e-6)
    assert all(torch.equal(moment(first, "0", name), before[name]) for name in one)  # neither is changed


def test_merging_recordings_that_share_differently_equals_recording_both() -> None:
    model = Block("in place in some batches")
    shared, apart = {"a": LINEAR["b"][:10]}, {"a": LINEAR["a"][:13]}
    one, two = ec.record(model, shared), ec.record(model, apart)
    assert len(one.sources) == 1 and len(two.sources) == 2
    both = ec.record(model, {"a": [shared["a"], apart["a"]]})
    assert_same(one.merge(two), both)
    assert_same(two.merge(one), both)


def test_merging_recordings_that_reached_different_layers_equals_recording_both() -> None:
    model, concepts = one_sided()
    parts = [ec.record(model, {name: x}) for name, x in concepts.items()]
    both = ec.record(model, concepts)
    merged = parts[0].merge(parts[1])
    assert_same(merged, both)
    assert {i.name: i.covered for i in merged.layers} == {i.name: i.covered for i in both.layers}
    atlas = ec.extract(model, merged)
    assert atlas["low"].norm("low") == pytest.approx(ec.extract(model, both)["low"].norm("low"), rel=1e-4)


def test_merging_keeps_double_precision() -> None:
    model = nn.Linear(6, 3).double()
    parts = [ec.record(model, {name: x.double()}) for name, x in LINEAR.items()]
    merged = parts[0].merge(parts[1])
    assert {s.dtype for s in merged.sources[0].statistics.values()} == {torch.float64}


def test_recordings_of_other_models_or_layers_do_not_merge() -> None:
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
    recording = ec.record(model, LINEAR)
    stranger = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
    with pytest.raises(ModelMismatchError, match="different models"):
        recording.merge(ec.record(stranger, LINEAR))
    with pytest.raises(ModelMismatchError, match=r"different layers \(1\)"):
        recording.merge(ec.record(model, LINEAR, layers=["0"]))


# -- memory and forms of input ---------------------------------------------------------------------------


def test_ten_times_the_data_takes_the_same_memory() -> None:
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    fed: list[weakref.ref] = []
    alive: list[int] = []

    def made(count: int) -> Iterator[Tensor]:
        for _ in range(count):
            batch = torch.randn(50, 64)
            fed.append(weakref.ref(batch))
            yield batch

    def record(count: int) -> Recording:
        return ec.record(
            model,
            {"a": made(count), "b": torch.randn(100, 64)},
            progress=lambda *_: alive.append(sum(r() is not None for r in fed)),
        )

    small, large = record(4), record(40)
    assert large.rows("0", "a") == 10 * small.rows("0", "a") == 2000
    assert large.nbytes == small.nbytes
    assert max(alive) <= 2  # one-shot batches are let go as they pass


def test_memory_stops_growing_with_the_width(digits_cnn) -> None:
    def size(times: int) -> int:
        few = {name: torch.cat([x[:20]] * times) for name, x in digits_cnn.concepts.items()}
        return ec.record(digits_cnn.model, few).nbytes

    # 10 concepts; per source: groups × (columns² + columns) values of 8 bytes.
    columns_and_groups = [(9, 1), (18, 4), (12, 1), (128, 1)]
    assert size(10) == size(20) == 8 * 10 * sum(g * (c * c + c) for c, g in columns_and_groups)


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 3)

    def forward(self, x: Tensor, shift: Tensor | None = None, *, scale: float = 1.0) -> Tensor:
        return self.fc(x * scale + (0 if shift is None else shift))


@pytest.mark.parametrize("mix", [False, True])
def test_every_form_of_input_says_the_same(mix: bool) -> None:
    x, shift = LINEAR["b"], torch.randn(50, 6)
    forms = {
        "tensor": x + shift,
        "array": (x + shift).numpy(),
        "tuple": (x, shift),
        "mapping": {"x": x, "shift": shift, "scale": 1.0},
        "batches": list((x + shift).split(13)),
        "one-shot": (
            {"x": part, "shift": move} for part, move in zip(x.split(9), shift.split(9), strict=True)
        ),
        "tuples": [(part, move) for part, move in zip(x.split(9), shift.split(9), strict=True)],
    }
    recording = ec.record(TwoInputs(), forms, batch_size=20, mix=mix)
    for name in forms:
        assert recording.counts[name] == 50
        assert relative(moment(recording, "fc", name), rows_of(x + shift)) < 1e-6, name


def test_one_shot_batches_are_consumed_once_for_all_layers_and_progress_is_told(digits) -> None:
    seen: list[tuple[int, int | None, str]] = []
    concepts = {"a": iter(digits.inputs.split(100)), "b": digits.concepts["1"]}
    recording = ec.record(digits.model, concepts, progress=lambda *told: seen.append(told))
    assert recording.rows("4", "a") == len(digits.inputs)
    total = len(digits.inputs) + len(digits.concepts["1"])
    assert seen[-1][:2] == (total, None)  # a one-shot iterable has no known length
    known: list[tuple[int, int | None, str]] = []
    ec.record(
        digits.model, {"b": digits.concepts["1"]}, batch_size=50, progress=lambda *told: known.append(told)
    )
    assert [done for done, *_ in known] == [50, 100, 150, len(digits.concepts["1"])]
    assert {total for _, total, _ in known} == {len(digits.concepts["1"])}


# -- attention -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("masked", ["no", "padding", "causal"])
def test_attention_is_recorded_whatever_its_options(
    batch_first: bool, need_weights: bool, masked: str
) -> None:
    layer = nn.MultiheadAttention(8, 2, batch_first=batch_first).eval()
    nn.init.normal_(layer.in_proj_bias)
    options: dict = {"need_weights": need_weights}
    if masked == "padding":
        padding = torch.zeros(5, 4, dtype=torch.bool)
        padding[1, 2:] = True
        options["key_padding_mask"] = padding
    elif masked == "causal":
        options["attn_mask"] = nn.Transformer.generate_square_subsequent_mask(4)

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attn = layer

        def forward(self, x: Tensor) -> Tensor:
            x = x if batch_first else x.transpose(0, 1)
            out = self.attn(x, x, x, **options)[0]
            return out if batch_first else out.transpose(0, 1)

    model, x = Reader(), structured(5, 20, 8).float().reshape(5, 4, 8)
    recording = ec.record(model, {"a": x})
    names = [f"attn.{part}_proj" for part in ("q", "k", "v", "out")]
    assert list(recording.source_of) == names
    assert len({recording.source_of[name] for name in names[:3]}) == 1
    assert relative(moment(recording, "attn.q_proj", "a"), rows_of(x)) < 1e-6
    with torch.no_grad():
        context = torch.linalg.solve(
            layer.out_proj.weight, (model(x) - layer.out_proj.bias).mT.contiguous()
        ).mT
    assert relative(moment(recording, "attn.out_proj", "a"), rows_of(context)) < 1e-3


@pytest.mark.parametrize("padding", [False, True])
def test_the_fused_encoder_is_recorded_as_if_it_were_not_fused(digits_attention, padding: bool) -> None:
    model = digits_attention.model
    x = digits_attention.concepts["4"][:12].reshape(12, 8, 8)
    inputs: dict = {"x": x}
    if padding:
        inputs["padding"] = torch.arange(8).expand(12, 8) >= torch.arange(12)[:, None] % 4 + 5
    recording = ec.record(model, {"a": inputs})
    with torch.no_grad():
        tokens = model.embed(x) + model.place
        for name, layer in model.encoder.layers.named_children():  # one by one, by their own parts
            attended, _ = layer.self_attn(tokens, tokens, tokens, key_padding_mask=inputs.get("padding"))
            at = f"encoder.layers.{name}"
            assert relative(moment(recording, f"{at}.self_attn.k_proj", "a"), rows_of(tokens)) < 1e-5
            middle = layer.norm1(tokens + attended)
            assert relative(moment(recording, f"{at}.linear1", "a"), rows_of(middle)) < 1e-5
            hidden = torch.relu(layer.linear1(middle))
            assert relative(moment(recording, f"{at}.linear2", "a"), rows_of(hidden)) < 1e-5
            tokens = layer.norm2(middle + layer.linear2(hidden))


# -- what is refused -------------------------------------------------------------------------------------


class Overflows(nn.Module):
    """Produces what the test asks for between its two layers, for inputs above a threshold."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.one, self.two, self.value = nn.Linear(6, 6), nn.Linear(6, 3), value

    def forward(self, x: Tensor) -> Tensor:
        return self.two(torch.where(x > 50, self.value, self.one(x)))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("mix", [False, True])
def test_non_finite_activations_name_layer_and_concept(value: float, mix: bool) -> None:
    bad = LINEAR["b"].clone()
    bad[17, 3] = 99.0
    with pytest.raises(NonFiniteError, match=r"'two'.*'bad': 1 of"):
        ec.record(Overflows(value), {"good": LINEAR["a"], "bad": bad}, mix=mix)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_non_finite_inputs_name_the_concept(value: float) -> None:
    bad = LINEAR["b"].clone()
    bad[3, 3] = value
    with pytest.raises(NonFiniteError, match=r"'bad': argument 0 holds NaN or infinity"):
        ec.record(nn.Linear(6, 3), {"good": LINEAR["a"], "bad": bad})


def test_huge_but_finite_values_are_accepted() -> None:
    recording = ec.record(nn.Linear(6, 3), {"a": LINEAR["a"] * 1e30, "b": LINEAR["b"] * 1e30})
    assert torch.isfinite(moment(recording, "Linear", "a")).all()


@pytest.mark.parametrize(
    "model", [nn.Linear(6, 3), nn.Conv2d(1, 2, 3), nn.MultiheadAttention(6, 2), nn.Embedding(5, 6)], ids=str
)
def test_inputs_of_a_wrong_shape_name_concept_and_shape(model: nn.Module) -> None:
    model = nn.Sequential(model, nn.Linear(6, 3))
    with pytest.raises(DataError, match=r"concept 'odd' \(argument 0 \(4, 7\)"):
        ec.record(model, {"odd": torch.randn(4, 7)})


@pytest.mark.parametrize(
    "nothing",
    [torch.zeros(0, 6), [], iter([]), [torch.zeros(0, 6)]],
    ids=["no rows", "no batches", "an iterator at its end", "a batch without rows"],
)
def test_an_empty_concept_is_named(nothing) -> None:
    with pytest.raises(DataError, match="'void' is empty"):
        ec.record(nn.Linear(6, 3), {"a": LINEAR["a"], "void": nothing})


def test_a_total_of_one_row_is_refused_and_the_layer_named() -> None:
    model = nn.Linear(6, 3)
    with pytest.raises(DataError, match=r"'Linear'.*single row"):
        ec.extract(model, ec.record(model, {"a": LINEAR["a"][:1]}))


@pytest.mark.parametrize("concepts", [{}, {"": LINEAR["a"]}, {"(background)": LINEAR["a"]}, [LINEAR["a"]]])
def test_concepts_without_usable_names_are_refused(concepts) -> None:
    with pytest.raises(DataError):
        ec.record(nn.Linear(6, 3), concepts)


@pytest.mark.parametrize("inputs", ["text", 3, [[1.0, 2.0]], {"x": 3}])
def test_inputs_of_an_unknown_form_are_refused(inputs) -> None:
    with pytest.raises(DataError, match="'a'"):
        ec.record(nn.Linear(6, 3), {"a": inputs})


def test_a_model_with_no_coverable_layer_or_a_choice_of_none_is_refused() -> None:
    with pytest.raises(CoverageError, match="Sequential has no layer"):
        ec.record(nn.Sequential(nn.LayerNorm(6)), LINEAR)
    with pytest.raises(UnknownNameError, match="Did you mean"):
        ec.record(nn.Sequential(nn.ModuleDict({"dense": nn.Linear(6, 3)})), LINEAR, layers=["dens"])


# -- threads ---------------------------------------------------------------------------------------------


def test_two_recordings_at_once_while_others_use_the_model(digits) -> None:
    halves = [{n: x[i::2][:40] for n, x in digits.concepts.items()} for i in range(2)]
    alone = [ec.record(digits.model, half) for half in halves]
    with torch.no_grad():
        expected = digits.model(digits.inputs[:64])
    found: list[list[Recording]] = [[], []]
    wrong: list[str] = []
    stop = threading.Event()

    def record(i: int) -> None:
        for _ in range(15):
            found[i].append(ec.record(digits.model, halves[i], batch_size=16))

    def use() -> None:
        while not stop.is_set():
            with torch.no_grad():
                if not torch.equal(digits.model(digits.inputs[:64]), expected):
                    wrong.append("base output changed")

    users = [threading.Thread(target=use) for _ in range(2)]
    makers = [threading.Thread(target=record, args=(i,)) for i in range(2)]
    for thread in (*users, *makers):
        thread.start()
    for thread in makers:
        thread.join()
    stop.set()
    for thread in users:
        thread.join()
    assert not wrong and [len(f) for f in found] == [15, 15]
    for i in range(2):
        for recording in found[i]:
            assert_same(recording, alone[i])
    assert accuracy(digits.model, digits.inputs, digits.labels) > 0.9
