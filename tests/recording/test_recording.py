"""One forward pass records everything, whatever the batches, the sharing and the model's habits."""

import pytest
import torch
from helpers import relative, structured
from recorded import LINEAR, Block, assert_same, moment, one_sided, rows_of
from torch import Tensor, nn

import engram_core as ec
from engram_core.errors import CoverageError, DataError, ModelMismatchError, UnknownNameError

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


# -- the model afterwards --------------------------------------------------------------------------------


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
