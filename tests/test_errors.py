"""Whatever is wrong, one sentence says what was found, where, and what to do."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers import structured
from torch import Tensor, nn

import engram_core as ec
from engram_core.concepts.classification import Classification
from engram_core.concepts.concepts import Concept, ConceptSet
from engram_core.concepts.tasks import Subject
from engram_core.errors import (
    ConceptOutsideTotalError,
    DataError,
    EngramError,
    ModelMismatchError,
    NonFiniteError,
    UnknownNameError,
    suggest,
)
from engram_core.recording.recording import Recording

DATA = {"apple": structured(0, 8, 6).float(), "pear": structured(1, 9, 6).float() + 1}


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x).relu())


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return Model()


@pytest.fixture(scope="module")
def recording(model: nn.Module) -> Recording:
    return ec.record(model, DATA)


@pytest.fixture(scope="module")
def atlas(model: nn.Module, recording: Recording) -> ec.Atlas:
    return ec.extract(model, recording)


def told(action: Callable[[], Any], kind: type[EngramError]) -> str:
    """Return the message of the error that `action` must raise; check that it is a sentence."""
    with pytest.raises(kind) as caught:
        action()
    message = str(caught.value)
    if caught.value.__cause__ is None:  # else it ends with the words of another library
        assert message.endswith((".", "?")) and "\n" not in message
    assert isinstance(caught.value, ValueError)  # what people expect of bad input
    return message


# -- names -------------------------------------------------------------------------------------------

NAMES = {
    "concept of an atlas": lambda m, r, a: a["aple"],
    "concept to extract": lambda m, r, a: ec.extract(m, r, concepts=["aple"]),
    "concept to erase": lambda m, r, a: a.apply(erase="aple"),
    "concept to keep": lambda m, r, a: a.apply(keep={"aple": 1.0}),
    "concept of a trace": lambda m, r, a: a.trace("first", "aple"),
    "concept of a set": lambda m, r, a: ConceptSet.of(DATA)["aple"],
    "concept of a mask": lambda m, r, a: ec.record(m, DATA, masks={"aple": torch.ones(8)}),
}
LAYERS = {
    "layer of an engram": lambda m, r, a: a["apple"].weight("frist"),
    "factors": lambda m, r, a: a["apple"].factors("frist"),
    "layer of a spectrum": lambda m, r, a: a.spectrum("frist"),
    "layer of a recording": lambda m, r, a: r.rows("frist", "apple"),
    "layer to record": lambda m, r, a: ec.record(m, DATA, layers=["frist"]),
    "layer to extract": lambda m, r, a: ec.extract(m, r, layers=["frist"]),
    "layer to edit": lambda m, r, a: a.apply(erase="apple", layers=["frist"]),
    "layer of a table": lambda m, r, a: a.energy(["frist"]),
}


@pytest.mark.parametrize("use", NAMES.values(), ids=NAMES.keys())
def test_an_unknown_concept_suggests_the_nearest(use, model, recording, atlas) -> None:
    message = told(lambda: use(model, recording, atlas), UnknownNameError)
    assert message.startswith("Unknown concept 'aple'. Did you mean 'apple'")


@pytest.mark.parametrize("use", LAYERS.values(), ids=LAYERS.keys())
def test_an_unknown_layer_suggests_the_nearest(use, model, recording, atlas) -> None:
    message = told(lambda: use(model, recording, atlas), UnknownNameError)
    assert message.startswith("Unknown layer 'frist'. Did you mean 'first'")


def test_a_suggestion_knows_case_lists_what_there_is_and_stays_short() -> None:
    assert str(suggest("concept", "APPLE", ["apple", "pear"])).endswith("Did you mean 'apple'?")
    assert str(suggest("concept", "xyz", ["apple", "pear"])).endswith("Known: 'apple', 'pear'.")
    assert "and 88 more." in str(suggest("concept", "xyz", [f"name {i}" for i in range(100)]))
    assert str(suggest("concept", "xyz", [])).endswith("There is no concept here at all.")


def test_an_unknown_name_is_also_a_key_error(atlas: ec.Atlas) -> None:
    with pytest.raises(KeyError):
        atlas["aple"]
    assert "aple" not in atlas and atlas.get("aple") is None


# -- concepts ----------------------------------------------------------------------------------------

CONCEPTS = {
    "empty": ({"pear": torch.zeros(0, 6)}, DataError, "Concept 'pear' is empty: it needs at least one input"),
    "nan": ({"pear": torch.full((2, 6), torch.nan)}, NonFiniteError, "Concept 'pear': argument 0 holds NaN"),
    "wrong width": (
        {"pear": torch.rand(3, 7)},
        DataError,
        r"Layer 'first' reads rows of 6 values; found 7|could not run the inputs of concept 'pear'",
    ),
    "whole numbers": (
        {"pear": torch.ones(3, 6, dtype=torch.int64)},
        DataError,
        r"'pear'|Layer 'first' reads torch.int64 values; expected floating point",
    ),
    "double precision": ({"pear": torch.rand(3, 6, dtype=torch.float64)}, DataError, "concept 'pear'"),
    "a number": ({"pear": 3}, DataError, "Concept 'pear': inputs must be a tensor, a batch or an iterable"),
    "nothing": ({"pear": None}, DataError, "Concept 'pear': inputs must be a tensor.*found NoneType"),
    "a scalar": ({"pear": torch.tensor(3.0)}, DataError, "'pear'.*no tensor with a batch dimension"),
    "too many arguments": ({"pear": (torch.rand(3, 6), 1)}, DataError, "could not run .* concept 'pear'"),
    "a name that is no text": ({7: torch.rand(3, 6)}, DataError, "non-empty text as its name; found 7"),
}


@pytest.mark.parametrize(("part", "kind", "message"), CONCEPTS.values(), ids=CONCEPTS.keys())
def test_a_concept_that_cannot_be_recorded_is_named(model, part: dict, kind, message: str) -> None:
    assert re.search(message, told(lambda: ec.record(model, DATA | part), kind))


def test_two_concepts_of_one_name_are_refused() -> None:
    pair = [Concept("apple", torch.rand(2, 6)), Concept("apple", torch.rand(2, 6))]
    assert "Two concepts are called 'apple'" in told(lambda: ConceptSet(pair), DataError)


def test_a_mask_that_leaves_nothing_names_the_concept(model) -> None:
    mask = {"pear": torch.zeros(9, dtype=torch.bool)}
    message = told(lambda: ec.record(model, DATA, masks=mask), DataError)
    assert message.startswith("Concept 'pear' put no row into any layer: its mask leaves nothing")


def test_a_single_row_in_all_names_the_layer(model) -> None:
    one = ec.record(model, {"apple": DATA["apple"][:1]})
    message = told(lambda: ec.extract(model, one), DataError)
    assert (
        message.startswith("Layer 'first': The total holds a single row") and "Record at least two" in message
    )


def test_one_row_of_one_concept_is_enough_beside_others(model) -> None:
    atlas = ec.extract(model, ec.record(model, DATA | {"plum": torch.rand(1, 6)}))
    assert atlas["plum"].norm("first") > 0


# -- totals ------------------------------------------------------------------------------------------


def test_a_concept_outside_the_total_names_layer_and_concept(model, recording) -> None:
    rest = ec.record(model, {"rest": DATA["apple"][:, :1] * torch.ones(6)})
    message = told(lambda: ec.extract(model, recording, total=rest), ConceptOutsideTotalError)
    assert re.match("Layer 'first': Concept 'apple' is not part of the total", message)
    assert "Record it together with everything else" in message


def test_a_total_that_lacks_a_layer_names_it(model, recording) -> None:
    part = ec.record(model, DATA, layers=["second"])
    message = told(lambda: ec.extract(model, recording, total=part), UnknownNameError)
    assert message.startswith("Unknown recorded layer 'first'")


def test_recordings_of_another_model_are_refused_wherever_they_are_used(model, recording, atlas) -> None:
    other = Model()
    theirs = ec.record(other, DATA)
    for use in (
        lambda: ec.extract(model, theirs),
        lambda: ec.extract(model, recording, total=theirs),
        lambda: recording.merge(theirs),
        lambda: atlas.locate(theirs),
        lambda: atlas.apply(other, erase="apple"),
    ):
        assert "model" in told(use, ModelMismatchError)


def test_a_loaded_atlas_says_why_it_cannot_place_others(tmp_path) -> None:
    model = nn.Linear(40, 3)
    data = {n: structured(i, 4, 40).float() for i, n in enumerate("ab")}
    ec.extract(model, ec.record(model, data)).save(tmp_path / "a")
    loaded = ec.Atlas.load(tmp_path / "a", model)
    message = told(lambda: loaded.locate(ec.record(model, data)), EngramError)
    assert message.startswith("Layer 'Linear'") and "Extract it again from the recording" in message


# -- tasks -------------------------------------------------------------------------------------------


def subject(model: nn.Module, **probes: Any) -> Subject:
    concepts = [Concept(n, x, probes.get(n, x)) for n, x in DATA.items()]
    return Subject(model, ConceptSet(concepts), Classification(("apple", "pear")))


class Odd(Model):
    def __init__(self, output: Callable) -> None:
        super().__init__()
        self.output = output

    def forward(self, x: Tensor) -> Any:
        return self.output(super().forward(x))


OUTPUTS = {
    "three dimensions": (lambda y: y[None], r"class scores of shape \(inputs, classes\).*\(1, 17, 2\)"),
    "a tuple": (lambda y: (y,), "class scores.*the model returned tuple"),
    "a dictionary": (lambda y: {"y": y}, "class scores.*the model returned dict"),
}


@pytest.mark.parametrize(("output", "message"), OUTPUTS.values(), ids=OUTPUTS.keys())
def test_a_model_that_returns_no_class_scores_says_what_it_returned(output, message: str) -> None:
    found = subject(Odd(output))
    assert re.search(message, told(lambda: found.task.measure(found.model, found.concepts), DataError))


def test_held_out_inputs_with_nan_name_the_concept(model, atlas) -> None:
    bad = subject(model, pear=torch.full((2, 6), torch.nan))
    message = told(lambda: ec.specificity(bad, atlas, controls=0), NonFiniteError)
    assert message.startswith("Concept 'pear'")


def test_an_unknown_probe_suggests_the_nearest(model) -> None:
    found = subject(model)
    message = told(lambda: found.task.measure(found.model, found.concepts, ["pera"]), UnknownNameError)
    assert message == "Unknown concept 'pera'. Did you mean 'pear'?"
