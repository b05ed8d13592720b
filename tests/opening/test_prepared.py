"""Engrams from the cache are those that would be made now; whatever differs makes them anew."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from prepared_subject import inputs, subject

import engram_core as ec
from engram_core.errors import ModelMismatchError
from engram_core.opening.prepared import prepared
from engram_core.storing import cache
from engram_core.storing.cache import clear, entries

pytestmark = pytest.mark.usefixtures("root")


def assert_same(one: ec.Atlas, two: ec.Atlas) -> None:
    assert (one.concepts, one.layers, one.counts, one.sharpness) == (
        two.concepts, two.layers, two.counts, two.sharpness,
    )  # fmt: skip
    assert one.coverage == two.coverage and one.identity.digest == two.identity.digest
    for layer in one.layers:
        assert torch.equal(one.spectrum(layer).eigenvalues, two.spectrum(layer).eigenvalues)
        for concept in one.concepts:
            mine, theirs = one[concept].matrix(layer), two[concept].matrix(layer)
            torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-7)


# -- the same ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 9], ids=["dual", "primal"])
@pytest.mark.parametrize("sharpness", [1.0, ec.Sharpness(1.5, clip=True)], ids=["plain", "sharp"])
def test_the_second_time_nothing_is_recorded_and_all_is_the_same(records, count, sharpness) -> None:
    mine = subject(count=count)
    plain = ec.extract(mine.model, ec.record(mine.model, mine.concepts), sharpness=sharpness)
    assert_same(ec.prepare(mine, sharpness=sharpness), plain)
    again = ec.prepare(subject(count=count), sharpness=sharpness)  # an equal model, another object
    assert len(records) == 1 and len(entries()) == 1
    assert_same(again, plain)
    # Also what needs the whole total: shams and other concepts are placed in it.
    other = ec.record(mine.model, {"x": torch.cat([inputs(0, count)[:1], inputs(2, count)[:1]])})
    assert_same(again.locate(other), plain.locate(other))
    view = again.apply(erase=["a"])
    expected = plain.apply(erase=["a"])
    with torch.no_grad():
        torch.testing.assert_close(view(inputs(4)), expected(inputs(4)))


def test_the_library_itself_writes_nothing(root) -> None:
    mine = subject()
    ec.extract(mine.model, ec.record(mine.model, mine.concepts))
    ec.prepare(mine, use_cache=False)
    assert not root.exists()


def test_what_took_no_time_is_not_kept(root, monkeypatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("ENGRAM_CACHE", str(root))
    ec.prepare(subject())
    assert not entries()


def test_all_sharpnesses_share_one_entry_and_every_cut_has_its_own(records) -> None:
    mine = subject()
    for power in (1.0, 2.0):
        ec.prepare(mine, sharpness=power)
    ec.prepare(mine, sharpness=ec.Sharpness(1.0, clip=True))
    assert len(records) == 1
    found = ec.prepare(mine, cut=1e-3)
    assert len(records) == 2 and found.spectrum("first").cut == 1e-3 and len(entries()) == 2


# -- and what is not the same ---------------------------------------------------------------------------


# -- trouble -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 9, 0.3, 0.6, -3])
def test_a_changed_byte_anywhere_is_found_and_all_made_again(records, place) -> None:
    first = ec.prepare(subject())
    (entry,) = entries()
    file = entry.folder / "engrams.safetensors"
    data = bytearray(file.read_bytes())
    data[int(place * len(data)) if isinstance(place, float) else place] ^= 16
    file.write_bytes(data)
    assert_same(ec.prepare(subject()), first)
    assert len(records) == 2 and file.read_bytes() != data
    ec.prepare(subject())
    assert len(records) == 2


def test_an_entry_of_another_kind_in_its_place_is_made_again(records) -> None:
    first = ec.prepare(subject())
    (entry,) = entries()
    clear()
    cache.store(
        entry.name, lambda f: (f / "engrams.safetensors").write_bytes(b"no"), size=2, kind="x", of="x"
    )
    assert_same(ec.prepare(subject()), first)
    assert len(records) == 2 and len(entries()) == 1


def test_without_a_place_to_write_all_works(records, monkeypatch, tmp_path) -> None:
    (tmp_path / "file").write_text("no folder")
    for place in ("off", str(tmp_path / "file"), str(tmp_path / "file" / "below")):
        monkeypatch.setenv("ENGRAM_CACHE", place)
        assert ec.prepare(subject()).concepts == ("a", "b", "c")
    assert len(records) == 3


def test_an_entry_that_is_cleared_while_it_is_open_goes_on(root) -> None:
    ec.prepare(subject())
    atlas = ec.prepare(subject())
    clear()
    assert not list(root.iterdir())
    assert_same(atlas, ec.prepare(subject(), use_cache=False))


def test_a_model_that_is_written_to_while_it_is_recorded_is_not_kept(monkeypatch) -> None:
    """Weights that are mapped from a file change when somebody writes into it; a few values give it away."""
    mine = subject()
    weights = mine.model.first.weight.detach()
    with prepared(mine) as found:
        weights.numpy()[1, 2] += 1.0  # no change counter sees it
        with pytest.raises(ModelMismatchError, match="changed"):
            found.store()
    assert not entries()


def test_scores_of_the_base_are_kept_with_it() -> None:
    mine = subject()
    with prepared(mine) as found:
        assert found.scores() is None
        found.write_scores({"a": 0.5, "b": 0.25, "c": 1.0, "": 0.01})  # nothing is kept yet
        found.store()
        assert found.scores() is None
        found.write_scores({"a": 0.5, "b": 0.25, "c": 1.0, "": 0.01})
    with prepared(subject()) as again:
        assert again.kept and again.scores() == {"a": 0.5, "b": 0.25, "c": 1.0, "": 0.01}
    other = replace(
        mine, concepts=ec.ConceptSet(replace(c, probe=inputs(77)) for c in mine.concepts.values())
    )
    with prepared(other) as again:
        assert again.kept and again.scores() is None  # of other held-out inputs
    (file,) = entries()[0].folder.glob("scores-*.json")
    for text in ("", "[]", '{"a": 1}', '{"a": "x", "b": 1, "c": 1}', '{"a": NaN, "b": 1, "c": 1}'):
        file.write_text(text)
        with prepared(mine) as again:
            assert again.kept and again.scores() is None


PREPARES = """
import json, os, sys, torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[1])
import engram_core as ec
from engram_core.opening import prepared as preparing
from prepared_subject import subject
preparing._WORTH = 0.0
made = []
real = preparing.record
preparing.record = lambda *a, **o: (made.append(1), real(*a, **o))[1]
atlas = ec.prepare(subject())
print(json.dumps([len(made), float(atlas["a"].matrix("first").norm())]))
"""


def test_two_servers_and_a_command_on_one_cache_record_once(records) -> None:
    code = [sys.executable, "-c", PREPARES, str(Path(__file__).parents[1] / "support")]
    running = [subprocess.Popen(code, stdout=subprocess.PIPE, text=True, env=os.environ) for _ in range(2)]
    said = [json.loads(each.communicate(timeout=120)[0]) for each in running]
    ec.prepare(subject())
    assert sorted(made for made, _ in said) == [0, 1] and not records
    assert abs(said[0][1] - said[1][1]) < 1e-6
    assert len(entries()) == 1


def test_keeping_leaves_no_duals_in_memory_that_nobody_asked_for() -> None:
    """With many concepts they are as large as everything else, and made again in an instant."""
    mine = subject(count=4)
    atlas = ec.extract(mine.model, ec.record(mine.model, mine.concepts))
    traces = [atlas.trace(layer, concept) for layer in atlas.layers for concept in atlas.concepts]
    before = sum(trace.nbytes for trace in traces)
    states = [trace.state() for trace in traces]
    assert sum(trace.nbytes for trace in traces) == before
    for trace, state in zip(traces, states, strict=True):
        for name, tensor in state.items():
            torch.testing.assert_close(getattr(trace, name), tensor)
