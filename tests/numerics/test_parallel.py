"""Solves that run side by side find what they would one by one, and leave no thread setting behind."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from helpers import engram_by_hand, homogeneous, relative, structured
from threadpoolctl import ThreadpoolController
from torch import Tensor, nn

import engram_core as ec
from engram_core.errors import ConceptOutsideTotalError, DataError
from engram_core.numerics import parallel as module
from engram_core.numerics.eigen import eigh
from engram_core.numerics.parallel import solve_each

BIG = 1000  # rows: worth a thread


@pytest.fixture(autouse=True)
def threads():
    """Two threads, as on a small machine: the tests themselves run on one."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start two threads for however little there is to do; all else runs on one."""
    monkeypatch.setattr(module, "_WORTH", 0)
    monkeypatch.setattr(module._Blas, "threads", 2)
    torch.set_num_threads(1)


def blas() -> list[int]:
    return [library["num_threads"] for library in ThreadpoolController().select(user_api="blas").info()]


def nothing(_key: object) -> None:
    pass


# -- the threads -----------------------------------------------------------------------------------------


def test_what_is_found_comes_in_the_order_of_the_keys_and_is_told_here() -> None:
    told, where = [], []

    def done(key: str) -> None:
        told.append(key)
        where.append(threading.current_thread())

    def solve(key: str) -> str:
        time.sleep(0.05 if key == "slow" else 0)
        return key.upper()

    keys = ["slow", "large", "quick", "elsewhere", "last"]
    found = solve_each(solve, keys, [BIG, module._LARGE + 1, BIG, 0, BIG], done)
    assert found == {key: key.upper() for key in keys} and list(found) == keys
    assert sorted(told) == sorted(keys) and set(where) == {threading.current_thread()}


def test_two_run_at_once_on_one_thread_each_and_large_ones_have_all() -> None:
    meeting = threading.Barrier(2, timeout=20)  # broken, if the second never comes

    def solve(key: int) -> tuple[str, int, set[int]]:
        if key < 2:
            meeting.wait()
        return threading.current_thread().name, torch.get_num_threads(), set(blas())

    found = solve_each(solve, range(3), [BIG, BIG, module._LARGE + 1], nothing)
    assert {found[0][0], found[1][0]} == {"solving_0", "solving_1"}
    assert found[0][1:] == found[1][1:] == (1, {1})
    assert found[2][0] == threading.current_thread().name and found[2][1] == 2


@pytest.mark.parametrize("sizes", [[50, 50], [BIG], [0, 0]], ids=["little", "one", "not on the CPU"])
def test_no_thread_is_started_where_none_would_help(sizes: list[int]) -> None:
    found = solve_each(lambda _: threading.current_thread(), range(len(sizes)), sizes, nothing)
    assert set(found.values()) == {threading.current_thread()}


def test_one_thread_stays_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(module._Blas, "_counted", lambda _: 1)
    found = solve_each(lambda _: threading.current_thread(), range(4), [BIG] * 4, nothing)
    assert set(found.values()) == {threading.current_thread()}


def test_no_more_run_at_once_than_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BYTES", 40 * BIG**2)
    found = solve_each(lambda _: threading.current_thread(), range(4), [BIG] * 4, nothing)
    assert set(found.values()) == {threading.current_thread()}


@pytest.mark.parametrize("fails", [False, True])
def test_thread_counts_are_as_they_were(fails: bool) -> None:
    before = blas()

    def solve(key: int) -> int:
        if fails and key == 1:
            raise DataError("one")
        return key

    if fails:
        with pytest.raises(DataError, match="one"):
            solve_each(solve, range(4), [BIG] * 4, nothing)
    else:
        solve_each(solve, range(4), [BIG] * 4, nothing)
    assert blas() == before and torch.get_num_threads() == 2
    with ThreadPoolExecutor(1) as pool:  # a thread that starts now, too
        assert pool.submit(torch.get_num_threads).result() == 2


def test_counts_are_set_back_when_several_overlap() -> None:
    """One begins within another and ends after it; threads of both may use one, and none stays at one."""
    inner_began, outer_ended = threading.Event(), threading.Event()

    def inner(_key: int) -> None:
        inner_began.set()
        assert outer_ended.wait(20)

    with ThreadpoolController().select(user_api="blas").limit(limits=2), ThreadPoolExecutor(1) as other:
        later = []

        def outer(key: int) -> set[int]:
            if key == 0:
                later.append(other.submit(solve_each, inner, range(2), [BIG] * 2, nothing))
                assert inner_began.wait(20)
            return set(blas())

        assert set.union(*solve_each(outer, range(2), [BIG] * 2, nothing).values()) == {1}
        assert set(blas()) == {2}
        outer_ended.set()
        later[0].result(20)
        assert set(blas()) == {2} and module._BLAS.threads == 2


def test_the_first_key_that_fails_is_named_and_the_rest_is_left() -> None:
    begun = []

    def solve(key: int) -> int:
        begun.append(key)
        if key in (1, 2):
            time.sleep(0.03 if key == 1 else 0)
            raise DataError(f"key {key}")
        time.sleep(0.01)
        return key

    with pytest.raises(DataError, match="key 1"):
        solve_each(solve, range(200), [BIG] * 200, nothing)
    assert len(begun) < 200


def test_who_is_told_may_end_the_work() -> None:
    begun = []

    def stop(_key: int) -> None:
        raise KeyboardInterrupt

    def solve(key: int) -> int:
        begun.append(key)
        time.sleep(0.01)
        return key

    with pytest.raises(KeyboardInterrupt):
        solve_each(solve, range(100), [BIG] * 100, stop)
    count = len(begun)
    assert count < 100
    time.sleep(0.05)
    assert len(begun) == count  # nothing goes on behind


# -- atlases ---------------------------------------------------------------------------------------------


class Net(nn.Module):
    """Wide and narrow layers, with and without bias, and a grouped convolution."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.wide = nn.Linear(150, 24, dtype=dtype)
        self.plain = nn.Linear(24, 16, bias=False, dtype=dtype)
        self.conv = nn.Conv2d(2, 4, 2, groups=2, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.plain(torch.tanh(self.wide(x))))
        return self.conv(hidden.reshape(len(x), 2, 2, 4))


def recorded(dtype: torch.dtype, **counts: int) -> tuple[nn.Module, ec.Recording, dict[str, Tensor]]:
    torch.manual_seed(0)
    model = Net(dtype).eval()
    rows = structured(1, sum(counts.values()), 150, 150, decay=0.97).to(dtype) + 0.3
    inputs = dict(zip(counts, rows.split(list(counts.values())), strict=True))
    background = inputs.pop("rest", None)
    concepts = ec.ConceptSet.of(inputs)
    if background is not None:
        concepts = ec.ConceptSet(concepts.values(), background=background)
        inputs["rest"] = background
    return model, ec.record(model, concepts, batch_size=50), inputs


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "counts",
    [
        {"a": 9, "b": 20, "rest": 60},
        {"a": 9, "b": 20, "rest": 400},
        {"a": 200, "b": 20, "c": 70, "rest": 90},
        {"a": 100, "b": 100},
    ],
    ids=["fewer rows than columns", "folded background", "folded concept", "nothing folded"],
)
@pytest.mark.usefixtures("eager")
def test_engrams_equal_those_by_hand_and_those_one_after_the_other(
    counts: dict[str, int], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, recording, inputs = recorded(dtype, **counts)
    told: list[tuple[int, int | None]] = []
    atlas = ec.extract(model, recording, progress=lambda done, total, _: told.append((done, total)))
    assert told == [(n, 3) for n in (1, 2, 3)]
    with monkeypatch.context() as patch:
        patch.setattr(module, "_WORTH", float("inf"))
        alone = ec.extract(model, recording)
    total = homogeneous(torch.cat(list(inputs.values())), True).double()
    exact = 1e-7 if dtype == torch.float64 else 2e-3
    for name in atlas:
        own = homogeneous(inputs[name], True).double()
        expected = engram_by_hand(atlas.matrix("wide")[0].double(), own, total)
        assert relative(atlas[name].matrix("wide")[0].double(), expected) < exact
        for layer in atlas.layers:
            one, two = (a[name].matrix(layer) for a in (atlas, alone))
            assert relative(one, two) < exact / 100, (layer, name)
    for layer in atlas.layers:
        assert torch.equal(atlas.spectrum(layer).rank, alone.spectrum(layer).rank)


@pytest.mark.usefixtures("eager")
def test_a_foreign_total_and_a_merged_one_are_the_same_totals() -> None:
    model, whole, inputs = recorded(torch.float64, a=30, b=200, rest=80)
    parts = [ec.record(model, {name: x}) for name, x in inputs.items()]
    merged = parts[0].merge(parts[1]).merge(parts[2])
    expected = ec.extract(model, whole)["a"]
    for found in (ec.extract(model, merged)["a"], ec.extract(model, parts[0], total=whole)["a"]):
        for layer in expected.layers:
            assert relative(found.matrix(layer), expected.matrix(layer)) < 1e-6, layer


@pytest.mark.usefixtures("eager")
def test_errors_name_the_first_layer_that_fails() -> None:
    model, whole, inputs = recorded(torch.float32, a=30, b=30)
    other = ec.record(model, {"a": 40 * torch.randn(30, 150)})
    with pytest.raises(ConceptOutsideTotalError, match="Layer 'wide': Concept 'a'"):
        ec.extract(model, other, total=whole)


def test_other_threads_go_on_during_a_decomposition() -> None:
    matrix = torch.eye(900, dtype=torch.float64) + structured(0, 900, 900)[None]
    matrix = matrix @ matrix.mT
    longest, done = 0.0, threading.Event()
    with ThreadPoolExecutor(1) as pool:
        started = time.perf_counter()
        solving = pool.submit(eigh, matrix)
        solving.add_done_callback(lambda _: done.set())
        last = time.perf_counter()
        while not done.wait(0.001):
            now = time.perf_counter()
            longest, last = max(longest, now - last), now
        took = time.perf_counter() - started
    assert longest < took / 2
