"""Whatever people bring as inputs is recorded, or refused in a sentence that names concept and argument."""

import collections
import dataclasses
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import relative
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from transformers import BatchEncoding, BatchFeature
from transformers.modeling_outputs import BaseModelOutput

import engram_core as ec
from engram_core.errors import DataError

A, B = torch.randn(40, 6) + 1, torch.randn(40, 6) - 1


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 3)

    def forward(self, input: Tensor) -> Tensor:
        return self.fc(input)


def net() -> nn.Module:
    return Net().eval()


def moment(model: nn.Module, inputs: Any) -> Tensor:
    recording = ec.record(model, {"a": inputs, "b": B}, batch_size=16)
    assert recording.counts == {"a": 40, "b": 40}
    found = recording.sources[0].statistics["a"].moment
    assert found is not None
    return found[0]


def foreign(x: Tensor) -> np.ndarray:
    array = x.numpy().copy()
    array.flags.writeable = False
    return array


FORMS = {
    "a tensor": A,
    "an array": A.numpy(),
    "a reversed array": A.numpy()[::-1].copy()[::-1],
    "big-endian": A.numpy().astype(">f4"),
    "read-only": foreign(A),
    "Fortran order": np.asfortranarray(A.numpy()),
    "every second of more": np.repeat(A.numpy(), 2, 0)[::2],
    "a tuple": (A,),
    "a tuple of an array": (A.numpy(),),
    "a mapping": {"input": A},
    "a mapping of an array": {"input": A.numpy()[::-1].copy()[::-1]},
    "an ordered mapping": collections.OrderedDict(input=A),
    "a UserDict": collections.UserDict(input=A),
    "a BatchEncoding": BatchEncoding({"input": A}),
    "a BatchFeature": BatchFeature({"input": A.numpy()}),
    "a list of vectors": list(A),
    "a list of arrays": list(A.numpy()),
    "a tuple of batches in a list": [(A[:7],), (A[7:],)],
    "a list of lists": [[A[:7]], [A[7:]]],
    "a list of mappings": [{"input": A[:7]}, {"input": A[7:].numpy()}],
    "a loader of tensors": DataLoader(A, batch_size=7),
    "a loader of a data set": DataLoader(TensorDataset(A), batch_size=7),
    "a loader one by one": DataLoader(TensorDataset(A)),
    "a loader of mappings": DataLoader([{"input": x} for x in A], batch_size=7),
    "parameters": nn.Parameter(A),
    "a strided view": torch.cat([A, A], 1)[:, :6],
    "an expanded tensor": A,
}


@pytest.mark.parametrize("inputs", FORMS.values(), ids=FORMS.keys())
def test_every_form_of_the_same_inputs_is_the_same(inputs: Any) -> None:
    model = net()
    torch.testing.assert_close(moment(model, inputs), moment(model, A), rtol=1e-6, atol=1e-6)


def test_a_generator_is_read_once_and_from_its_beginning() -> None:
    model = net()
    torch.testing.assert_close(moment(model, (x for x in A.split(7))), moment(model, A), rtol=1e-6, atol=0)
    torch.testing.assert_close(moment(model, iter(A)), moment(model, A), rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.uint32, np.uint64, np.bool_])
def test_arrays_of_any_whole_numbers_reach_an_embedding(kind: type) -> None:
    model = nn.Sequential(nn.Embedding(2, 6), nn.Linear(6, 3)) if kind is np.bool_ else nn.Sequential(
        nn.Embedding(9, 6), nn.Linear(6, 3)
    )  # fmt: skip

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x.long())

    numbers = np.array([[0, 1, 1], [1, 0, 0]]).astype(kind)
    assert ec.record(Whole(), {"a": numbers}).rows("inner.1", "a") == 6


def test_doubles_halves_and_long_doubles() -> None:
    assert ec.record(net().double(), {"a": A.double().numpy()}).counts == {"a": 40}
    assert ec.record(net().double(), {"a": A.numpy().astype(np.longdouble)}).counts == {"a": 40}
    assert ec.record(net().half(), {"a": A.numpy().astype(np.float16)}).counts == {"a": 40}


# -- arguments that hold tensors --------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Pair:
    x: Tensor
    scale: float = 1.0


Named = collections.namedtuple("Named", ["x", "scale"])


class Nested(nn.Module):
    def __init__(self, read: Any) -> None:
        super().__init__()
        self.fc, self.read = nn.Linear(6, 3), read

    def forward(self, first: Any, more: Any = None) -> Tensor:
        return self.fc(self.read(first, more))


NESTED = {
    "a dictionary": (lambda v, _: v["x"], {"first": {"x": A}}),
    "a list": (lambda v, _: v[0] + v[1], {"first": [A, 0 * A]}),
    "a data class": (lambda v, _: v.x * v.scale, (Pair(A),)),
    "a named tuple": (lambda v, _: v.x * v.scale, (Named(A, 1.0),)),
    "an output": (lambda v, _: v.last_hidden_state, (BaseModelOutput(last_hidden_state=A),)),
    "beside a tensor": (lambda v, more: v + 0 * more["y"], {"first": A, "more": {"y": A}}),
    "a data class beside a tensor": (lambda v, more: v + 0 * more.x, {"first": A, "more": Pair(A)}),
}


@pytest.mark.parametrize(("read", "inputs"), NESTED.values(), ids=NESTED.keys())
def test_tensors_inside_arguments_are_read(read: Any, inputs: Any) -> None:
    recording = ec.record(Nested(read), {"a": inputs, "b": inputs}, batch_size=16)
    assert recording.rows("fc", "a") == 40
    found = recording.sources[0].statistics["a"].moment
    assert found is not None and relative(found[0], A.double().mT @ A.double()) < 1e-6


def test_a_nan_inside_an_argument_is_named() -> None:
    bad = A.clone()
    bad[3, 3] = torch.nan
    model = Nested(lambda v, more: v + more["y"])
    with pytest.raises(DataError, match=r"Concept 'a': argument 'more'\['y'\] holds NaN"):
        ec.record(model, {"a": {"first": A, "more": {"y": bad}}})


# -- what cannot be read ----------------------------------------------------------------------------

PICTURE = Image.new("RGB", (6, 6))
WRONG = {
    "sparse": (A.to_sparse(), "argument 0 is a sparse tensor.*to_dense"),
    "sparse rows": (A.to_sparse_csr(), "argument 0 is a sparse tensor.*to_dense"),
    "sparse by name": ({"input": A.to_sparse()}, "argument 'input' is a sparse tensor.*to_dense"),
    "nested": (torch.nested.nested_tensor([A[:3], A[3:]]), "argument 0 is a nested tensor.*to_padded_tensor"),
    "meta": (A.to("meta"), "argument 0 is a tensor on the meta device"),
    "quantised": (torch.quantize_per_tensor(A, 0.1, 0, torch.qint8), "argument 0 is a quantised tensor"),
    "complex": (A.to(torch.complex64), "reads torch.complex64 values.*concept 'bad'"),
    "objects": (np.array([[1.0, 2.0], [3.0]], dtype=object), "argument 0 is an array of object.*np.stack"),
    "texts": (np.array(["one", "two"]), "argument 0 is an array of <U3"),
    "dates": (np.array(["2020-01-01"], dtype="datetime64[D]"), r"argument 0 is an array of datetime64\[D\]"),
    "fields": (np.zeros(3, dtype=[("x", "f4")]), "argument 0 is an array of"),
    "numbers": ([1.0, 2.0], "a batch must be.*found float.*torch.tensor"),
    "lists of numbers": ([[1.0, 2.0]], "found list.*torch.tensor"),
    "a tuple of numbers": ((1.0, 2.0), r"no tensor with a batch dimension; found 0 \(float\), 1 \(float\)"),
    "a list in a tuple": (([1.0, 2.0],), r"no tensor with a batch dimension; found 0 \(list\)"),
    "a picture": (PICTURE, "inputs must be a tensor.*found PIL.Image.Image"),
    "pictures": ([PICTURE], "found PIL.Image.Image.*Turn the picture into the tensor"),
    "a picture in a tuple": ((PICTURE,), r"found 0 \(PIL.Image.Image\)"),
    "a data class": ([Pair(A)], "found .*Pair.*mapping of keyword arguments"),
    "a mapping of numbers": ({1: A}, "a mapping names the model's arguments; found the key 1"),
    "nothing": ({}, "no tensor with a batch dimension; found nothing"),
    "whole numbers one by one": ([torch.arange(4)], r"whole numbers of shape \(4,\).*x\[None\]"),
    "a scalar": (np.float32(1.0), "inputs must be a tensor"),
    "an empty loader": (DataLoader(TensorDataset(A[:0])), "Concept 'bad' is empty"),
    "empty": (A[:0], "Concept 'bad' is empty"),
    "a table": (pd.DataFrame(A.numpy()), r"found pandas.*DataFrame.*to_numpy\(\)"),
    "a data set": (TensorDataset(A), "found .*TensorDataset.*DataLoader"),
    "a data class by itself": (Pair(A), "found .*Pair.*mapping of keyword arguments"),
    "no features": (A[:, :0], "Layer 'fc' reads rows of 6|could not run the inputs of concept 'bad'"),
}  # fmt: skip


@pytest.mark.parametrize(("inputs", "said"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_read_is_refused_in_a_sentence(inputs: Any, said: str) -> None:
    with pytest.raises(DataError) as caught:
        ec.record(net(), {"good": A, "bad": inputs})
    assert re.search(said, str(caught.value)), str(caught.value)
    assert "bad" in str(caught.value)


def test_a_sparse_matrix_may_go_along_with_the_inputs() -> None:
    adjacency = torch.eye(40).to_sparse()
    model = Nested(lambda x, matrix: torch.sparse.mm(matrix, x))
    recording = ec.record(model, {"a": (A, adjacency), "b": (B, adjacency)}, batch_size=16)
    assert recording.rows("fc", "a") == 40


@pytest.mark.parametrize("size", [0, -1, 2.5, None, "8", True])
def test_a_batch_size_that_is_no_number_of_inputs_is_refused(size: Any) -> None:
    with pytest.raises(DataError, match="batch_size is a whole number of at least 1; found"):
        ec.record(net(), {"a": A}, batch_size=size)


def test_very_many_arguments_are_not_all_named() -> None:
    with pytest.raises(DataError) as caught:
        ec.record(net(), {"a": tuple(A.repeat(40, 1))})
    assert f"and {40 * len(A) - 8} more" in str(caught.value) and len(str(caught.value)) < 900


def test_labels_that_a_loader_brings_along_are_explained() -> None:
    loader = DataLoader(TensorDataset(A, torch.zeros(40, dtype=torch.long)), batch_size=8)
    with pytest.raises(DataError, match="'a'.*takes 1 argument.*has 2.*labels.*leave them out"):
        ec.record(net(), {"a": loader})


def test_an_iterator_that_was_read_says_so() -> None:
    batches: Iterator[Tensor] = iter(A.split(8))
    assert ec.record(net(), {"a": batches}).counts == {"a": 40}
    with pytest.raises(DataError, match="'a' is empty.*can be read only once"):
        ec.record(net(), {"a": batches})


# -- before the work --------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [lambda: iter(B.split(20)), lambda: (b for b in B.split(20)), lambda: map(
    torch.clone, B.split(20)
)], ids=["iterator", "generator", "map"])  # fmt: skip
def test_a_check_up_reads_nothing_that_can_be_read_only_once(make: Any) -> None:
    model, batches = net(), make()
    found = ec.check_up(model, {"a": A, "b": batches})
    assert any("'b': its inputs can be read only once" in problem for problem in found.problems)
    assert ec.record(model, {"a": A, "b": batches}).counts == {"a": 40, "b": 40}
    alone = make()
    assert not ec.check_up(model, {"b": alone}).ok
    assert ec.record(model, {"b": alone}).counts == {"b": 40}


def test_a_check_up_counts_as_the_recording_does() -> None:
    model = nn.TransformerEncoderLayer(6, 2, 12).eval()
    concepts = {"a": torch.randn(30, 4, 6), "b": [torch.randn(9, 5, 6)]}
    counted = ec.check_up(model, concepts).concepts.set_index("concept")["inputs"].to_dict()
    assert counted == ec.record(model, concepts).counts == {"a": 4, "b": 5}


# -- what recordings and atlases keep ----------------------------------------------------------------


def test_merging_and_locating_keep_what_is_said_about_them() -> None:
    model = net()
    one, two = ec.record(model, {"a": A}), ec.record(model, {"b": B})
    one.about, two.about = {"texts": "mine", "made": 1}, {"texts": "theirs", "seed": 2}
    joined = one.merge(two)
    assert joined.about == {"texts": "mine", "made": 1, "seed": 2}
    atlas = ec.extract(model, joined)
    atlas.about = {"settings": 3}
    assert atlas.locate(one).about == {"settings": 3, "texts": "mine", "made": 1}


@pytest.mark.parametrize("rows", [3, 40])
def test_a_layer_that_reads_zeros_alone_holds_nothing_and_is_no_error(rows: int) -> None:
    model = nn.Sequential(nn.Linear(6, 4, bias=False), nn.ReLU(), nn.Linear(4, 3, bias=False))
    nn.init.zeros_(model[0].weight)
    recording = ec.record(model, {"a": A[:rows], "b": B[:rows]})
    atlas = ec.extract(model, recording)
    for found in (atlas, atlas.locate(recording), ec.extract(model, recording, total=recording)):
        assert found["a"].norm("2") == 0.0
