"""Whatever is chosen, the address is short enough, says the same, and nonsense in it does no harm."""

from __future__ import annotations

import base64
import random
import string
import zlib

from app.choice.short_address import LONGEST, PACKED, expanded, query_of, shortened, unpacked

COUNTRIES = tuple(f"The {name} of {year}" for name in ("Kingdom", "République") for year in range(450))
LAYERS = tuple(f"model.layers.{i}.self_attn.{kind}_proj" for i in range(30) for kind in "qkvo")
NAMES = {"concepts": COUNTRIES, "layers": LAYERS}


def read(address: dict[str, list[str]]) -> dict[str, list[str]]:
    found = unpacked(address)
    return found | {key: expanded(found[key], every) for key, every in NAMES.items() if key in found}


def test_a_short_address_stands_word_by_word():
    address = {"model": ["m"], "concepts": [COUNTRIES[3]], "strength": ["0.5"]}
    assert shortened(address, NAMES) == (address, ()) and unpacked(address) == address


def test_nine_hundred_concepts_and_every_layer_fit_and_come_back():
    every = {"model": ["m"], "concepts": list(COUNTRIES), "layers": list(LAYERS), "strength": ["0.5"]}
    assert len(query_of(every)) > 20_000
    address, left_out = shortened(every, NAMES)
    assert len(query_of(address)) < 500 and not left_out and read(address) == every
    some = every | {"concepts": list(COUNTRIES[::7])}
    assert read(shortened(some, NAMES)[0]) == some


def test_a_list_of_another_model_stays_what_it_is_and_names_nobody():
    (text,) = shortened({"concepts": list(COUNTRIES)}, NAMES)[0]["concepts"]
    assert expanded([text], COUNTRIES[1:]) == [text] and expanded([text], COUNTRIES) == list(COUNTRIES)
    # A concept may be called like a list, and is then that concept.
    assert expanded([text], (text, *COUNTRIES)) == [text]


def test_a_long_text_is_packed_and_a_longer_one_left_out_by_name():
    prose = " ".join(["The capital of France is Paris, and that of Japan is Tokyo."] * 60)
    address = {"model": ["m"], "present": ["true"], "prompt": [prose], "tokens": ["7"]}
    packed, left_out = shortened(address, {})
    assert len(query_of(packed)) <= LONGEST and not left_out and unpacked(packed) == address
    assert packed["model"] == ["m"] and packed["present"] == ["true"]
    noise = "".join(random.Random(0).choices(string.printable + "äöü漢", k=4000))
    packed, left_out = shortened(address | {"prompt": [noise], "layers": list(LAYERS)}, NAMES)
    assert len(query_of(packed)) <= LONGEST and left_out == ("prompt",)
    assert read(packed) == {"model": ["m"], "present": ["true"], "tokens": ["7"], "layers": list(LAYERS)}


def test_whatever_is_chosen_gives_a_short_address_that_says_the_same_but_for_what_it_names():
    draw = random.Random(1)
    for _ in range(40):
        address = {
            "model": [draw.choice(COUNTRIES)],
            "concepts": draw.sample(COUNTRIES, draw.choice([0, 1, 20, 900])) or ["x"],
            "layers": draw.sample(LAYERS, draw.choice([1, 120])),
            "prompt": ["".join(draw.choices(string.printable, k=draw.choice([1, 500, 4000])))],
        }
        address |= {f"alpha.{name}": ["1.25"] for name in draw.sample(COUNTRIES, draw.choice([0, 12, 900]))}
        short, left_out = shortened(address, NAMES)
        again = read(short)
        assert len(query_of(short)) <= LONGEST
        assert {k: sorted(v) for k, v in again.items()} == {
            k: sorted(v) for k, v in address.items() if k not in left_out
        }


def test_what_cannot_be_unpacked_stays_and_harms_nobody():
    bomb = zlib.compressobj(9, wbits=-15)
    data = bomb.compress(b"a" * 10_000_000) + bomb.flush()
    whole = shortened({"model": ["m"], "prompt": ["word " * 700]}, {})[0][PACKED][0]
    for text in ("", "x", "ä", "====", whole[:-9], base64.urlsafe_b64encode(data).decode()):
        assert unpacked({"model": ["m"], PACKED: [text]}) == {"model": ["m"], PACKED: [text]}
    for text in ("*", "*0", "*00000000", "*zzzzzzzzAAAA", "*ä"):
        assert expanded([text, "7"], COUNTRIES) == [text, "7"]
