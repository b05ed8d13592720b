"""What decides a result is in its key, and what cannot be told apart is never kept."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from prepared_subject import Otherwise, Scaled, inputs, subject
from torch import nn

import engram_core as ec
from engram_core.opening import keys as opening_keys
from engram_core.opening import prepared as preparing
from engram_core.opening.keys import atlas_key, task_key
from engram_core.storing.cache import entries

pytestmark = pytest.mark.usefixtures("root")


def with_concepts(**record: object) -> ec.Subject:
    mine = subject()
    parts = {n: c.record for n, c in mine.concepts.items()} | record
    concepts = ec.ConceptSet(ec.Concept(n, r, mine.concepts["a"].probe) for n, r in parts.items())
    return replace(mine, concepts=concepts, task=ec.Classification(tuple(parts)))


def changed_weight() -> ec.Subject:
    mine = subject()
    with torch.no_grad():
        mine.model.first.weight[0, 0] += 1e-6
    return mine


DIFFERENT = {
    "a weight": changed_weight,
    "a buffer": lambda: subject(seeded(Scaled, mean=0.1)),
    "a setting": lambda: subject(seeded(Scaled, scale=3.0)),
    "code": lambda: subject(seeded(Otherwise)),
    "double": lambda: replace(subject(), model=subject().model.double()),
    "an input": lambda: with_concepts(b=inputs(1) + 1e-6 * (torch.arange(6) == 3)),
    "fewer inputs": lambda: with_concepts(b=inputs(1)[:8]),
    "the order": lambda: with_concepts(b=inputs(1).flip(0)),
    "a name": lambda: with_concepts(d=inputs(1)),
    "two in one": lambda: with_concepts(b=[inputs(1)[:4], inputs(1)[4:]]),
    "background": lambda: subject(background=inputs(7)),
    "other background": lambda: subject(background=inputs(8)),
}


def seeded(kind: type[nn.Module], **options: float) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return kind(**options)


def test_whatever_decides_the_result_is_part_of_the_key() -> None:
    keys = {"plain": atlas_key(subject())} | {name: atlas_key(make()) for name, make in DIFFERENT.items()}
    assert None not in keys.values() and len(set(keys.values())) == len(keys), keys
    assert keys["plain"] == atlas_key(subject()) == atlas_key(subject(seeded(Scaled)))
    # The mode, and what a probe is, decide nothing here.
    model = seeded(Scaled).train()
    assert atlas_key(subject(model)) == keys["plain"]


def test_numpy_and_named_arguments_have_keys_of_their_own() -> None:
    keys = [
        atlas_key(with_concepts(b=value))
        for value in (inputs(1).numpy(), {"x": inputs(1)}, {"y": inputs(1)}, (inputs(1),), (inputs(1), None))
    ]
    assert len({*keys, None}) == 6
    assert atlas_key(with_concepts(b=inputs(1).numpy())) == atlas_key(subject()) != None  # noqa: E711


def test_what_cannot_be_told_apart_is_never_kept(records) -> None:
    hooked, replaced = subject(), subject()
    hooked.model.first.register_forward_hook(lambda *_: None)
    replaced.model.first.forward = lambda x: x[..., :5]
    generator = with_concepts(b=(batch for batch in [inputs(1)]))
    objects = with_concepts(b=({"x": object()}, inputs(1)))
    big_endian = with_concepts(b=inputs(1).numpy().astype(np.dtype(">f4")))
    for mine in (hooked, replaced, generator, objects, big_endian):
        assert atlas_key(mine) is None
    for _ in range(2):
        ec.prepare(hooked)
    assert len(records) == 2 and not entries()
    assert ec.prepare(generator).counts["b"] == 9  # looking at it has not used it up


def test_another_version_of_the_code_makes_everything_anew(records, monkeypatch) -> None:
    ec.prepare(subject())
    monkeypatch.setattr(opening_keys, "_computed_by", lambda: "another")
    ec.prepare(subject())
    assert len(records) == 2


def test_the_code_that_counts_is_all_of_the_core() -> None:
    known = {f.name for f in Path(preparing.__file__).parents[1].rglob("*.py")}
    assert {"recording.py", "spectrum.py", "statistics.py", "atlas.py", "linear.py"} <= known
    assert (
        opening_keys._computed_by() == opening_keys._computed_by() and len(opening_keys._computed_by()) == 64
    )


def test_every_task_has_a_key_of_its_own_or_none() -> None:
    mine = subject()
    assert task_key(mine) == task_key(subject()) is not None
    turned = replace(mine, task=ec.Classification(("a", "c", "b")))
    assert task_key(turned) not in (task_key(mine), None)

    class Other:
        unit = "points"

    assert task_key(replace(mine, task=Other())) is None
