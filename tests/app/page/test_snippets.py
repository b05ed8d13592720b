"""The Python beside every figure and table gives its numbers: each snippet is run and compared.

The tolerance is that of float32: a page works in portions and on a view that it sets anew.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
from pandas.api.types import is_float_dtype, is_numeric_dtype
from streamlit.testing.v1 import AppTest

import engram_core as ec
from app.choice.picture import DRAWABLE
from app.compute import by_layer as layer_tables
from app.compute import criteria as measures
from app.compute import maps
from app.figures.words.criteria import NAMES
from app.figures.words.layers import LOOKS
from app.launch import MAIN
from app.page.report import Item
from app.views.live.inside import SECTIONS
from app.views.maps import page as map_page

RELATIVE, ABSOLUTE = 2e-3, 2e-4

# Said by the choice, not computed.
GIVEN = {"chosen", "removed", "inputs", "true class", "changed"}
KEYS = (
    "layer", "module", "block", "group", "concept", "probe", "other", "part", "position", "direction",
    "index", "class", "image", "number", "id", "measure", "model", "question", "prompt", "split",
)  # fmt: skip

AUTHOR = "Fabrice Pelliningway"
DRAWN = "0" * 10 + "8g" + "0" * 6 + "gg" + "0" * 6 + "gg" + "0" * (DRAWABLE[0] * DRAWABLE[1] - 28)

PAGES = [
    *({"page": "criteria", "criterion": name} for name in NAMES),
    {"page": "criteria", "criterion": "Sufficiency", "state": "in place"},
    *({"page": "map", "points": points} for points in map_page.POINTS),
    *({"page": "layers", "look": look} for look in LOOKS),
]
DIGITS = [
    {"page": "live", "class": "3", "image": "5"},
    {"page": "live", "drawn": DRAWN},
    {"page": "criteria", "criterion": "Reactivation", "at": "fc2"},
    {"page": "map", "points": "Engrams", "maplayer": "fc1", "dimensions": "3-D"},
    {"page": "map", "fit": "base alone", "after": "true", "colour": "Answer"},
    {"page": "layers", "look": "Directions", "lookat": "fc2", "which": "9"},
    *PAGES,
]
EDITS = {
    "nothing": {},
    "strengths of their own": {"concepts": ["3", "7"], "own": "true", "alpha.3": "0.3", "alpha.7": "1.5"},
    "adaptive, sharpened": {
        "concepts": ["7"], "strength": "1.5", "scaling": "adaptive", "layers": ["fc1", "fc2"], "power": "2",
        "clip": "true",
    },
    "kept from nothing": {"concepts": ["3", "7"], "mode": "Keep only", "strength": "0.5"},
    "kept in place": {"concepts": ["7"], "mode": "Keep only", "null": "in place", "power": "1.5"},
}  # fmt: skip
TEXTS = [
    {"page": "start"},
    {"page": "live", "tokens": "4", "temperature": "0.7", "seed": "3"},
    *({"page": "live", "tokens": "3", "section": section, "bylayer": "true"} for section in SECTIONS),
    *PAGES,
]


def named(case) -> str:  # noqa: ANN001
    return case if isinstance(case, str) else " ".join(case.values())[:40]


@pytest.fixture(scope="module", autouse=True)
def _few():
    """Pages as they are, on fewer concepts and seeds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measures, "SHAMS", 2)
        patch.setattr(measures, "_EDITED", 1)
        patch.setattr(measures, "_PROBED", 3)
        patch.setattr(layer_tables, "SHAMS", 2)
        patch.setattr(layer_tables, "_OTHERS", 1)
        patch.setattr(maps, "warm", lambda: None)
        shown = maps.shown_concepts
        patch.setattr(maps, "shown_concepts", lambda *given, **more: shown(*given, **more)[:10])
        yield


@cache
def solved(name: str):
    """Load and solve a sample as every snippet begins; the large one as the app has it."""
    if name != "digits-mlp":
        from app.session.visitors import base_of

        return base_of(name).sample, base_of(name).atlas
    sample = ec.load_sample(name)
    return sample, ec.extract(sample.model, ec.record(sample.model, sample.concepts))


_drawn: dict = {}


def draw(atlas: ec.Atlas, concepts: ec.ConceptSet, *, size: int, seeds: range) -> ec.Atlas:
    key = (id(atlas), size, seeds)
    if key not in _drawn:
        _drawn[key] = DRAW(atlas, concepts, size=size, seeds=seeds), atlas
    return _drawn[key][0]


# Solved once however many snippets ask.
TABLE, DRAW = cache(ec.layer_table), ec.subset_atlas
_known: dict[str, pd.DataFrame] = {}


def run(code: str, name: str) -> pd.DataFrame:
    """Run a snippet; return its table."""
    if code not in _known:
        sample, atlas = solved(name)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ec, "load_sample", lambda asked: sample if asked == name else pytest.fail(asked))
            patch.setattr(ec, "record", lambda model, concepts: (model, concepts))
            patch.setattr(ec, "extract", lambda model, recording: atlas)
            patch.setattr(ec, "layer_table", TABLE)
            patch.setattr(ec, "subset_atlas", draw)
            scope: dict = {}
            exec(compile(code, f"<snippet of {name}>", "exec"), scope)
        _known[code] = scope["table"]
    return _known[code]


def compare(item: Item, found: pd.DataFrame) -> None:
    shown = item.table
    assert shown is not None and len(shown)
    missing = set(shown.columns) - set(found.columns) - GIVEN
    assert not missing, f"the snippet does not give {missing}"
    keys = [key for key in KEYS if key in shown and key in found]
    assert keys and not found.duplicated(keys).any(), keys
    both = shown.merge(found, how="left", on=keys, suffixes=("", " again"), indicator="_both", sort=False)
    assert len(both) == len(shown) and (both["_both"] == "both").all(), keys
    for column in set(shown.columns) - set(keys) - GIVEN:
        mine, again = both[column], both[f"{column} again"]
        if column == "edited says":  # written out for the first questions only
            again = again.where(mine != "", "")
        if is_float_dtype(mine):
            np.testing.assert_allclose(
                again.to_numpy(float), mine.to_numpy(float), rtol=RELATIVE, atol=ABSOLUTE, err_msg=column
            )
        elif is_numeric_dtype(mine):
            np.testing.assert_array_equal(
                again.to_numpy(float, na_value=-1), mine.to_numpy(float, na_value=-1), err_msg=column
            )
        else:
            assert again.tolist() == mine.tolist(), column


def check(name: str, address: dict) -> dict[str, Item]:
    app = AppTest.from_file(str(MAIN), default_timeout=600)
    for key, value in ({"model": name} | address).items():
        app.query_params[key] = value
    app.run()
    assert not app.exception and not app.warning
    items = {
        key: item for (page, key), item in app.session_state["_items"].items() if page == address["page"]
    }
    assert items
    for key, item in items.items():
        try:
            compare(item, run(item.code, name))
        except Exception as error:
            raise AssertionError(f"{name}, {address}, {key}: {error}\n{item.code}") from error
    return items


# Every view with two edits, and every edit where it counts.
CASES = [(edit, view) for edit in ("strengths of their own", "adaptive, sharpened") for view in DIGITS] + [
    (edit, view)
    for edit in ("nothing", "kept from nothing", "kept in place")
    for view in (
        DIGITS[1], {"page": "criteria", "criterion": "Necessity"}, {"page": "map"},
        {"page": "layers", "look": "Effect"},
    )
]  # fmt: skip


@pytest.mark.parametrize(("edit", "view"), CASES, ids=named)
def test_every_snippet_of_an_image_model_gives_its_numbers(edit, view):
    check("digits-mlp", EDITS[edit] | view)


@pytest.mark.parametrize("view", TEXTS, ids=named)
def test_every_snippet_of_a_language_model_gives_its_numbers(view):
    check("authors-lm", {"concepts": [AUTHOR]} | view)
