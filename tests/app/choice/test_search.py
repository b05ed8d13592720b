"""What is searched for the strength is checked like everything that an address may hold."""

from __future__ import annotations

import json

import pytest

import engram_core as ec
from app.choice import search
from app.choice.choice import Facts
from app.choice.search import DAMAGE, FORGET, Plan, rule_of, setting_text
from app.compute import plans
from app.compute.plans import plan_of

NAMES = tuple(f"fact {i}" for i in range(30))
LAYERS = tuple(f"layers.{i}.{name}" for i in range(2) for name in ("attn.q_proj", "attn.v_proj", "mlp.up"))
FACTS = Facts("m", NAMES, dict.fromkeys(NAMES, 6), LAYERS, kind="text", power="4")


def plan(facts: Facts = FACTS, concepts: tuple[str, ...] = (), *, demo: bool = False, **raw) -> Plan:
    return plan_of(raw, facts, concepts, {}, demo=demo)


def test_without_a_word_it_is_a_short_search_on_drawn_concepts():
    found = plan()
    assert [name for (name,) in found.targets] == ec.draw_concepts(NAMES, 4, seed=0)
    assert found.strengths == search.STRENGTHS and found.groups == (("all", LAYERS),)
    # The sharpness that the model starts with is always tried.
    assert ec.Sharpness(4.0) in found.filters and ec.Sharpness() in found.filters
    assert found.edits == len(found.targets) * found.settings < 100
    known = plan_of({}, FACTS, (), {"search": [1, 12.0]})
    assert known.strengths == (1.0, 12.0)


def test_a_search_is_what_was_asked_for():
    found = plan(
        strengths=["3", "0.7", "3"], filters=["2 clipped", "1"], scalings=["adaptive", "plain"],
        among=["v", "attention"], count=7, draw=3, beside=2, together=True,
    )  # fmt: skip
    assert found.strengths == (0.7, 3.0) and set(found.filters) == {ec.Sharpness(2.0, True), ec.Sharpness()}
    assert dict(found.groups) == {k: ec.layer_groups(LAYERS)[k] for k in ("attention", "v")}
    assert found.targets == (tuple(ec.draw_concepts(NAMES, 7, seed=3)),) and found.together
    assert found.settings == found.edits == 2 * 2 * 2 * 2 and found.others == 2
    chosen = plan(FACTS, ("fact 3", "fact 9"), search="chosen under Edit")
    assert chosen.targets == (("fact 3",), ("fact 9",)) and not chosen.drawn
    assert plan(FACTS, (), search="chosen under Edit").drawn
    json.dumps(chosen.data)


@pytest.mark.parametrize(
    "raw",
    [
        {"strengths": ["nan", "1e9", "-1", "0", "<b>"], "filters": ["99"], "scalings": ["wild"]},
        {"count": -3, "draw": 10**9, "beside": 10**6, "search": "</script>", "together": None},
        {"strengths": 4, "filters": None, "among": ["nowhere"], "count": None, "beside": "many"},
    ],
)  # fmt: skip
def test_nonsense_becomes_the_default(raw):
    assert plan(**raw) == plan()


def test_a_public_screen_searches_less():
    raw = {"strengths": [str(s) for s in range(1, 30)], "count": 20, "among": list(plans.groups_of(FACTS))}
    free, demo = plan(**raw), plan(**raw, demo=True)
    assert len(free.strengths) == 24 and len(demo.strengths) == 8
    assert len(free.targets) == 20 and len(demo.targets) == 4  # 20 is beyond what is on offer there
    assert demo.most < free.most
    assert len(plan(FACTS, NAMES, search="chosen under Edit", demo=True).targets) == 8


def test_with_everything_erased_one_is_left_to_see_the_damage_on():
    found = plan(FACTS, NAMES, search="chosen under Edit", together=True)
    assert len(found.targets[0]) == len(NAMES) - 1


def test_a_rule_is_a_bound_in_the_unit_of_what_it_is_about():
    assert rule_of({}, FACTS, 0.972) == search.Rule(FORGET, 80.0, "score")
    assert rule_of({}, FACTS, 0.3).bound <= 30
    found = rule_of({"rule": DAMAGE, "damage": "1.5"}, FACTS, 1.0)
    assert found.options == {"damage_at_most": 0.015} and found.bound_unit == "points"
    loss = rule_of({"measure": "nll", "forget": 6}, FACTS, 1.0)
    assert loss.options == {"lost_at_least": 6.0} and loss.bound_unit == "nats"
    for raw in ({"rule": "<b>", "forget": "nan"}, {"forget": 1e9, "measure": "mood"}):
        assert rule_of(raw, FACTS, 1.0) == rule_of({}, FACTS, 1.0)
    image = Facts("m", NAMES, dict.fromkeys(NAMES, 6), LAYERS)
    assert rule_of({"measure": "nll"}, image, 1.0).measure == "score"


def test_two_settings_never_share_a_text():
    found = plan(
        strengths=["1", "1.5"], filters=list(search.FILTERS), scalings=["plain", "adaptive"],
        among=list(plans.groups_of(FACTS)),
    )  # fmt: skip
    texts = {
        setting_text({"group": g, "scaling": c, "power": f.power, "clip": f.clip, "strength": s})
        for g, _ in found.groups for c in found.scalings for f in found.filters for s in found.strengths
    }  # fmt: skip
    assert len(texts) == found.settings
