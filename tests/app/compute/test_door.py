"""The door to the core: own models, controls, and results that are made part by part."""

from __future__ import annotations

import gc
import io
import json
import threading
import weakref
import zipfile
from concurrent.futures import Future
from functools import partial

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

import engram_core as ec
from app.choice.choice import FROM_NOTHING, clean
from app.compute import cell_inputs as behind
from app.compute import criteria as measures
from app.compute import maps
from app.launch import MAIN
from app.server import memory, opened_models
from app.server.base import Base
from app.server.fair_lock import COMPUTE_LOCK
from app.server.model_check import CheckedModel, ModelCheck
from app.server.model_request import ModelRequest
from app.server.results import Remembered, size_of
from app.server.uploaded import upload
from app.session import visitor_models
from engram_core.measuring import shams
from engram_core.measuring.significance import SHAMS as KINDS
from engram_core.progress import drain


def opened(*names: str) -> CheckedModel:
    """Return digits-mlp, which has ten outputs, with concepts for some of them only."""
    sample, buffer = ec.load_sample("digits-mlp"), io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            for index, image in enumerate(sample.concepts[name].record[:16].numpy()):
                png = io.BytesIO()
                Image.fromarray((255 * image[0]).astype(np.uint8)).save(png, "PNG")
                archive.writestr(f"{name}/{index}.png", png.getvalue())
    path, remove = upload("own.zip", content := buffer.getvalue())
    return ModelCheck(ModelRequest.of("digits-mlp", path, content), after=remove).opened()


@pytest.fixture(scope="module")
def two() -> Base:
    return opened("3", "7").load_in_background().base()


def test_the_answers_of_a_cell_are_named_by_the_outputs_and_not_by_the_concepts(two):
    assert two.facts.classes == ("3", "7")
    choice = clean({"concepts": ["7"]}, two.facts)
    for probed in two.facts.classes:
        row = measures.key_of(choice, "7", "necessity", FROM_NOTHING)
        table = drain(behind.class_answers(two, row, probed)).sort_values("image")
        view = two.atlas.apply(erase="7")
        for side, model in (("base", two.sample.model), ("edited", view)):
            told = two.sample.task.logits(model, two.sample.concepts[probed].probe).argmax(-1)
            assert table[side].tolist() == [str(int(number)) for number in told]
    assert set(drain(behind.class_answers(two, row, "7"))["edited"]) - {"3", "7"}, "the case is here"


def test_the_map_draws_inputs_that_are_answered_with_no_concept(two):
    visitor_models.open_model("two-digits", opened("3", "7").load_in_background)
    try:
        app = AppTest.from_file(str(MAIN), default_timeout=600)
        address = {
            "page": "map", "model": "two-digits", "concepts": "7", "colour": "Answer", "after": "true",
            "method": "PCA", "noarrows": "true",
        }  # fmt: skip
        for key, value in address.items():
            app.query_params[key] = value
        app.run()
        assert not app.exception and not app.info
        traces = json.loads(app.get("plotly_chart")[0].proto.spec)["data"]
    finally:
        opened_models.opened_models.clear()
    drawn = sorted(number for trace in traces for (number, *_) in trace.get("customdata", ()))
    assert drawn == list(range(len(ec.draw_inputs(two.sample))))
    assert {trace["name"] for trace in traces if "customdata" in trace} - {"3", "7"}


def test_effects_are_held_against_their_controls_as_the_core_does(two):
    choice, chosen = clean({}, two.facts), measures.selection(two.facts, ())
    for seeds in (measures.SHAMS, measures.MANY):  # more seeds later are as if all had been asked for at once
        work = measures.measure_function(two, choice, "necessity", FROM_NOTHING, chosen, controls=seeds)
        found = drain(work)
        core = ec.necessity(two.sample, two.atlas, controls=seeds)
        pd.testing.assert_frame_equal(found.table, core[list(found.table.columns)], atol=1e-9)
        table, core = found.tests, core.drop_duplicates("concept")
        assert list(table["concept"]) == list(core["concept"])
        runs = {kind: found.effects(kind) for kind in KINDS}
        assert {len(run) for kind in runs.values() for run in kind} == {seeds}
        assert {f"selective_{kind}_{tail}" for kind in runs for tail in ("z", "p")} < set(table.columns)
        for column in table.columns[1:]:
            np.testing.assert_allclose(table[column], core[column], atol=1e-9)


def test_more_seeds_are_taken_from_where_the_few_end(two, monkeypatch):
    choice, chosen = clean({"strength": 0.7}, two.facts), measures.selection(two.facts, ())
    work = partial(measures.measure_function, two, choice, "necessity", FROM_NOTHING, chosen)
    few, drawn, record = drain(work(controls=3)).scores.shams, [], shams.subset_atlas_steps

    def noted(*values, seeds, **options):  # noqa: ANN002, ANN003, ANN202
        drawn.append(seeds)
        return record(*values, seeds=seeds, **options)

    monkeypatch.setattr(shams, "subset_atlas_steps", noted)
    many = drain(work(controls=5)).scores.shams
    assert drawn and all(list(seeds) == [3, 4] for seeds in drawn)
    for name in chosen.edited:
        for kind in KINDS:
            assert many[kind][name][:3] == few[kind][name] and len(many[kind][name]) == 5


def test_work_that_was_left_goes_on_where_it_was_and_others_have_their_turns(two):
    choice, chosen = clean({"strength": 0.6}, two.facts), measures.selection(two.facts, ())
    work = partial(measures.measure_function, two, choice, "necessity", FROM_NOTHING, chosen, controls=2)
    left, seen = work(), []
    for step in left:
        assert COMPUTE_LOCK._owner is None, "nobody has the turn between two steps"
        seen.append(step)
        if step.done >= 3:
            break
    left.close()
    assert [step.done for step in seen] == sorted(step.done for step in seen)
    rest = list(work())
    assert min(step.done for step in rest) >= 3, "what was scored is not scored again"
    assert not [step for step in work() if step.share < 1]
    for step in seen:
        for name, scores in step.partial.edited.items():
            assert scores == drain(work()).scores.edited[name]


# -- results --------------------------------------------------------------------------------------


def test_only_what_is_put_is_weighed(monkeypatch):
    weighed = []

    def weigh(value) -> int:  # noqa: ANN001
        weighed.extend([value] if isinstance(value, dict) else [])
        return size_of(value)

    monkeypatch.setattr("app.server.results.size_of", weigh)
    kept = Remembered(most_bytes=100_000)
    values = [{"numbers": np.zeros(100)} for _ in range(50)]
    for number, value in enumerate(values):
        kept.put(number % 20, value)
    assert len(weighed) == 50
    kept.put("large", np.zeros(10_000))
    kept.put("large", np.zeros(10_000))  # counts once
    assert all(kept.get(number) is not None for number in range(20))


def test_a_map_that_was_made_behind_the_scenes_is_weighed_when_it_is_there(two):
    maps._WORKER.submit(int).result(300)  # other pages' maps, and the compiling of UMAP, stand before ours
    before, start = two.remembered._bytes, threading.Event()

    def make() -> np.ndarray:
        start.wait(120)
        return np.zeros(1000)

    job: Future = maps._job(two, "a map", make, "umap")
    assert maps._job(two, "a map", make, "umap") is job and two.remembered._bytes == before
    start.set()
    job.result(120)
    maps._WORKER.submit(int).result(120)  # the thread has told of the first job before it takes the next
    assert two.remembered._bytes == before + 8000


def test_what_is_loaded_is_not_looked_through_after_every_run_and_is_still_freed_one_day():
    class Node:
        own: object = None

    node = Node()
    node.own, there = node, weakref.ref(node)  # only the garbage collector can free it
    memory.settle()
    try:
        assert gc.get_freeze_count() > 100_000 and len(gc.get_objects()) < gc.get_freeze_count() / 10
        del node
        gc.collect()
        assert there() is not None
        memory.settle()
        assert there() is None
    finally:
        gc.unfreeze()
