"""A safetensors header is read as the library reads it, or refused in a sentence that says what is wrong."""

from __future__ import annotations

import json
import random
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from engram_core.errors import StorageError
from engram_core.hub.safetensors_header import read_header

CASES = 1000
WHOLE = {
    "a.weight": torch.arange(12.0).reshape(3, 4),
    "a.bias": torch.ones(3),
    "b": torch.zeros(2, dtype=torch.int64),
}


def header_of(tensors: dict[str, torch.Tensor], file: Path) -> tuple[dict, bytes]:
    save_file(tensors, file)
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def odd(draw: random.Random) -> object:
    return draw.choice(
        [
            -1,
            0,
            1,
            3,
            2**31,
            2**63,
            2**64,
            10**30,
            1.5,
            "3",
            "F32",
            "Q4",
            None,
            True,
            [],
            {},
            [[]],
            [2**62, 4],
        ]
        + [float("nan"), float("inf"), "\ud800", "x" * 500]
    )


def damaged_header(draw: random.Random, header: dict) -> bytes:
    """A header with one to three wrong figures, or wrong bytes."""
    found = json.loads(json.dumps(header))
    for _ in range(draw.randint(1, 3)):
        name = draw.choice(list(found))
        entry = found[name]
        way = draw.randrange(6)
        if way == 0:
            found[name] = odd(draw)
        elif way == 1:
            found[str(odd(draw))] = found.pop(name)
        elif way == 2 and isinstance(entry, dict) and entry:
            entry[draw.choice(list(entry))] = odd(draw)
        elif way == 3 and isinstance(entry, dict) and entry:
            entry.pop(draw.choice(list(entry)))
        elif way == 4 and isinstance(entry, dict) and isinstance(entry.get("data_offsets"), list):
            entry["data_offsets"] = [odd(draw), odd(draw)]
        elif isinstance(entry, dict) and isinstance(entry.get("shape"), list):
            entry["shape"] = [odd(draw) for _ in range(draw.randrange(4))]
    raw = bytearray(json.dumps(found).encode())
    if not draw.randrange(4):
        raw[draw.randrange(len(raw))] = draw.randrange(256)
    if not draw.randrange(20):
        raw = bytearray(draw.choice([b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}", b"{}", b"null", b""]))
    return bytes(raw)


def test_a_damaged_header_is_read_as_the_library_reads_it_or_refused(tmp_path) -> None:
    file, draw = tmp_path / "model.safetensors", random.Random(2)
    header, data = header_of(WHOLE, file)
    assert {n: (t.dtype, t.shape, t.count) for n, t in read_header(file).items()} == {
        "a.weight": ("F32", (3, 4), 12), "a.bias": ("F32", (3,), 3), "b": ("I64", (2,), 2),
    }  # fmt: skip
    refused = 0
    for _ in range(CASES):
        raw = damaged_header(draw, header)
        length = draw.choice([len(raw)] * 9 + [0, 2**63, len(raw) + 1, len(raw) - 1])
        rest = draw.choice([data] * 9 + [data[:-1], data + b"x", b"", data * 2])
        whole = max(length, 0).to_bytes(8, "little") + raw + rest
        file.write_bytes(whole[: draw.randrange(12)] if not draw.randrange(30) else whole)
        try:
            told = read_header(file)
        except StorageError as error:
            refused += 1
            assert str(file) in str(error) and "\n" not in str(error) and len(str(error)) < 1000
            continue
        stored = load_file(file)
        assert {n: t.shape for n, t in told.items()} == {n: tuple(t.shape) for n, t in stored.items()}
    assert refused > CASES / 2
