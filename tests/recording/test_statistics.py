"""Second moments: brute force over all rows, whatever was folded and whatever was added first."""

import pytest
import torch
from helpers import relative, structured
from recorded import moment, rows_of
from torch import nn

import engram_core as ec
from engram_core.recording.statistics import Statistics, homogeneous_moment, total_moment


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("count", [3, 6, 7, 200], ids=lambda n: f"{n} rows")
def test_statistics_equal_brute_force(dtype: torch.dtype, count: int) -> None:
    x = (structured(0, count, 6) + 0.5).to(dtype)
    recording = ec.record(nn.Linear(6, 4).to(dtype), {"a": x}, batch_size=4)
    assert relative(moment(recording, "Linear", "a"), rows_of(x)) < 1e-12
    statistics = recording.sources[0].statistics["a"]
    assert statistics.folded == (count >= 6)
    assert statistics.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert recording.rows("Linear", "a") == recording.counts["a"] == count


def test_statistics_of_a_grouped_convolution_equal_brute_force() -> None:
    x = torch.randn(5, 4, 6, 6)
    recording = ec.record(nn.Conv2d(4, 6, 3, groups=2, bias=False), {"a": x}, batch_size=2)
    for group, part in enumerate(x.split(2, 1)):
        rows = nn.functional.unfold(part, 3).mT.reshape(-1, 18).double()
        found = moment(recording, "Conv2d", "a", bias=False)[group]
        assert relative(found, rows.mT @ rows) < 1e-12


def test_folding_does_not_change_what_is_recorded() -> None:
    rows = structured(3, 40, 30).float()[None]
    folded, kept = Statistics(1, 30), Statistics(1, 1000)
    kept.columns = 30  # a width that keeps the rows, then the true one
    for part in rows.split(7, 1):
        folded.add(part)
    kept.chunks, kept.count = [rows], 40
    assert folded.folded and not kept.folded
    torch.testing.assert_close(homogeneous_moment(folded, True), homogeneous_moment(kept, True))


@pytest.mark.parametrize("block", [1, 256 * 200, 1 << 20], ids="{} values at once".format)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("columns", [10, 140])
def test_a_total_is_the_moment_of_all_rows_whatever_was_folded(
    columns: int, groups: int, bias: bool, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engram_core.recording.statistics._BLOCK_VALUES", block)
    generator = torch.Generator().manual_seed(columns)
    parts, seen = [], []
    for counts in ([3, 4], [], [columns + 300], [5], [columns, 2], [7, columns - 8, 300]):
        part = Statistics(groups, columns)
        for count in counts:
            rows = torch.randn(groups, count, columns, generator=generator) + 0.5
            part.add(rows)
            seen.append(rows.double())
        parts.append(part)
    parts.append(Statistics(groups, columns))  # more rows than a block, and not folded
    parts[-1].chunks = [torch.randn(groups, 700, columns, generator=generator, dtype=torch.float64)]
    parts[-1].count = 700
    seen.append(parts[-1].chunks[0])
    assert {part.folded for part in parts} == {True, False}
    rows = torch.cat(seen, 1)
    if bias:
        rows = torch.cat([rows, torch.ones(groups, rows.shape[1], 1, dtype=torch.float64)], -1)
    found = total_moment(parts, bias)
    torch.testing.assert_close(found, rows.mT @ rows, rtol=1e-12, atol=1e-9)
    again = sum(homogeneous_moment(part, bias) for part in parts)
    torch.testing.assert_close(found, again, rtol=1e-12, atol=1e-9)


def test_a_total_leaves_what_it_is_made_of() -> None:
    folded, kept = Statistics(1, 4), Statistics(1, 4)
    folded.add(torch.randn(1, 9, 4))
    kept.add(torch.randn(1, 2, 4))
    kept.add(torch.randn(1, 1, 4))
    before = [folded.moment.clone(), folded.total.clone(), *(chunk.clone() for chunk in kept.chunks)]
    total_moment([folded, kept], True).zero_()
    total_moment([folded], False).zero_()
    after = [folded.moment, folded.total, *kept.chunks]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("count", [0, 3, 40])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_saved_of_statistics_restores_them(count: int, dtype: torch.dtype) -> None:
    statistics = Statistics(2, 10, dtype=dtype)
    statistics.add(torch.randn(2, count, 10, dtype=dtype))
    again = Statistics.restore(2, 10, *statistics.state())
    assert (again.count, again.dtype, again.folded) == (count, dtype, count >= 10)
    assert again.nbytes == statistics.nbytes
    for bias in (False, True):
        assert torch.equal(homogeneous_moment(again, bias), homogeneous_moment(statistics, bias))
