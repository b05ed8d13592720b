"""What the tables of layers say agrees with the engrams themselves, and editing everywhere is editing."""

import numpy as np
import pytest
import torch

import engram_core as ec
from engram_core.concepts.tasks import Subject
from engram_core.editing.edit import Edit
from engram_core.errors import DataError, UnknownNameError
from engram_core.models.groups import choose_groups


def test_editing_everywhere_is_the_plain_edit(atlas, subject):
    name = list(atlas)[2]
    table = ec.layer_effects(subject, atlas, erase=name, groups="whole", controls=2)
    edited = subject.task.measure(atlas.apply(erase=name), subject.concepts).score
    assert dict(zip(table["probe"], table["score"], strict=True)) == edited
    assert table.loc[table["erased"], "probe"].tolist() == [name]
    assert (table["gaussian_low"] <= table["gaussian"] + 1e-12).all()
    assert (table["gaussian"] <= table["gaussian_high"] + 1e-12).all()


def test_a_layer_alone_leaves_the_other_weights_as_they_are(atlas, subject):
    name = list(atlas)[0]
    table = ec.layer_effects(subject, atlas, erase={name: 1.0})
    assert list(dict.fromkeys(table["group"])) == atlas.layers
    view = atlas.apply(erase=name, layers=[atlas.layers[0]])
    alone = table[table["group"] == atlas.layers[0]]
    scores = subject.task.measure(view, subject.concepts).score
    assert alone["score"].tolist() == [scores[p] for p in alone["probe"]]
    assert Edit.of(atlas, erase=name, layers=[atlas.layers[0]]).layers == (atlas.layers[0],)


@pytest.mark.parametrize("scaling", ["plain", "adaptive"])
def test_every_group_is_an_edit_of_its_own(atlas, subject, scaling):
    erase = dict(zip(list(atlas)[:2], (1.0, 0.5), strict=True))
    table = ec.layer_effects(subject, atlas, erase=erase, groups=["all", "blocks"], scaling=scaling)
    assert table["group"].nunique() == 1 + len(atlas.layers)
    for group, members in choose_groups(atlas.layers, ["all", "blocks"]).items():
        view = atlas.apply(erase=erase, scaling=scaling, layers=members)
        scores = subject.task.measure(view, subject.concepts).score
        rows = table[table["group"] == group]
        assert dict(zip(rows["probe"], rows["score"], strict=True)) == scores


def test_strength_zero_and_no_concept_are_refused(atlas, subject):
    with pytest.raises(DataError, match="nothing to erase"):
        ec.layer_effects(subject, atlas, erase={next(iter(atlas)): 0.0})
    with pytest.raises(UnknownNameError):
        ec.layer_effects(subject, atlas, erase="eleven")


def test_fewer_probes_are_the_same_numbers(atlas, subject):
    names = list(atlas)[4:7]
    few = Subject(subject.model, subject.concepts.subset(names), subject.task)
    whole = ec.necessity(subject, atlas, concepts=names[:1], controls=0)
    some = ec.necessity(few, atlas, concepts=names[:1], controls=0)
    assert some["probe"].tolist() == names
    expected = whole.set_index("probe").loc[names, "score"].tolist()
    assert some["score"].tolist() == expected
    table = ec.specificity(few, atlas, layers=[atlas.layers[0]], concepts=names[:1], controls=0)
    every = ec.specificity(subject, atlas, layers=[atlas.layers[0]], concepts=names[:1], controls=0)
    np.testing.assert_allclose(table["value"], every.set_index("probe").loc[names, "value"], rtol=1e-9)
    with pytest.raises(UnknownNameError):
        subject.concepts.subset(["eleven"])
    assert torch.equal(few.concepts[names[0]].probe, subject.concepts[names[0]].probe)
