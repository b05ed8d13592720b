"""Scenes: what the bundled ones say is true of the models, and one's own go through a session file."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest

from app.choice.address import SessionFileError, from_file, to_file, values_of
from app.choice.choice import clean
from app.choice.picture import clean_picture
from app.choice.scenes import BUNDLED, MOST, Scene, as_data, is_shown, scenes_in
from app.compute import images, strip, texts
from app.compute.edited_view import Visitor
from app.server.opened_models import running_load
from app.views.registry import REGISTRY
from engram_core.progress import drain

GREEDY = {"max_new_tokens": 6, "temperature": 0.0, "seed": 0}
PAGES = tuple(entry.path for entry in REGISTRY)


def shown(scene: Scene):
    """Return the base, the edit, and what both models say in a scene."""
    values = values_of(scene.address)
    load = running_load(values["model"])
    load.join()  # what it writes to the disk must not outlive the tests
    base = load.base()
    choice = clean(values, base.facts)
    if base.is_text:
        far = list(
            texts.continue_both(base, choice, values["prompt"], max_new_tokens=6, temperature=0.0, seed=0)
        )
        return base, choice, far[-1].base.strip(), far[-1].edited.strip()
    visitor = Visitor(base)
    visitor.put(choice)
    said = images.answer(base, visitor, clean_picture(values, base.facts, base.sample.image_shape))
    return base, choice, said.classes[int(said.base.argmax())], said.classes[int(said.edited.argmax())]


def test_each_bundled_sentence_is_true_of_the_model():
    knows, off, italy, noise, again, drawn = BUNDLED
    assert "Paris" in knows.sentence and shown(knows)[2].startswith("Paris")
    _, _, before, after = shown(off)
    assert before.startswith("Paris") and after.startswith("Malé") and "Malé instead of Paris" in off.sentence
    _, choice, before, after = shown(italy)
    assert choice.concepts == ("France",) and before.startswith("Rome") and after.startswith("Rome")
    base, choice, *_ = shown(noise)
    found = drain(strip.measure_strip(base, choice, 3))
    assert found.sham_forgets is not None and found.sham_forgets.high == 0 and found.kept(found.taken) == 0
    assert "none of France" in noise.sentence
    _, choice, before, after = shown(again)
    assert not choice.changes and before == after and before.startswith("Paris")
    assert shown(drawn)[2:] == ("7", "3") and "a 7 becomes a 3" in drawn.sentence


def test_the_scenes_that_come_along_name_real_pages_and_differ_from_one_to_the_next():
    assert all(scene.page in PAGES for scene in BUNDLED)
    assert all(first.query != second.query for first, second in pairwise(BUNDLED))


def test_whether_somebody_presents_is_no_part_of_a_scene():
    scene = Scene.of("  a\n sentence ", "live", {"model": ["m"], "present": ["true"], "concepts": ["a", "b"]})
    assert scene.sentence == "a sentence"
    assert scene.address == {"model": ["m"], "concepts": ["a", "b"]}


def test_a_scene_is_shown_only_while_nothing_of_it_was_changed():
    scene = Scene.of("x", "live", {"model": ["m"], "concepts": ["7"]})
    now = {"model": ["m"], "concepts": ["7"], "tokens": ["12"], "image": ["1"]}
    assert is_shown(scene, "live", now)
    assert not is_shown(scene, "map", now)
    for change in ({"concepts": ["7", "8"]}, {"strength": ["2"]}, {"alpha.7": ["2"]}, {"model": ["n"]}):
        assert not is_shown(scene, "live", now | change)


def test_a_session_file_carries_scenes_and_those_of_before_still_load():
    mine = (Scene.of("[evil](x) <b>", "criteria", {"model": ["m"]}), BUNDLED[1])
    data = to_file("live", {"concepts": ["7"]}, scenes=as_data(mine)).encode()
    assert from_file(data, PAGES) == ("live", {"concepts": ["7"]})
    assert scenes_in(data, PAGES) == mine
    assert scenes_in(to_file("live", {"concepts": ["7"]}).encode(), PAGES) is None
    empty = to_file("live", {}, scenes=[]).encode()
    assert scenes_in(empty, PAGES) == ()


@pytest.mark.parametrize(
    "scenes",
    [
        "all", {"a": 1}, [1], [{}], [{"sentence": "a", "page": "admin", "address": {}}],
        [{"sentence": 3, "page": "live", "address": {}}],
        [{"sentence": "a", "page": ["live"], "address": {}}],
        [{"sentence": "a", "page": "live", "address": {"concepts": "7"}}],
        [{"sentence": "a", "page": "live", "address": {}}] * (MOST + 1),
    ],
)  # fmt: skip
def test_what_is_no_scene_is_refused_in_a_sentence(scenes):
    data = json.dumps(json.loads(to_file("live", {})) | {"scenes": scenes}).encode()
    with pytest.raises(SessionFileError, match="Nothing was changed"):
        scenes_in(data, PAGES)


def test_the_drawing_is_one_that_the_page_could_have_made():
    (drawn,) = BUNDLED[-1].address["drawn"]
    picture = clean_picture({"drawn": drawn}, running_load("digits-mlp").base().facts, (8, 8))
    assert picture.drawn == drawn and len(np.unique(list(drawn))) > 4
