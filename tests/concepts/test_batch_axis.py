"""Along which dimension inputs lie is found out on the model: nothing is cut that belongs together."""

import pytest
import torch
from helpers import relative
from torch import Tensor, nn

import engram_core as ec
from engram_core.concepts.classification import Classification
from engram_core.concepts.concepts import Concept, ConceptSet
from engram_core.concepts.tasks import Subject
from engram_core.errors import DataError, NonFiniteError
from engram_core.measuring.shams import subset_atlas

WIDE = 8


class Recurrent(nn.Module):
    """Sequence first, as ``nn.LSTM`` is by default; a head reads its states."""

    def __init__(self, batch_first: bool = False) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(WIDE, WIDE, batch_first=batch_first), nn.Linear(WIDE, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0])


class Graph(nn.Module):
    """Sums the neighbours of every node."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(WIDE, WIDE), nn.Linear(WIDE, 3)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        h = self.first(x)
        return self.second(torch.zeros_like(h).index_add_(0, edges[1], h[edges[0]]))


class Pooled(nn.Module):
    """One set of elements is one input: its elements are summed up."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(WIDE, WIDE), nn.Linear(WIDE, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x).relu().mean(0, keepdim=True))


class Sliding(nn.Module):
    """Mixes neighbours along the first dimension only: a cut shows at its edge alone."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(WIDE, WIDE), nn.Linear(WIDE, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        return self.second(h + h.roll(1, 0))


class Crossed(nn.Module):
    """Attention of a batch-first query over keys of another length."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDE, 2)

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        return self.attention(query, key, key)[0]


class Noisy(nn.Module):
    """Draws at random in evaluation mode, too: no pass equals another."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(WIDE, WIDE), nn.Linear(WIDE, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.dropout(self.first(x), 0.5, True))


def made(kind: str) -> nn.Module:
    torch.manual_seed(0)
    return {
        "encoder": lambda: nn.TransformerEncoderLayer(WIDE, 2, 12),
        "encoder, batch first": lambda: nn.TransformerEncoderLayer(WIDE, 2, 12, batch_first=True),
        "lstm": Recurrent,
        "graph": Graph,
        "set": Pooled,
        "sliding": Sliding,
        "crossed": Crossed,
        "mlp": lambda: nn.Sequential(nn.Linear(WIDE, 6), nn.ReLU(), nn.Linear(6, 3)),
        "conv": lambda: nn.Sequential(nn.Conv2d(WIDE, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3)),
        "batch statistics": lambda: nn.Sequential(
            nn.Linear(WIDE, 6), nn.BatchNorm1d(6, track_running_stats=False), nn.Linear(6, 3)
        ),
    }[kind]().eval()  # fmt: skip


def edges(nodes: int) -> Tensor:
    return torch.randint(0, nodes, (2, 3 * nodes))


# What is one call, whatever its sizes: model, one set of inputs, how many inputs it is.
WHOLE = {
    "sequence first": ("encoder", lambda: torch.randn(300, 3, WIDE), 3),
    "sequence first, as many positions as inputs": ("encoder", lambda: torch.randn(20, 20, WIDE), 20),
    "recurrent": ("lstm", lambda: torch.randn(300, 2, WIDE), 2),
    "a sequence without a batch": ("encoder", lambda: torch.randn(300, WIDE), 1),
    "a sequence without a batch, batch first": ("encoder, batch first", lambda: torch.randn(300, WIDE), 1),
    "a graph": ("graph", lambda: (torch.randn(300, WIDE), edges(300)), 1),
    "a graph by names": ("graph", lambda: {"x": torch.randn(300, WIDE), "edges": edges(300)}, 1),
    "a graph of two nodes and two rows of edges": (
        "graph", lambda: (torch.randn(2, WIDE), torch.tensor([[0, 1, 1], [1, 0, 1]])), 1,
    ),
    "a set": ("set", lambda: torch.randn(300, WIDE), 1),
    "neighbours": ("sliding", lambda: torch.randn(300, WIDE), 1),
    "query and key": ("crossed", lambda: (torch.randn(300, 2, WIDE), torch.randn(9, 2, WIDE)), 2),
    "a batch that is normalised by itself": ("batch statistics", lambda: torch.randn(300, WIDE), 1),
    "a picture without a batch": ("conv", lambda: torch.randn(WIDE, 270, 270), 1),
}  # fmt: skip


def weights(model: nn.Module, concepts: dict, **options) -> dict[str, Tensor]:
    atlas = ec.extract(model, ec.record(model, concepts, **options))
    return {layer: atlas["a"].weight(layer) for layer in atlas.layers}


@pytest.mark.parametrize(("kind", "inputs", "count"), WHOLE.values(), ids=WHOLE.keys())
@pytest.mark.parametrize("mix", [False, True])
def test_one_tensor_and_one_batch_in_a_list_are_the_same(kind: str, inputs, count: int, mix: bool) -> None:
    model = made(kind)
    torch.manual_seed(1)
    a, b = inputs(), inputs()
    recording = ec.record(model, {"a": a, "b": b}, batch_size=32, mix=mix)
    assert recording.counts == {"a": count, "b": count}
    found = weights(model, {"a": a, "b": b}, batch_size=32, mix=mix)
    # The truth: one call each, as it is given, heard without any of this.
    expected = weights(model, {"a": [a], "b": [b]}, batch_axis=None)
    assert found.keys() == expected.keys()
    for layer, weight in expected.items():
        assert relative(found[layer], weight) < 1e-3, layer
    again = weights(model, {"a": a, "b": b}, batch_size=32, batch_axis=None)
    for layer, weight in expected.items():
        assert relative(again[layer], weight) < 1e-5, layer


# What is many inputs: model, inputs, how many.
MANY = {
    "vectors": ("mlp", lambda: torch.randn(40, WIDE), 40),
    "positions of an MLP": ("mlp", lambda: torch.randn(40, 5, WIDE), 40),
    "one vector in a batch": ("mlp", lambda: torch.randn(1, WIDE), 1),
    "a vector": ("mlp", lambda: torch.randn(WIDE), 1),
    "a list of vectors": ("mlp", lambda: list(torch.randn(40, WIDE)), 40),
    "a list of arrays": ("mlp", lambda: list(torch.randn(40, WIDE).numpy()), 40),
    "a list of batches": ("mlp", lambda: list(torch.randn(40, WIDE).split(7)), 40),
    "a list of vectors and a batch": (
        "mlp", lambda: [*torch.randn(3, WIDE), torch.randn(5, WIDE), torch.randn(WIDE)], 9,
    ),
    "pictures": ("conv", lambda: torch.randn(7, WIDE, 12, 12), 7),
    "a list of pictures": ("conv", lambda: list(torch.randn(7, WIDE, 12, 12)), 7),
    "a list of batches of pictures": ("conv", lambda: list(torch.randn(7, WIDE, 12, 12).split(3)), 7),
    "a list of sequences": ("encoder, batch first", lambda: list(torch.randn(7, 5, WIDE)), 7),
    "a list of sequences of many lengths": (
        "encoder, batch first", lambda: [torch.randn(n, WIDE) for n in (4, 9, 2)], 3,
    ),
    "sequences": ("encoder, batch first", lambda: torch.randn(40, 5, WIDE), 40),
    "a list of graphs": ("graph", lambda: [(torch.randn(n, WIDE), edges(n)) for n in (5, 9)], 2),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "inputs", "count"), MANY.values(), ids=MANY.keys())
def test_inputs_are_counted_and_rows_do_not_depend_on_how_they_are_cut(kind: str, inputs, count: int) -> None:
    model = made(kind)
    torch.manual_seed(1)
    a, b = inputs(), inputs()
    small = ec.record(model, {"a": a, "b": b}, batch_size=3)
    whole = ec.record(model, {"a": a, "b": b})
    mixed = ec.record(model, {"a": a, "b": b}, mix=True, batch_size=64)
    for recording in (small, whole, mixed):
        assert recording.counts == {"a": count, "b": count}
        for layer in whole.source_of:
            assert recording.rows(layer, "a") == whole.rows(layer, "a") > 0


def test_the_axis_that_is_given_stands() -> None:
    model, x, y = made("encoder"), torch.randn(5, 40, WIDE), torch.randn(5, 40, WIDE)
    assert ec.record(model, {"a": x}, batch_axis=1, batch_size=7).counts == {"a": 40}
    assert ec.record(model, {"a": x}, batch_axis=0).counts == {"a": 5}
    assert ec.record(model, {"a": x}, batch_axis=None).counts == {"a": 1}
    sets = ConceptSet([Concept("a", x), Concept("b", y)], batch_axis=1)
    assert ec.record(model, sets, batch_size=7).counts == {"a": 40, "b": 40}
    assert sets.sizes() == {"a": 40, "b": 40}
    drawn = sets.subsets(6, [0])["subset 0"].record
    assert (drawn if isinstance(drawn, Tensor) else drawn[0]).shape[0] == 5
    with pytest.raises(DataError, match="batch_axis is 0 or 1"):
        ec.record(model, {"a": x}, batch_axis=2)
    with pytest.raises(DataError, match="never divided"):
        ConceptSet([Concept("a", x)], batch_axis=None).subsets(2, [0])


def test_random_subsets_of_sequence_first_data_are_drawn_from_sequences() -> None:
    model = made("encoder")
    torch.manual_seed(2)
    concepts = ConceptSet([Concept(n, torch.randn(6, 30, WIDE)) for n in "ab"])
    atlas = ec.extract(model, ec.record(model, concepts))
    shams = subset_atlas(atlas, concepts, size=10, seeds=[0, 1])
    assert shams.counts == {"subset 0": 10, "subset 1": 10}


class Last(nn.Module):
    """A classifier of sequences, sequence first."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.head = nn.TransformerEncoderLayer(WIDE, 2, 12), nn.Linear(WIDE, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x).mean(0))


def test_a_classifier_of_sequence_first_data_is_scored_sequence_by_sequence() -> None:
    torch.manual_seed(0)
    model = Last().eval()
    parts = {"a": torch.randn(50, 40, WIDE), "b": torch.randn(50, 35, WIDE)}
    concepts = ConceptSet([Concept(n, x, x) for n, x in parts.items()])
    subject = Subject(model, concepts, Classification(("a", "b")))
    scores = subject.task.measure(model, concepts)
    with torch.no_grad():
        for place, (name, x) in enumerate(parts.items()):
            assert scores.score[name] == pytest.approx(float((model(x).argmax(-1) == place).double().mean()))


def test_a_model_that_draws_at_random_is_cut_as_is_written() -> None:
    torch.manual_seed(0)
    recording = ec.record(Noisy(), {"a": torch.randn(40, WIDE), "b": torch.randn(40, WIDE)}, batch_size=16)
    assert recording.counts == {"a": 40, "b": 40} and recording.rows("second", "a") == 40


def test_finding_out_leaves_the_random_state_alone() -> None:
    model, x = Pooled(), torch.randn(40, WIDE)
    state = torch.random.get_rng_state()
    ec.record(model, {"a": x})
    assert torch.equal(state, torch.random.get_rng_state())


# -- arguments that go along -----------------------------------------------------------------------


class Masked(nn.Module):
    """An encoder with a mask over pairs of positions."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoderLayer(WIDE, 2, 12, batch_first=True)

    def forward(self, src: Tensor, mask: Tensor, scale: Tensor | None = None) -> Tensor:
        return self.encoder(src if scale is None else src * scale[:, None, None], src_mask=mask)


@pytest.mark.parametrize("inputs", [6, 40])
@pytest.mark.parametrize("order", ["src", "mask"])
def test_a_mask_over_pairs_of_positions_is_never_cut(inputs: int, order: str) -> None:
    model = Masked().eval()
    causal = nn.Transformer.generate_square_subsequent_mask(6)

    def one() -> dict:
        named = {"src": torch.randn(inputs, 6, WIDE), "mask": causal, "scale": torch.rand(inputs)}
        return named if order == "src" else dict(reversed(named.items()))

    parts = {"a": one(), "b": one()}
    small = ec.record(model, parts, batch_size=4)
    assert small.counts == {"a": inputs, "b": inputs}
    mixed = ec.record(model, parts, batch_size=4, mix=True)
    whole = ec.record(model, {n: [p] for n, p in parts.items()}, batch_axis=None)
    for layer in whole.source_of:
        want = ec.extract(model, whole)["a"].weight(layer)
        for recording in (small, mixed):
            assert relative(ec.extract(model, recording)["a"].weight(layer), want) < 1e-4


def test_minus_infinity_is_welcome_in_a_mask_and_nowhere_else() -> None:
    model = Masked().eval()
    x, mask = torch.randn(4, 6, WIDE), nn.Transformer.generate_square_subsequent_mask(6)
    assert ec.record(model, {"a": (x, mask)}).counts == {"a": 4}
    for bad in (torch.nan, torch.inf):
        broken = mask.clone()
        broken[0, 0] = bad
        with pytest.raises(NonFiniteError, match="'a': argument 'mask' holds NaN or infinity"):
            ec.record(model, {"a": {"src": x, "mask": broken}})
    x[0, 0, 0] = -torch.inf
    with pytest.raises(NonFiniteError, match="'a': argument 0 holds NaN or infinity"):
        ec.record(model, {"a": (x, mask)})
