"""Address and session file hold the same choice, and nothing that is not a choice."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.choice.address import KINDS, SessionFileError, from_file, to_file, to_query, values_of

APP = Path(__file__).parents[3] / "app"
PAGES = ("live", "map")
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=1)


@given(
    st.fixed_dictionaries(
        {"model": TEXTS, "concepts": st.lists(TEXTS, min_size=1), "clip": st.booleans()},
        optional={"strength": st.integers(-8, 8).map(lambda n: n / 4), "image": st.integers(1, 99)},
    )
)
def test_values_survive_the_way_through_an_address(values):
    address = parse_qs(to_query(values), keep_blank_values=True)
    assert values_of(address) == values
    page, again = from_file(to_file("map", address).encode(), PAGES)
    assert page == "map" and again == address


def test_unknown_keys_and_wrong_kinds_are_left_out():
    address = {"evil": ["1"], "strength": ["much"], "image": ["2.5"], "clip": ["yes"], "alpha.x": ["2"]}
    assert values_of(address) == {"alpha.x": 2.0}
    assert values_of({"strength": ["nan"]}) == {} == values_of({"strength": ["inf"]})
    assert json.loads(to_file("live", {"evil": ["1"], "seed": ["3"]}))["address"] == {"seed": ["3"]}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", "not a session"),
        (b'{"kind": "engram-explorer session", "version": 99}', "version 99"),
        (b'{"kind": "engram-explorer session", "version": 1, "page": "x"}', "'x'"),
        (b'{"kind": "engram-explorer session", "version": 1, "page": "map", "address": {"a": 1}}', "address"),
        (b" " * 500_000, "500,000 bytes"),
    ],
)
def test_a_file_that_is_no_session_is_refused_in_a_sentence(data, said):
    with pytest.raises(SessionFileError, match=said):
        from_file(data, PAGES)


def test_every_key_of_the_choice_has_a_widget_or_is_one_of_the_tour():
    sources = "".join(path.read_text(encoding="utf-8") for path in APP.rglob("*.py"))
    without = {"drawn", "said", "lesson", "predicted"}  # a canvas, a chat's field, and buttons
    for key in KINDS.keys() - without:
        # A widget's own key, or that of a helper which draws one (the rule's bound has one of two).
        helpers = rf'(_whole|_several)\(\s*"{key}",|wanted\(.*"{key}",|key = .*"{key}"'
        helpers += rf'|session_state\["{key}"\] = not'
        drawn = rf'key="{key}"|, "{key}"\)|{helpers}'
        assert re.search(drawn, sources), key


def test_every_key_has_a_kind_that_can_be_read():
    assert set(KINDS.values()) <= {str, int, float, bool, list}


ODD = [
    "", " ", "\0", "%00", "\ud800", "nan", "inf", "-inf", "1e999", "9" * 5000, "-1", "0x10", "1_000",
    "\u0663", "true", "True", "None", "[/INST]", "<script>", "a" * 20_000, "\x1b[31m", "\u202e", "=1+1",
    "{}", "[]", "1.5", "7",
]  # fmt: skip


def test_a_thousand_odd_addresses_give_values_of_their_kind_or_none():
    draw = random.Random(0)
    keys = [*KINDS, "alpha.7", "alpha.", "alpha.[/INST]", "evil", "__class__", "", "\ud800"]
    for _ in range(1000):
        address = {
            draw.choice(keys): draw.choice([str, list])(draw.choice(ODD))
            if not draw.randrange(3)
            else [draw.choice(ODD) for _ in range(draw.randrange(4))]
            for _ in range(draw.randrange(1, 9))
        }
        values = values_of(address)
        for key, value in values.items():
            kind = float if key.startswith("alpha.") else KINDS[key]
            assert type(value) is kind
            assert kind not in (int, float) or -(2**53) <= value <= 2**53
        again = values_of(parse_qs(to_query(values), keep_blank_values=True))
        assert {k: v for k, v in again.items() if type(v) is not float} == {
            k: v for k, v in values.items() if type(v) is not float and v not in ("", [])
        }


def test_a_thousand_damaged_session_files_are_read_or_refused_in_a_sentence():
    draw = random.Random(1)
    whole = to_file(
        "map", {"model": ["digits-mlp"], "concepts": ["7", "[/INST]"], "alpha.7": ["0.5"]}
    ).encode()
    bits = [
        b"",
        b"{",
        b"[",
        b'"',
        b"\\ud800",
        b"9" * 5000,
        b"NaN",
        b"null",
        b"[" * 5000,
        b"\xff",
        b'"page": 3,',
    ]
    read = 0
    for _ in range(1000):
        data = whole
        for _ in range(draw.randint(1, 3)):
            start = draw.randrange(len(data) + 1)
            data = data[:start] + draw.choice(bits) + data[start + draw.choice([0, 1, 5, 30]) :]
        try:
            page, address = from_file(data, PAGES)
        except SessionFileError as error:
            assert "Nothing was changed" in str(error) and len(str(error)) < 500
            continue
        read += 1
        assert page in PAGES
        values_of(address)
    assert 10 < read < 900
