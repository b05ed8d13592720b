"""The four criteria say exactly what a model does with a memory, on held-out inputs and nowhere else."""

import copy
import json
import math

import pandas as pd
import pytest
import torch
from helpers import CRITERIA, every_criterion, orthogonal, square
from torch import Tensor, nn

import engram_core as ec
from engram_core.concepts.classification import Classification
from engram_core.concepts.concepts import Concept, ConceptSet
from engram_core.concepts.tasks import Subject
from engram_core.errors import DataError, ModelMismatchError

# -- a model whose answers are known in closed form -------------------------------------------------


class Apart(nn.Module):
    """Tells concepts in orthogonal subspaces apart; says "none" when nothing is left."""

    def __init__(self, always: float = 0.1) -> None:
        super().__init__()
        self.turn = nn.Linear(9, 9, bias=False, dtype=torch.float64)
        self.read = nn.Linear(9, 3, bias=False, dtype=torch.float64)
        self.always = always
        turned = orthogonal(9, 9, seed=1)
        with torch.no_grad():
            self.turn.weight.copy_(turned)
            self.read.weight.copy_(torch.eye(3, dtype=torch.float64).repeat_interleave(3, 1) @ turned.mT)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.new_full((len(x), 1), self.always), self.read(self.turn(x))], 1)


def apart(
    always: float = 0.1, classes: tuple[str, ...] = ("none", "a", "b", "c")
) -> tuple[Subject, ec.Atlas]:
    generator = torch.Generator().manual_seed(0)
    concepts = []
    for place, name in enumerate("abc"):
        x = torch.zeros(30, 9, dtype=torch.float64)
        x[:, 3 * place : 3 * place + 3] = torch.rand(30, 3, generator=generator, dtype=torch.float64) + 0.5
        concepts.append(Concept(name, x[:20], x[20:]))
    found = Subject(Apart(always), ConceptSet(concepts), Classification(classes))
    return found, ec.extract(found.model, ec.record(found.model, found.concepts))


def assert_is_identity(table: pd.DataFrame, flip: bool = False) -> None:
    for concept, row in table.iterrows():
        for probe, value in row.items():
            assert value == pytest.approx(float((concept == probe) != flip), abs=1e-7)  # a root of rounding


def test_orthogonal_concepts_meet_all_four_criteria_exactly() -> None:
    subject, atlas = apart()
    found = ec.criteria(subject, atlas, controls=0)
    for layer in ("turn", "read"):
        specific = found.specificity[found.specificity["layer"] == layer]
        again = found.reactivation[found.reactivation["layer"] == layer]
        assert_is_identity(square(specific, "value"))
        assert_is_identity(square(again, "value"))
        assert_is_identity(square(again, "explained"))
    assert_is_identity(square(found.sufficiency, "score"))
    assert_is_identity(square(found.sufficiency, "says"))
    assert_is_identity(square(found.necessity, "score"), flip=True)
    assert (found.necessity["base"] == 1).all() and (found.necessity["says"] == 0).all()
    assert (found.necessity["delta"] == found.necessity["score"] - 1).all()


def test_taking_a_third_of_everything_is_not_taking_a_third_of_the_concepts() -> None:
    subject, atlas = apart()
    lost = ec.necessity(subject, atlas, controls=5)
    own = lost[lost["concept"] == lost["probe"]]
    assert (own["score"] == 0).all() and (own["subset"] >= 0.9).all()
    assert (own["subset_p"] == 1 / 6).all() and (own["subset_z"] > 3).all()


def test_a_model_that_always_says_one_concept_shows_it_in_says() -> None:
    subject, atlas = apart(always=1e6, classes=("c", "a", "b", "other"))
    kept = ec.sufficiency(subject, atlas, controls=0)
    score, says = square(kept, "score"), square(kept, "says")
    assert score.loc["c", "c"] == 1 and (says.loc["c"] == 1).all()
    assert (score[["a", "b"]] == 0).all(axis=None) and (says.loc[["a", "b"]] == 0).all(axis=None)


# -- what stays as it was ----------------------------------------------------------------------------


def test_the_model_is_as_before(subject: Subject, atlas: ec.Atlas) -> None:
    before = {n: (p, p.clone()) for n, p in subject.model.named_parameters()}
    subject.model.train()
    try:
        ec.criteria(subject, atlas, controls=2, layers=["4"])
        assert all(m.training for m in subject.model.modules())
    finally:
        subject.model.eval()
    assert all(
        p is before[n][0] and torch.equal(p, before[n][1]) for n, p in subject.model.named_parameters()
    )


# -- the shape of the tables -----------------------------------------------------------------------

SHAM = [f"{kind}{tail}" for kind in ("gaussian", "subset") for tail in ("", "_sd", "_z", "_p")]
COLUMNS = {
    "specificity": ["layer", "concept", "probe", "value", "base"],
    "reactivation": ["layer", "concept", "probe", "value", "base", "explained"],
    "sufficiency": ["concept", "probe", "score", "base", "delta", "says", "selective"],
    "necessity": ["concept", "probe", "score", "base", "delta", "says", "selective"],
}


def sham_columns(columns: list[str]) -> list[str]:
    if "selective" not in columns:
        return SHAM
    tails = ("", "_sd", "_z", "_p")
    return [
        name
        for kind in ("gaussian", "subset")
        for stem in (kind, f"selective_{kind}")
        for name in (stem + tail for tail in tails)
    ]


@pytest.mark.parametrize("controls", [0, 2])
def test_tables_are_tidy(subject: Subject, atlas: ec.Atlas, controls: int) -> None:
    found = ec.criteria(subject, atlas, controls=controls, layers=["0", "4"])
    for name, columns in COLUMNS.items():
        table = getattr(found, name)
        assert list(table.columns) == columns + (sham_columns(columns) if controls else [])
        keys = [c for c in ("layer", "concept", "probe") if c in columns]
        assert len(table) == (2 if "layer" in columns else 1) * 100
        assert not table.duplicated(keys).any() and list(table.index) == list(range(len(table)))
        assert not table.drop(columns=keys).isna().any(axis=None)


# -- controls --------------------------------------------------------------------------------------


def test_one_seed_gives_the_same_tables_and_another_gives_others(subject: Subject, atlas: ec.Atlas) -> None:
    one, again, other = (
        ec.criteria(subject, atlas, controls=2, seed=s, layers=["4"]).to_dict() for s in (0, 0, 1)
    )
    assert one == again
    for name in CRITERIA:
        assert one[name]["control"] != other[name]["control"]
    assert one["necessity"]["matrix"] == other["necessity"]["matrix"]  # the effect itself has no seed


# -- held-out inputs only ----------------------------------------------------------------------------


@every_criterion
def test_recorded_inputs_are_never_measured(subject: Subject, atlas: ec.Atlas, measure) -> None:
    """The model cannot even run what stands in their place here."""
    poisoned = ConceptSet(
        Concept(n, torch.full((3, 1), math.nan), c.probe) for n, c in subject.concepts.items()
    )
    found = measure(Subject(subject.model, poisoned, subject.task), atlas, controls=0)
    pd.testing.assert_frame_equal(found, measure(subject, atlas, controls=0))


@every_criterion
def test_a_concept_without_held_out_inputs_is_named(subject: Subject, atlas: ec.Atlas, measure) -> None:
    concepts = ConceptSet(
        Concept(n, c.record, None if n == "6" else c.probe) for n, c in subject.concepts.items()
    )
    with pytest.raises(DataError, match=r"Concept '6' has no held-out inputs: give Concept\(…, probe=…\)"):
        measure(Subject(subject.model, concepts, subject.task), atlas, controls=0)


# -- what is refused -------------------------------------------------------------------------------


@every_criterion
def test_an_atlas_of_another_model_is_refused(subject: Subject, atlas: ec.Atlas, measure) -> None:
    other = copy.deepcopy(subject.model)
    with torch.no_grad():
        other[0].weight[0, 0] += 1
    with pytest.raises(ModelMismatchError, match="The atlas and the subject do not belong together"):
        measure(Subject(other, subject.concepts, subject.task), atlas, controls=0)


# -- as one object -----------------------------------------------------------------------------------


def test_to_dict_has_the_promised_keys_and_is_plain_json(subject: Subject, atlas: ec.Atlas) -> None:
    found = ec.criteria(subject, atlas, controls=2, seed=5, strength=0.9, layers=iter(["0", "4"]))
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    names = list(subject.concepts)
    for name in ("necessity", "sufficiency"):
        assert list(told[name]["base"]) == names
        for kind in ("matrix", "control", "says"):
            assert list(told[name][kind]) == names
            assert all(list(row) == names for row in told[name][kind].values())
        for statistic in ("mean", "sd", "z", "p"):
            assert list(told[name]["controls"]["subset"][statistic]) == names
        table = getattr(found, name)
        assert told[name]["matrix"]["3"]["8"] == square(table, "score").loc["3", "8"]
        assert told[name]["control"]["3"]["8"] == square(table, "gaussian").loc["3", "8"]
    for name in ("specificity", "reactivation"):
        for kind in ("layers", "control"):
            assert list(told[name][kind]) == ["0", "4"]
            assert list(told[name][kind]["4"]) == list(told[name][kind]["4"]["3"]) == names
        table = getattr(found, name)
        assert (
            told[name]["layers"]["4"]["3"]["8"]
            == (square(table[table["layer"] == "4"], "value").loc["3", "8"])
        )
    assert (told["strength"], told["scaling"], told["seed"]) == (0.9, "plain", 5)
    assert told["model_hash"] == ec.model_hash(subject.model)
    assert told["edited_layers"] == ["0", "4"] and told["control_seeds"] == 2


def test_without_controls_nothing_about_shams_is_told(subject: Subject, atlas: ec.Atlas) -> None:
    told = ec.criteria(subject, atlas, controls=0, layers=["4"]).to_dict()
    assert not any("control" in key for name in CRITERIA for key in told[name])


def test_all_four_at_once_are_the_four_alone(subject: Subject, atlas: ec.Atlas) -> None:
    options = {"controls": 2, "seed": 1, "layers": ["4"]}
    found = ec.criteria(subject, atlas, **options)
    for name, measure in CRITERIA.items():
        pd.testing.assert_frame_equal(getattr(found, name), measure(subject, atlas, **options))


def test_all_at_once_weighs_the_layers_as_asked(subject: Subject, atlas: ec.Atlas) -> None:
    options = {"controls": 0, "strength": 0.5, "scaling": "adaptive"}
    found = ec.criteria(subject, atlas, **options)
    pd.testing.assert_frame_equal(found.necessity, ec.necessity(subject, atlas, **options))
    assert found.to_dict()["scaling"] == "adaptive"
    assert not found.necessity.equals(ec.necessity(subject, atlas, controls=0, strength=0.5))


def test_progress_is_told_to_the_end(subject: Subject, atlas: ec.Atlas) -> None:
    calls: list[tuple[int, int | None]] = []
    ec.necessity(subject, atlas, controls=2, progress=lambda done, total, text: calls.append((done, total)))
    last = calls[-1][1]
    steps = [done for done, total in calls if total == last]
    assert calls[-1][0] == last == 10 * 3 + 2 and steps == sorted(steps)


@pytest.mark.parametrize("measure", [ec.necessity, ec.sufficiency], ids=["necessity", "sufficiency"])
def test_layers_may_be_given_as_an_iterator(measure, subject: Subject, atlas: ec.Atlas) -> None:
    once = measure(subject, atlas, layers=iter(["0", "4"]), controls=0)
    pd.testing.assert_frame_equal(once, measure(subject, atlas, layers=["0", "4"], controls=0))
