"""An address of at most 2,000 characters, whatever is chosen; longer ones get lost in mails and proxies.

A choice that is short enough stands in its address word by word. In a longer one the long lists of concepts
and layers are first written as one bit per name (``*``, a checksum of all names, the bits); if that is not
enough, everything but the model is packed (deflate, base64) under one key. What still does not fit, a typed
text of thousands of characters, is left out and named; a session file holds it.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import parse_qs, urlencode

__all__ = ["LONGEST", "PACKED", "expanded", "is_list", "query_of", "shortened", "unpacked"]

LONGEST = 1850
"""Characters of the part after the question mark; the rest is for the server's name and the page."""
PACKED = "packed"
"""Key of the address that holds the others in packed form."""

_LIST = "*"
_IN_WORDS = ("model", "present", "page")  # said before anything is unpacked
_MOST_UNPACKED = 100_000  # bytes
_FEW = 8  # names of a list that stand in the address word by word in any case


def query_of(address: Mapping[str, Sequence[str]]) -> str:
    """Return the part of an address after the question mark."""
    return urlencode([(key, text) for key, texts in address.items() for text in texts])


def shortened(
    address: Mapping[str, Sequence[str]], names: Mapping[str, Sequence[str]]
) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """Return an address that is short enough and says the same, and the keys that it had to leave out.

    Args:
        address: texts by key.
        names: all names that there are, by the key of the lists of them; {} where they are not known yet.
    """
    plain = {key: list(texts) for key, texts in address.items()}
    if len(query_of(plain)) <= LONGEST:
        return plain, ()
    for key, every in names.items():
        if len(plain.get(key, ())) > _FEW and set(plain[key]) <= set(every):
            plain[key] = [_as_bits(plain[key], every)]
    if len(query_of(plain)) <= LONGEST:
        return plain, ()
    # The longest go first; how many must go is found by halving, since there may be hundreds.
    order = sorted(
        (key for key in plain if key not in _IN_WORDS), key=lambda key: -len(query_of({key: plain[key]}))
    )
    few, enough = -1, len(order)
    while enough - few > 1:
        tried = (few + enough) // 2
        if len(query_of(_packed(plain, order[:tried]))) <= LONGEST:
            enough = tried
        else:
            few = tried
    return _packed(plain, order[:enough]), tuple(order[:enough])


def unpacked(address: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return an address in which every key stands by itself; what cannot be unpacked stays as it is."""
    found = {key: list(texts) for key, texts in address.items()}
    if PACKED not in found:
        return found
    try:
        data = base64.b64decode(found[PACKED][-1].encode("ascii"), altchars=b"-_", validate=True)
        reader = zlib.decompressobj(wbits=-15)
        text = reader.decompress(data, _MOST_UNPACKED).decode("utf-8")
        if not reader.eof:
            return found
        inner = parse_qs(text, keep_blank_values=True, max_num_fields=10_000)
    except (ValueError, zlib.error, binascii.Error, IndexError):
        return found
    del found[PACKED]
    return {key: texts for key, texts in inner.items() if key not in (*_IN_WORDS, PACKED)} | found


def is_list(text: str) -> bool:
    """Return whether a text looks like a list in bits, which can be read once all names are known."""
    return text.startswith(_LIST)


def expanded(texts: Iterable[str], every: Sequence[str]) -> list[str]:
    """Return names in place of lists in bits; one that was made of other names stays as it is.

    Args:
        texts: names, and lists in bits.
        every: all names that there are, in their order.
    """
    found: list[str] = []
    for text in texts:
        names = None if text in every or not is_list(text) else _from_bits(text, every)
        found += [text] if names is None else names
    return found


def _packed(address: Mapping[str, Sequence[str]], without: Iterable[str]) -> dict[str, list[str]]:
    outside = {key: list(texts) for key, texts in address.items() if key in _IN_WORDS}
    gone = {*_IN_WORDS, *without}
    inside = query_of({key: texts for key, texts in address.items() if key not in gone})
    press = zlib.compressobj(9, wbits=-15)
    data = press.compress(inside.encode()) + press.flush()
    return outside | {PACKED: [base64.urlsafe_b64encode(data).decode("ascii")]}


def _check(every: Sequence[str]) -> str:
    return f"{zlib.crc32(chr(0).join(every).encode('utf-8', 'replace')):08x}"


def _as_bits(names: Iterable[str], every: Sequence[str]) -> str:
    wanted = set(names)
    bits = sum(1 << place for place, name in enumerate(every) if name in wanted)
    data = bits.to_bytes((len(every) + 7) // 8, "little")
    return _LIST + _check(every) + base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")


def _from_bits(text: str, every: Sequence[str]) -> list[str] | None:
    check, coded = text[1:9], text[9:]
    if check != _check(every):
        return None
    try:
        data = base64.b64decode(coded + "=" * (-len(coded) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        return None
    bits = int.from_bytes(data, "little")
    return [name for place, name in enumerate(every) if bits >> place & 1]
