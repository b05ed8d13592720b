"""Tensors of a view: of every kind, copied when they are written, sharing what their bases share."""

import threading

import numpy as np
import pytest
import torch
from stateful import A, One
from torch import Tensor, nn

from engram_core.models import tensor_twins
from engram_core.models.view import independent_copy, shared_copy


def memory() -> float:
    """Return the process's resident memory in MB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6


def test_large_caches_cost_views_nothing_until_they_are_written() -> None:
    model = One(cache=torch.ones(50_000_000), table={"k": [torch.ones(2_000_000)]})
    model.register_buffer("mask", torch.ones(2048, 2048))
    start = memory()
    views = [shared_copy(model) for _ in range(3)]
    for view in views:
        assert float(view.cache.sum()) == 50_000_000 and float(view.table["k"][0][-1]) == 1
        view(A)
    assert memory() - start < 20
    views[0].cache[3] = 7
    views[1].table["k"][0].zero_()
    assert float(model.cache[3]) == 1 == float(views[1].cache[3]) and float(views[0].cache[3]) == 7
    assert float(model.table["k"][0].sum()) == 2_000_000
    model.cache[5] = 9  # nor does what the base writes later reach a view
    assert float(views[0].cache[5]) == 1 == float(views[2].cache[5])


@pytest.mark.parametrize("kind", ["numpy", "shared", "mapped"])
def test_caches_in_memory_that_torch_does_not_own_are_copied_once_for_all_views(kind: str, tmp_path) -> None:
    size = 8_000_000
    if kind == "numpy":
        cache = torch.from_numpy(np.ones(size, np.float32))
    elif kind == "shared":
        cache = torch.ones(size).share_memory_()
    else:
        np.ones(size, np.float32).tofile(tmp_path / "cache")
        cache = torch.from_file(str(tmp_path / "cache"), shared=True, size=size)
    model = One(cache=cache)
    first = shared_copy(model)
    start = memory()
    more = [shared_copy(model) for _ in range(3)]
    assert memory() - start < 16
    more[0].cache.zero_()
    assert float(cache.sum()) == size == float(first.cache.sum()) == float(more[1].cache.sum())
    cache[0] = 5
    assert float(shared_copy(model).cache[0]) == 5


def test_without_copy_on_write_large_caches_are_copied(monkeypatch) -> None:
    monkeypatch.delattr(torch, "_lazy_clone")
    model = One(cache=torch.ones(1_000_000))
    view = shared_copy(model)
    view.cache.zero_()
    assert float(model.cache.sum()) == 1_000_000


def test_copies_on_write_are_right_under_many_threads() -> None:
    model = One(cache=torch.arange(1 << 19, dtype=torch.float32))
    right = model.cache.clone()
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(20):
            view = shared_copy(model)
            if not torch.equal(view.cache, right):
                wrong.append(number)
            view.cache.add_(number)
            if not torch.equal(view.cache, right + number) or not torch.equal(model.cache, right):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def odd_tensors() -> dict[str, Tensor]:
    whole = torch.randn(6, 8)
    with torch.inference_mode():
        inference = torch.randn(4)
    large = torch.randn(1 << 10, 1 << 10)
    return {
        "transposed": whole.t(), "strided": whole[::2, 1::3], "expanded": torch.randn(1, 4).expand(5, 4),
        "empty": torch.empty(0), "scalar": torch.tensor(3.0), "complex": torch.randn(3, dtype=torch.cfloat),
        "conjugate": torch.randn(3, dtype=torch.cfloat).conj(), "negative": torch.randn(3, dtype=torch.cfloat)
        .conj().imag, "sparse": torch.eye(3).to_sparse(), "csr": torch.eye(3).to_sparse_csr(),
        "meta": torch.empty(3, device="meta"), "inference": inference, "bool": torch.ones(3) > 0,
        "half": torch.ones(3, dtype=torch.bfloat16), "float8": torch.ones(3).to(torch.float8_e4m3fn),
        "quantised": torch.quantize_per_tensor(torch.eye(3), 0.1, 0, torch.qint8),
        "graph": (torch.ones(3, requires_grad=True) * 2), "leaf": torch.ones(3, requires_grad=True),
        "large slice": large[3:900, 5], "large transposed": large.t(), "mkldnn": torch.eye(3).to_mkldnn(),
        "buffer": nn.Buffer(torch.ones(2)),
    }  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*(quantize|Sparse|sparse).*")
@pytest.mark.parametrize("copies", [shared_copy, independent_copy])
@pytest.mark.parametrize("as_buffer", [False, True])
def test_tensors_of_every_kind_have_twins(copies, as_buffer: bool) -> None:
    model = One()
    for name, tensor in odd_tensors().items():
        name = f"my {name}"
        if as_buffer:
            model.register_buffer(name, tensor)
        else:
            setattr(model, name, tensor)
    view = copies(model)
    for name, tensor in odd_tensors().items():
        one, two = getattr(model, f"my {name}"), getattr(view, f"my {name}")
        assert type(one) is type(two) and one.dtype == two.dtype and one.shape == two.shape, name
        assert one.layout == two.layout and one is not two, name
        if copies is shared_copy or one.is_leaf:
            assert one.requires_grad == two.requires_grad, name
        if tensor.layout is torch.strided and not tensor.is_meta:
            if not tensor.is_quantized and not tensor.is_neg():
                assert one.stride() == two.stride(), name
            assert torch.equal(one.detach().float() if name == "float8" else one.detach(),
                               two.detach().float() if name == "float8" else two.detach()), name  # fmt: skip


def test_tensors_that_share_memory_have_twins_that_do() -> None:
    for size in (8, 1 << 20):
        whole = torch.arange(float(size))
        model = One(
            whole=whole, part=whole[2:6], again=whole, pairs=[(whole[4:], "x")], words=whole.view(torch.int32)
        )
        view = shared_copy(model)
        assert view.again is view.whole
        view.whole[5] = -1
        assert view.part[3] == -1 and view.pairs[0][0][1] == -1
        assert view.words[5] == torch.tensor(-1.0).view(torch.int32)
        view.part[0] = -2
        assert view.whole[2] == -2 and torch.equal(whole, torch.arange(float(size)))


def test_windows_on_parameters_stay_windows_on_them() -> None:
    model = One()
    model.turned, model.flat = model.fc.weight.detach().t(), model.fc.weight.detach().reshape(-1)[3:9]
    view, own = shared_copy(model), independent_copy(model)
    assert view.fc.weight is model.fc.weight and view.turned.data_ptr() == model.fc.weight.data_ptr()
    assert own.fc.weight is not model.fc.weight and own.turned.data_ptr() == own.fc.weight.data_ptr()
    assert own.flat.data_ptr() == own.fc.weight.data_ptr() + 12
    both = torch.zeros(40)  # one block of memory, half parameter, half buffer
    model.bias = nn.Parameter(both[:20])
    model.register_buffer("beside", both[20:])
    view = shared_copy(model)
    view.beside.fill_(1)
    assert not both.any() and view.bias is model.bias


def test_copy_on_write_is_what_this_torch_has() -> None:
    """Large caches are copied per view if it ever goes away, which then is to be known."""
    assert tensor_twins._lazy(torch.zeros(1 << 20, dtype=torch.uint8)) is not None
