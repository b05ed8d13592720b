"""A mask belongs to the positions of one argument: the layers that read those, along the right dimension."""

import pytest
import torch
import transformers as hf
from helpers import relative
from torch import Tensor, nn

import engram_core as ec
from engram_core.errors import DataError

SIZE = {"vocab_size": 50, "d_model": 16, "decoder_start_token_id": 0}


def ids(inputs: int, length: int) -> Tensor:
    return torch.randint(5, 50, (inputs, length))


def kept(inputs: int, length: int, count: int) -> Tensor:
    """A mask that leaves the first `count` positions of every input."""
    mask = torch.zeros(inputs, length, dtype=torch.long)
    mask[:, :count] = 1
    return mask


def t5() -> nn.Module:
    return hf.T5ForConditionalGeneration(
        hf.T5Config(d_kv=4, d_ff=24, num_layers=1, num_heads=4, dropout_rate=0.0, **SIZE)
    ).eval()


def bart() -> nn.Module:
    config = hf.BartConfig(
        encoder_layers=1, decoder_layers=1, encoder_ffn_dim=24, decoder_ffn_dim=24, encoder_attention_heads=2,
        decoder_attention_heads=2, max_position_embeddings=32, **SIZE,
    )  # fmt: skip
    return hf.BartForConditionalGeneration(config).eval()


T5 = {
    "source": "encoder.block.0.layer.1.DenseReluDense.wi",
    "target": "decoder.block.0.layer.2.DenseReluDense.wi",
    "keys": "decoder.block.0.layer.1.EncDecAttention.k",
    "queries": "decoder.block.0.layer.1.EncDecAttention.q",
}
BART = {
    "source": "model.encoder.layers.0.fc1",
    "target": "model.decoder.layers.0.fc1",
    "keys": "model.decoder.layers.0.encoder_attn.k_proj",
    "queries": "model.decoder.layers.0.encoder_attn.q_proj",
}


@pytest.mark.parametrize("length", [4, 6], ids=["another length", "one length"])
@pytest.mark.parametrize("target_mask", [False, True])
@pytest.mark.parametrize(("make", "layers"), [(t5, T5), (bart, BART)], ids=["T5", "BART"])
@pytest.mark.parametrize("mix", [False, True])
def test_padding_of_the_source_is_not_padding_of_the_target(
    make, layers: dict[str, str], target_mask: bool, length: int, mix: bool
) -> None:
    torch.manual_seed(0)
    model = make()

    def one() -> dict[str, Tensor]:
        call = {"input_ids": ids(4, 6), "attention_mask": kept(4, 6, 3), "decoder_input_ids": ids(4, length)}
        return call | ({"decoder_attention_mask": kept(4, length, 2)} if target_mask else {})

    recording = ec.record(model, {"a": one(), "b": one()}, mix=mix)
    target = 8 if target_mask else 4 * length
    expected = {"source": 12, "target": target, "keys": 12, "queries": target}
    assert {part: recording.rows(layer, "a") for part, layer in layers.items()} == expected


@pytest.mark.parametrize("inputs", [6, 4])
def test_inputs_as_many_as_positions_are_told_apart(inputs: int) -> None:
    torch.manual_seed(0)
    model = t5()
    call = {
        "input_ids": ids(inputs, 6),
        "attention_mask": kept(inputs, 6, 3),
        "decoder_input_ids": ids(inputs, 6),
    }
    recording = ec.record(model, {"a": call}, batch_size=4)
    assert recording.rows(T5["target"], "a") == 6 * inputs
    assert recording.rows(T5["source"], "a") == recording.rows(T5["keys"], "a") == 3 * inputs


def test_a_mask_that_is_given_says_whose_it_is_or_is_refused() -> None:
    torch.manual_seed(0)
    model, mask = t5(), kept(4, 6, 2)
    calls = {n: {"input_ids": ids(4, 6), "decoder_input_ids": ids(4, 6)} for n in "ab"}
    with pytest.raises(DataError, match=r"may be .*'decoder_input_ids'.*masks=\{'a': \{'input_ids'"):
        ec.record(model, calls, masks={"a": mask})
    source = ec.record(model, calls, masks={"a": {"input_ids": mask}})
    assert (source.rows(T5["source"], "a"), source.rows(T5["target"], "a")) == (8, 24)
    assert (source.rows(T5["source"], "b"), source.rows(T5["target"], "b")) == (24, 24)
    target = ec.record(model, calls, masks={"a": {"decoder_input_ids": mask}})
    assert (target.rows(T5["keys"], "a"), target.rows(T5["queries"], "a")) == (24, 8)
    both = ec.record(model, calls, masks={"a": {"input_ids": mask, "decoder_input_ids": kept(4, 6, 5)}})
    assert (both.rows(T5["keys"], "a"), both.rows(T5["queries"], "a")) == (8, 20)
    inputs = ec.record(model, calls, masks={"a": torch.tensor([1, 0, 0, 1])})
    assert (inputs.rows(T5["source"], "a"), inputs.rows(T5["target"], "a")) == (12, 12)


def test_a_mask_of_a_length_that_only_one_argument_has_is_for_that() -> None:
    calls = {"a": {"input_ids": ids(4, 6), "decoder_input_ids": ids(4, 5)}}
    recording = ec.record(t5(), calls, masks={"a": kept(4, 5, 2)})
    assert (recording.rows(T5["source"], "a"), recording.rows(T5["target"], "a")) == (24, 8)


WRONG = {
    "unknown argument": ({"labels": kept(4, 6, 2)}, "for argument 'labels'.*has only|its inputs have only"),
    "too long": ({"input_ids": kept(4, 7, 2)}, "is for 7 positions; the argument has 6"),
    "too many": ({"input_ids": kept(5, 6, 2)}, r"a mask must have shape \(4,\)|longer"),
    "too many dimensions": ({"input_ids": torch.ones(4, 6, 2)}, r"a mask must have shape \(4,\)"),
}


@pytest.mark.parametrize(("mask", "said"), WRONG.values(), ids=WRONG.keys())
def test_a_mask_of_an_argument_that_does_not_fit_is_refused(mask: dict, said: str) -> None:
    calls = {"a": {"input_ids": ids(4, 6), "decoder_input_ids": ids(4, 6)}}
    with pytest.raises(DataError, match=said):
        ec.record(t5(), calls, masks={"a": mask})


def test_two_towers_of_one_length_as_in_clip() -> None:
    """The picture has as many patches (with its class token) as the text has positions."""
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = hf.CLIPConfig(
        text_config={**shape, "vocab_size": 50, "max_position_embeddings": 8, "eos_token_id": 49},
        vision_config={**shape, "image_size": 8, "patch_size": 4, "num_channels": 3},
        projection_dim=8,
    )
    model = hf.CLIPModel(config).eval()
    call = {"input_ids": ids(4, 5), "pixel_values": torch.randn(4, 3, 8, 8), "attention_mask": kept(4, 5, 2)}
    recording = ec.record(model, {"a": call, "b": call})
    assert recording.rows("text_model.encoder.layers.0.mlp.fc1", "a") == 8
    assert recording.rows("vision_model.encoder.layers.0.mlp.fc1", "a") == 20
    assert recording.rows("visual_projection", "a") == 4


class Towers(nn.Module):
    """Two towers by position; with `shared`, one encoder reads both."""

    def __init__(self, shared: bool = False, turned: bool = False, flat: bool = False) -> None:
        super().__init__()
        self.left = nn.Linear(6, 4)
        self.right = None if shared else nn.Linear(6, 4)
        self.pair, self.turned, self.flat = nn.Linear(8, 3), turned, flat

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        if self.turned:
            left, right = left.transpose(0, 1), right.transpose(0, 1)
        if self.flat:
            return self.left(left.flatten(0, 1)) + self.right(right.flatten(0, 1))
        one, two = self.left(left), (self.right or self.left)(right)
        axis = 0 if self.turned else 1
        return self.pair(torch.cat([one.mean(axis), two.mean(axis)], -1))


@pytest.mark.parametrize("turned", [False, True])
def test_towers_of_any_model_are_told_apart_also_where_one_layer_reads_both(turned: bool) -> None:
    torch.manual_seed(0)
    x, y, mask = torch.randn(5, 5, 6), torch.randn(5, 5, 6), torch.rand(5, 5) < 0.5
    mask[:, 0] = True
    apart = ec.record(Towers(turned=turned), {"a": (x, y)}, masks={"a": {1: mask}})
    assert (apart.rows("left", "a"), apart.rows("right", "a")) == (25, int(mask.sum()))
    shared = ec.record(Towers(shared=True, turned=turned), {"a": (x, y)}, masks={"a": {1: mask}})
    rows = torch.cat([x.reshape(-1, 6), y[mask]])
    assert shared.rows("left", "a") == len(rows) and shared.rows("pair", "a") == 5
    moment = shared.sources[shared.source_of["left"]].statistics["a"].moment
    assert moment is not None and relative(moment[0], (rows.double().mT @ rows.double())) < 1e-6
    with pytest.raises(DataError, match="may be for any of the arguments 0, 1"):
        ec.record(Towers(turned=turned), {"a": (x, y)}, masks={"a": mask})


@pytest.mark.parametrize("turned", [False, True], ids=["inputs first", "positions first"])
def test_rows_that_were_flattened_are_found_in_either_order(turned: bool) -> None:
    torch.manual_seed(0)
    x, y, mask = torch.randn(4, 5, 6), torch.randn(4, 5, 6), torch.rand(4, 5) < 0.5
    model = Towers(turned=turned, flat=True)
    recording = ec.record(model, {"a": (x, y)}, masks={"a": {0: mask, 1: mask}}, layers=["left"])
    found = recording.sources[0].statistics["a"]
    assert found.count == int(mask.sum()) and found.moment is not None
    rows = x[mask].double()
    assert relative(found.moment[0], rows.mT @ rows) < 1e-6


class Queries(nn.Module):
    """Reads a text through as many learned queries as the text has positions."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(1, count, 8))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.embed, self.read, self.table = nn.Linear(6, 8), nn.Linear(8, 3), nn.Linear(8, 8)

    def forward(self, x: Tensor, attention_mask: Tensor) -> Tensor:
        h = self.embed(x)
        queries = self.table(self.queries[0]).expand(len(x), -1, -1)
        return self.read(self.attention(queries, h, h, key_padding_mask=attention_mask == 0)[0])


def test_queries_as_many_as_positions_are_no_positions() -> None:
    torch.manual_seed(0)
    call = {"x": torch.randn(4, 6, 6), "attention_mask": kept(4, 6, 3)}
    recording = ec.record(Queries(6), {"a": call, "b": call})
    rows = {layer: recording.rows(layer, "a") for layer in recording.source_of}
    assert rows["embed"] == rows["attention.k_proj"] == rows["attention.v_proj"] == 12
    assert rows["read"] == rows["attention.q_proj"] == rows["attention.out_proj"] == 24
    assert rows["table"] == 6  # one row per query, whatever the inputs


class Halved(nn.Module):
    """Reads every second position: a mask over positions says nothing about its rows."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x)[:, ::2])


def test_rows_that_are_fewer_than_the_positions_they_come_from_are_refused() -> None:
    x, mask = torch.randn(4, 6, 6), kept(4, 6, 3)
    with pytest.raises(DataError, match=r"'second'.*3 of them stand for the 6 positions of argument 0"):
        ec.record(Halved(), {"a": x}, masks={"a": mask})
    assert ec.record(Halved(), {"a": x}, masks={"a": mask}, layers=["first"]).rows("first", "a") == 12


class Fixed(nn.Module):
    """Two arguments whose numbers of positions cannot be changed."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
        self.head = nn.Linear(2 * 5 * 6, 3)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.head(torch.cat([self.first(x).flatten(1), self.second(y).flatten(1)], 1))


def test_what_cannot_be_found_out_is_refused_with_what_to_do() -> None:
    x, y, mask = torch.randn(4, 5, 6), torch.randn(4, 5, 6), kept(4, 5, 2)
    with pytest.raises(DataError, match=r"'first'.*is not known.*Leave the layer out.*masks=\{name: None\}"):
        ec.record(Fixed(), {"a": (x, y)}, masks={"a": {0: mask}})
    assert ec.record(Fixed(), {"a": (x, y)}, masks={"a": None}).rows("first", "a") == 20


def test_a_mask_of_sequence_first_data_is_by_inputs_and_positions_all_the_same() -> None:
    torch.manual_seed(0)
    model, x = nn.TransformerEncoderLayer(8, 2, 12).eval(), torch.randn(7, 5, 8)
    mask = torch.rand(5, 7) < 0.5
    recording = ec.record(model, {"a": x}, masks={"a": mask}, batch_size=2)
    for layer in recording.source_of:
        assert recording.rows(layer, "a") == int(mask.sum()), layer
    found = recording.sources[recording.source_of["self_attn.q_proj"]].statistics["a"]
    rows = x.transpose(0, 1)[mask].double()
    assert found.moment is not None and relative(found.moment[0], rows.mT @ rows) < 1e-6


def test_nodes_of_a_graph_can_be_masked() -> None:
    model, x = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 3)), torch.randn(30, 6)
    mask = torch.arange(30) % 3 == 0
    recording = ec.record(model, {"a": x}, masks={"a": mask}, batch_axis=None, batch_size=8)
    assert recording.rows("1", "a") == 10 and recording.counts == {"a": 1}


class Causal(nn.Module):
    """A convolution over positions that looks back, as in a state-space model."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.conv, self.head = nn.Linear(6, 4), nn.Conv1d(4, 4, 3, padding=2), nn.Linear(4, 3)

    def forward(self, x: Tensor, attention_mask: Tensor) -> Tensor:
        h = self.embed(x).transpose(1, 2)
        return self.head(self.conv(h)[..., : x.shape[1]].transpose(1, 2))


def test_places_of_a_convolution_over_positions_follow_the_mask() -> None:
    call = {"x": torch.randn(4, 6, 6), "attention_mask": kept(4, 6, 3)}
    recording = ec.record(Causal(), {"a": call}, batch_size=3)
    assert {layer: recording.rows(layer, "a") for layer in recording.source_of} == {
        "embed": 12, "conv": 12, "head": 12,
    }  # fmt: skip


def test_texts_that_were_packed_and_numbered_leave_the_padding_out() -> None:
    model, ids = Packed().eval(), torch.randint(1, 9, (3, 6))
    numbered = torch.tensor([[1, 1, 2, 2, 0, 0], [1, 1, 1, 1, 1, 1], [1, 2, 3, 0, 0, 0]])
    for mask in (numbered, numbered.int(), numbered.to(torch.uint8), numbered * 7, numbered > 0):
        call = {"input_ids": ids, "attention_mask": mask}
        assert ec.record(model, {"a": call, "b": call}).rows("read", "a") == 13
    added = {"input_ids": ids, "attention_mask": torch.where(numbered > 0, 0, -10000)}
    assert ec.record(model, {"a": added, "b": added}).rows("read", "a") == 18


class Packed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.read = nn.Embedding(9, 4), nn.Linear(4, 3)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self.read(self.table(input_ids)) * attention_mask[..., None].clamp(0, 1)


@pytest.mark.parametrize("mask", ["x", 0, True, object(), [object()], [["x"]], torch.full((3, 6), torch.nan)])
def test_what_is_no_mask_is_refused_by_its_concept(mask: object) -> None:
    with pytest.raises(DataError, match="Concept 'a'"):
        ec.record(Reads(), {"a": torch.ones(3, 6, dtype=int)}, masks={"a": mask})


def test_masks_of_every_form_are_one() -> None:
    ids, mask = torch.ones(3, 6, dtype=int), torch.arange(18).reshape(3, 6) % 3 > 0
    for given in (mask, mask.int(), mask.numpy(), mask.tolist(), mask.to_sparse(), tuple(mask.tolist())):
        assert ec.record(Reads(), {"a": ids}, masks={"a": given}).rows("read", "a") == 12
    assert ec.record(Reads(), {"a": ids}, masks={"a": [True, False, True]}).rows("read", "a") == 12
    with pytest.raises(DataError, match="masks is a mapping"):
        ec.record(Reads(), {"a": ids}, masks=[mask])  # type: ignore[arg-type]


class Reads(Packed):
    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return self.read(self.table(input_ids))


def test_inputs_that_are_not_there_are_not_drawn() -> None:
    concepts = ec.ConceptSet.of({"a": torch.randn(5, 3)})
    for picks in ([("a", 5)], [("a", -1)]):
        with pytest.raises(DataError, match="Concept 'a' has inputs 0 to 4"):
            concepts.singles(picks)
    for size in (0, -1, 2.5, True):
        with pytest.raises(DataError, match="whole number of inputs"):
            concepts.subsets(size, [0])  # type: ignore[arg-type]
