"""A view runs beside its base: no pass, in no mode, writes the base, whatever the base holds."""

import concurrent.futures
import contextlib
import ctypes
import functools
import gc
import itertools
import queue
import random
import tempfile
import threading
import types
import weakref
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune
from transformers import DynamicCache

import engram_core as ec
from engram_core.errors import EngramError
from engram_core.models import tensor_twins
from engram_core.models.view import base_of, evaluated, own_copy, refresh, shared_copy

A = torch.randn(40, 12, generator=torch.Generator().manual_seed(1)) + 1
B = torch.randn(40, 12, generator=torch.Generator().manual_seed(2)) - 1


class One(nn.Module):
    """A layer and whatever a test puts beside it."""

    def __init__(self, **held: object) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.fc = nn.Linear(12, 3)
        for name, value in held.items():
            setattr(self, name, value)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x)


def atlas_of(model: nn.Module) -> ec.Atlas:
    return ec.extract(model, ec.record(model, {"a": A, "b": B}))


def memory() -> float:
    """Return the process's resident memory in MB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6


# -- what a forward pass writes --------------------------------------------------------------------


class Running(One):
    def __init__(self, large: int = 0) -> None:
        super().__init__()
        self.register_buffer("state", torch.zeros(max(large, 3)))

    def forward(self, x: Tensor) -> Tensor:
        h = self.fc(x)
        self.state[:3].mul_(0.9).add_(h.detach().mean(0))
        return h + self.state[:3]


class Counting(One):
    def __init__(self) -> None:
        super().__init__(calls=0, seen={"rows": 0, "last": [torch.zeros(3)]})

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.seen["rows"] += len(x)
        self.seen["last"][0] += self.fc(x).detach().sum(0)
        return self.fc(x) + self.calls + self.seen["last"][0]


@dataclass
class Memory:
    keys: Tensor = field(default_factory=lambda: torch.zeros(4, 3))
    place: int = 0
    lock: object = field(default_factory=threading.Lock)


class Remembering(One):
    """A cache in a dataclass that holds a lock, and one of transformers' caches."""

    def __init__(self) -> None:
        super().__init__(memory=Memory(), cache=DynamicCache())

    def forward(self, x: Tensor) -> Tensor:
        h = self.fc(x)
        with self.memory.lock:
            self.memory.keys[self.memory.place % 4] = h[0].detach()
            self.memory.place += 1
        self.cache.update(h.detach()[None, None], h.detach()[None, None], 0)
        return h + self.memory.keys.sum(0)


class Lazily(One):
    """Makes its cache in the first pass, and keeps a result of a computation with its graph."""

    def forward(self, x: Tensor) -> Tensor:
        if not hasattr(self, "cache"):
            self.cache = torch.zeros(3)
        self.cache = self.cache + self.fc(x).mean(0)
        return self.fc(x) + self.cache


class Bounded(nn.Module):
    """An embedding that scales down in place the rows it reads; tied to a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(20, 12, max_norm=0.5)
        self.fc = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.table(x.abs().long().clamp(max=19)).sum(1))


class Hooked(One):
    """A hook that closes over the module, and one that is a method of an object that holds it."""

    def __init__(self) -> None:
        super().__init__(total=torch.zeros(3), calls=0)
        mine = self

        def add(_module: nn.Module, _args: object, output: Tensor) -> Tensor:
            mine.total += output.detach().mean(0)
            mine.calls += 1
            return output + mine.total

        self.fc.register_forward_hook(add)


class Wrapped(One):
    """Its layer's forward replaced by a partial over a method, as libraries do that move weights about."""

    def __init__(self) -> None:
        super().__init__(total=torch.zeros(3))

        def through(owner: "Wrapped", old: object, x: Tensor) -> Tensor:
            owner.total += x.detach().mean()
            return old(x) + owner.total

        self.fc.forward = functools.partial(through, self, self.fc.forward)


def state_of(model: nn.Module) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            if key not in ("_modules", "fc"):
                found[f"{name}.{key}"] = plain(value)
    return found


def plain(value: object) -> object:
    """Return what an object holds, as data that can be compared."""
    if isinstance(value, Tensor):
        return (tuple(value.shape), value.dtype, value.detach().numpy().tobytes())
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, deque)):
        return [plain(v) for v in value]
    if isinstance(value, (Memory, DynamicCache)) or type(value).__name__ == "DynamicLayer":
        return {k: plain(v) for k, v in vars(value).items()}
    return value if isinstance(value, (bool, int, float, str, type(None))) else id(value)


MAKERS = [Running, lambda: Running(1 << 20), Counting, Remembering, Lazily, Bounded, Hooked, Wrapped]
IDS = ["buffer", "large buffer", "counter", "cache", "lazy cache", "bounded", "hook", "forward"]


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("make", MAKERS, ids=IDS)
def test_no_pass_of_a_view_or_of_a_recording_writes_the_base(make, training: bool) -> None:
    model = make().train(training)
    before = state_of(model)
    kept = {name: p.detach().clone() for name, p in model.named_parameters()}
    atlas = atlas_of(model)
    view = atlas.apply(erase="a")
    for _ in range(2):
        view(A[:4])
    subject = ec.Subject(model, ec.ConceptSet([ec.Concept("a", A, A), ec.Concept("b", B, B)]),
                         ec.Classification(("a", "b", "c")))  # fmt: skip
    subject.task.measure(model, subject.concepts)
    ec.bake(view)(A[:4])
    assert state_of(model) == before
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, kept[name]), name


@pytest.mark.parametrize("make", MAKERS, ids=IDS)
def test_off_is_the_base_whatever_the_views_own_passes_wrote(make) -> None:
    torch.manual_seed(0)
    model = make().eval()
    view = atlas_of(model).apply(erase="a")
    view(A), view(B)
    if make is not Bounded:  # whose pass writes the base itself, when the base itself is run
        model(A)
    ec.live_edit(view).off()
    twin = own_copy(model)
    assert torch.equal(view(A), twin(A)) and torch.equal(view(B), twin(B))
    ec.live_edit(view).turn_on()
    ec.live_edit(view).set(erase={"a": 0.0})
    assert torch.equal(view(A), own_copy(model)(A))


@pytest.mark.parametrize("make", MAKERS, ids=IDS)
def test_an_edited_view_with_state_is_the_baked_model(make) -> None:
    torch.manual_seed(0)
    model = make().eval()
    model(A)  # the state it has then is where both start
    atlas = atlas_of(model)
    view, other = atlas.apply(erase="a"), atlas.apply(erase="a")
    baked = ec.bake(other)
    torch.testing.assert_close(view(A), baked(A))
    torch.testing.assert_close(view(B), baked(B))


def test_a_lazy_layer_gets_its_shape_on_the_view_alone() -> None:
    model = nn.Sequential(nn.Linear(12, 8), nn.LazyLinear(3))
    view = shared_copy(model)
    assert view(A).shape == (40, 3)
    assert isinstance(model[1], nn.LazyLinear) and nn.parameter.is_lazy(model[1].weight)
    assert type(view[1]) is nn.Linear and not view[1]._forward_pre_hooks
    assert model(A).shape == (40, 3)


# -- memory ----------------------------------------------------------------------------------------


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


# -- tensors of every kind -------------------------------------------------------------------------


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
@pytest.mark.parametrize("copies", [shared_copy, own_copy])
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
    view, own = shared_copy(model), own_copy(model)
    assert view.fc.weight is model.fc.weight and view.turned.data_ptr() == model.fc.weight.data_ptr()
    assert own.fc.weight is not model.fc.weight and own.turned.data_ptr() == own.fc.weight.data_ptr()
    assert own.flat.data_ptr() == own.fc.weight.data_ptr() + 12
    both = torch.zeros(40)  # one block of memory, half parameter, half buffer
    model.bias = nn.Parameter(both[:20])
    model.register_buffer("beside", both[20:])
    view = shared_copy(model)
    view.beside.fill_(1)
    assert not both.any() and view.bias is model.bias


def test_parameters_in_odd_places_are_shared_and_ties_hold() -> None:
    model = One()
    model.held = [model.fc.weight, nn.Parameter(torch.ones(3))]
    model.second = nn.Linear(12, 3)
    model.second.weight = model.fc.weight
    view, own = shared_copy(model), own_copy(model)
    assert view.held[0] is model.fc.weight and view.held[1] is model.held[1]
    assert own.held[0] is own.fc.weight is own.second.weight is not model.fc.weight
    assert list(own.state_dict()) == list(model.state_dict())


def test_bounded_embeddings_tied_to_a_head_keep_their_tie_and_leave_the_base() -> None:
    model = nn.ModuleDict(
        {"table": nn.Embedding(12, 12, max_norm=0.1), "head": nn.Linear(12, 12, bias=False)}
    )
    model["head"].weight = model["table"].weight
    before = model["table"].weight.detach().clone()
    view = shared_copy(model)
    view["table"](torch.arange(12))
    assert torch.equal(model["table"].weight, before)
    assert view["head"].weight is view["table"].weight and float(view["head"].weight.norm(dim=1).max()) < 0.11


# -- objects of every kind -------------------------------------------------------------------------


class Refuses:
    """Says no to every way of being copied."""

    def __init__(self) -> None:
        self.values = [1, 2]

    def __deepcopy__(self, memo: object) -> "Refuses":
        raise RuntimeError("no")

    def __reduce_ex__(self, protocol: object) -> tuple:
        raise TypeError("no")


class Slotted:
    __slots__ = ("__weakref__", "lock", "values")

    def __init__(self) -> None:
        self.values, self.lock = [torch.zeros(2)], threading.Lock()


class Closing:
    """A handle that ends what it is a handle of when it goes."""

    closed = 0

    def __del__(self) -> None:
        type(self).closed += 1


def shared_objects() -> dict[str, object]:
    local = threading.local()
    local.value = 3
    return {
        "lock": threading.Lock(), "rlock": threading.RLock(), "event": threading.Event(),
        "condition": threading.Condition(), "thread": threading.current_thread(), "local": local,
        "generator": (i for i in range(3)), "file": tempfile.TemporaryFile(), "simple": queue.SimpleQueue(),
        "pool": concurrent.futures.ThreadPoolExecutor(1), "type": dict, "function": len, "module": gc,
        "pointer": ctypes.pointer(ctypes.c_int(3)), "closing": Closing(),
        "weak": weakref.ref(One), "view": memoryview(b"abc"), "code": (lambda: 0),
    }  # fmt: skip


@pytest.mark.parametrize("name", shared_objects())
def test_what_cannot_be_copied_is_shared_and_what_holds_it_is_copied(name: str) -> None:
    thing = shared_objects()[name]
    model = One(
        thing=thing, held={"list": [thing, torch.zeros(2)]}, space=types.SimpleNamespace(a=thing, b=[1])
    )
    assert ec.record(model, {"a": A, "b": B}).counts == {"a": 40, "b": 40}
    atlas = atlas_of(model)
    view = atlas.apply(erase="a")
    assert view.thing is thing is view.held["list"][0] is view.space.a
    assert view.held is not model.held and view.held["list"] is not model.held["list"]
    assert view.held["list"][1] is not model.held["list"][1] and view.space.b is not model.space.b
    baked = ec.bake(view)
    assert baked.thing is thing and baked.fc.weight is not model.fc.weight
    ended = Closing.closed
    del view, baked, atlas
    gc.collect()
    assert Closing.closed == ended


def test_what_has_state_is_copied_with_it() -> None:
    steps = itertools.count(5)
    next(steps)
    waiting: queue.Queue[int] = queue.Queue()
    waiting.put(1)
    things: dict[str, object] = {
        "torch": torch.Generator().manual_seed(3), "numpy": np.random.default_rng(3),
        "legacy": np.random.RandomState(3), "python": random.Random(3), "iterator": iter([1, 2, 3]),
        "count": steps, "deque": deque([1], maxlen=3), "counter": Counter("aab"), "array": np.zeros(3),
        "default": defaultdict(list, {"a": [1]}), "ordered": OrderedDict(a=[1]), "bytes": bytearray(b"ab"),
        "set": {1, 2}, "refuses": Refuses(), "slots": Slotted(), "queue": waiting,
        "proxy": types.MappingProxyType({"a": [1]}), "ctypes": (ctypes.c_int * 3)(1, 2, 3),
    }  # fmt: skip
    model = One(**things)
    view = shared_copy(model)
    for name, thing in things.items():
        assert getattr(view, name) is not thing, name
    assert torch.equal(
        torch.rand(3, generator=view.torch), torch.rand(3, generator=torch.Generator().manual_seed(3))
    )
    assert view.numpy.random() == np.random.default_rng(3).random()
    assert view.legacy.rand() == np.random.RandomState(3).rand()
    assert view.python.random() == random.Random(3).random()
    assert next(view.iterator) == 1 and next(view.count) == 6
    view.deque.append(2), view.counter.update("b"), view.default["a"].append(2), view.ordered["a"].append(2)
    view.array[0] = view.bytes[0] = view.ctypes[0] = 7
    view.set.add(3), view.refuses.values.append(3), view.slots.values[0].add_(1), view.queue.get()
    view.proxy["a"].append(2)
    assert next(model.iterator) == 1 and next(model.count) == 6 and model.queue.qsize() == 1
    assert (
        list(model.deque) == [1]
        and model.counter["b"] == 1
        and model.default["a"] == [1] == model.ordered["a"]
    )
    assert model.array[0] == 0 and model.bytes == b"ab" and list(model.ctypes) == [1, 2, 3]
    assert model.set == {1, 2} and model.refuses.values == [1, 2] and not model.slots.values[0].any()
    assert model.proxy["a"] == [1] and view.slots.lock is model.slots.lock
    assert model.numpy.random() == np.random.default_rng(3).random()
    assert model.legacy.rand() == np.random.RandomState(3).rand()
    assert model.python.random() == random.Random(3).random()


def test_whatever_leads_to_a_module_leads_to_its_twin() -> None:
    model = nn.Sequential(One(), One())
    fc = model[1].fc
    head = model[0]
    head.method, head.partial = fc.forward, functools.partial(fc.forward)
    head.cached, head.weak, head.proxied = (
        functools.lru_cache(4)(fc.extra_repr),
        weakref.ref(fc),
        weakref.proxy(fc),
    )
    head.closure = lambda x: fc(x)
    head.default = lambda x, layer=fc: layer(x)
    head.nested = functools.wraps(head.closure)(lambda x: [fc][0](x))
    head.by_module = {fc: "fc"}
    object.__setattr__(head, "plain", (fc, [fc]))
    head.push = [].append
    handle = fc.register_forward_hook(lambda m, a, o: o + 1)
    head.handle = handle

    def again(x: Tensor, depth: int) -> Tensor:
        return again(x, depth - 1) if depth else fc(x)

    head.again = again
    view = shared_copy(model)
    mine, twin = view[0], view[1].fc
    assert mine.method.__self__ is twin and mine.partial.func.__self__ is twin
    assert mine.cached.__wrapped__.__self__ is twin and mine.weak() is twin
    assert mine.proxied.weight is twin.weight and mine.proxied.__init__.__self__ is twin
    assert mine.plain[0] is twin is mine.plain[1][0] and mine.by_module[twin] == "fc"
    with torch.no_grad():
        twin._parameters["weight"] = nn.Parameter(torch.zeros(3, 12))
        for name in ("closure", "default", "nested"):
            assert torch.equal(getattr(mine, name)(A), twin(A)), name
        assert torch.equal(mine.again(A, 3), twin(A))
        mine.handle.remove()
    assert not twin._forward_hooks and len(fc._forward_hooks) == 1
    assert torch.equal(model[0].closure(A), fc(A))


def test_modules_that_hold_each_other_or_themselves_are_copied_once() -> None:
    model = One()
    model.loop = [model]
    child = One()
    object.__setattr__(child, "parent", model)
    model.child = child
    model.listed = nn.ModuleList([child, model.fc])
    view = shared_copy(model)
    assert view.loop[0] is view and view.child.parent is view
    assert view.listed[0] is view.child and view.listed[1] is view.fc


def test_containers_and_compiled_parts_are_not_asked_for_their_truth() -> None:
    class Doubtful(One):
        def __bool__(self) -> bool:
            raise TypeError("no truth")

        def __len__(self) -> int:
            raise TypeError("no length")

    model = nn.Sequential(Doubtful(), nn.ModuleList(), nn.Identity())
    model.register_module("nothing", None)
    view = shared_copy(model)
    assert len(list(view.modules())) == len(list(model.modules())) and view._modules["nothing"] is None
    compiled = nn.Sequential(torch.compile(One(), backend="eager"))
    view = shared_copy(compiled)
    assert type(view[0]) is One and view[0] is not compiled[0]._orig_mod
    assert view[0].fc.weight is compiled[0].fc.weight
    torch.testing.assert_close(view(A), compiled(A))


def test_modules_with_copying_of_their_own_keep_it() -> None:
    traced = torch.fx.symbolic_trace(nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3)))
    view = shared_copy(traced)
    assert torch.equal(view(A), traced(A)) and view.get_parameter("0.weight") is traced.get_parameter(
        "0.weight"
    )
    scripted = nn.Sequential(torch.jit.script(nn.Linear(12, 3)))
    assert torch.equal(shared_copy(scripted)(A), scripted(A))

    class Reduces(One):
        def __reduce__(self) -> tuple:
            raise TypeError("no")

    model = nn.Sequential(Reduces(lock=threading.Lock()))
    view = shared_copy(model)
    assert (
        view[0] is not model[0] and torch.equal(view(A), model(A)) and view[0].fc.weight is model[0].fc.weight
    )


@pytest.mark.parametrize("make", [prune.l1_unstructured, torch.nn.utils.weight_norm])
@pytest.mark.filterwarnings("ignore:.*weight_norm.*")
def test_pruned_and_normed_layers_bake(make) -> None:
    model = nn.Sequential(nn.Linear(12, 8), nn.Linear(8, 3))
    make(model[0], "weight", **({"amount": 0.3} if make is prune.l1_unstructured else {}))
    model(A)
    own = own_copy(model)
    assert torch.equal(own(A), model(A))
    assert not {id(p) for p in own.parameters()} & {id(p) for p in model.parameters()}


# -- lifetimes -------------------------------------------------------------------------------------


def test_a_view_keeps_its_base_and_a_dropped_view_goes() -> None:
    model = One()
    atlas = atlas_of(model)
    copied = own_copy(model)
    right = copied(A)
    view = atlas.apply(copied, erase="a")
    there = weakref.ref(copied)
    del copied
    gc.collect()
    assert there() is not None and base_of(view) is there()
    ec.live_edit(view).off()
    assert torch.equal(view(A), right) and not ec.live_edit(view).report().on
    assert torch.equal(ec.bake(view)(A), right)
    ec.live_edit(view).turn_on()
    assert not torch.equal(view(A), right)
    torch.testing.assert_close(ec.bake(view)(A), view(A))
    assert base_of(view) not in list(view.modules())
    del view
    gc.collect()
    assert there() is None
    plain_view = shared_copy(model)
    gone = weakref.ref(plain_view)
    del plain_view
    assert gone() is None  # at once: nothing goes round in a circle


def test_a_view_of_a_view_belongs_to_the_base() -> None:
    model = One()
    view = shared_copy(shared_copy(model))
    assert base_of(view) is model
    with pytest.raises(EngramError, match="cannot be copied"):
        shared_copy(atlas_of(model).apply(erase="a"))


def test_refreshing_leaves_mode_hooks_and_edits() -> None:
    model = Running()
    view = atlas_of(model).apply(erase="a").eval()
    calls: list[int] = []
    view.fc.register_forward_hook(lambda *_: calls.append(1))
    edited = view(A)
    refresh(view)
    assert torch.equal(view(A), edited) and len(calls) == 2 and not view.training and model.training


# -- scoring ---------------------------------------------------------------------------------------


class Fragile(nn.Module):
    """Fails where a test wants it; its normalisation is frozen while the rest trains."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.norm, self.drop = nn.Linear(12, 3), nn.BatchNorm1d(3), nn.Dropout(0.5)
        self.fails = False

    def forward(self, x: Tensor) -> Tensor:
        if self.fails:
            raise ValueError("broken")
        return self.drop(self.norm(self.fc(x)))


def frozen() -> Fragile:
    model = Fragile().train()
    model.norm.eval()
    return model


@pytest.mark.parametrize("edited", [False, True])
@pytest.mark.parametrize("fails", [False, True])
def test_scoring_leaves_every_modules_own_mode(edited: bool, fails: bool) -> None:
    model = frozen()
    atlas = atlas_of(model)
    view = atlas.apply(erase="a") if edited else model
    modes = [m.training for m in view.modules()]
    assert modes == [m.training for m in model.modules()] and len(set(modes)) == 2
    view.fails = fails
    task = ec.Classification(("a", "b", "c"))
    concepts = ec.ConceptSet([ec.Concept("a", A, A), ec.Concept("b", B, B)])
    with contextlib.suppress(ValueError):
        task.measure(view, concepts)
    with contextlib.suppress(ValueError), evaluated(view) as ready:
        assert not any(m.training for m in ready.modules())
        ready(A)
    assert [m.training for m in view.modules()] == modes
    assert not int(model.norm.num_batches_tracked)


def test_criteria_leave_the_mixed_modes_of_the_model() -> None:
    model = frozen()
    modes = [m.training for m in model.modules()]
    concepts = ec.ConceptSet([ec.Concept("a", A, A), ec.Concept("b", B, B)])
    subject = ec.Subject(model, concepts, ec.Classification(("a", "b", "c")))
    atlas = ec.extract(model, ec.record(model, concepts))
    for measure in (ec.necessity, ec.sufficiency, ec.specificity):
        measure(subject, atlas, controls=0)
    assert [m.training for m in model.modules()] == modes


def test_every_place_that_runs_a_model_moves_its_inputs_there(monkeypatch) -> None:
    """There is no second device here; the moves to where the model is are watched instead."""
    model = One()
    concepts = ec.ConceptSet([ec.Concept("a", A, A), ec.Concept("b", B, B)])
    subject = ec.Subject(model, concepts, ec.Classification(("a", "b", "c")))
    moved: list[torch.device] = []
    move = ec.concepts.Batch.to

    def watch(batch: ec.concepts.Batch, device: torch.device) -> ec.concepts.Batch:
        moved.append(device)
        return move(batch, device)

    monkeypatch.setattr(ec.concepts.Batch, "to", watch)
    runs: list[int] = []
    forward = One.forward
    monkeypatch.setattr(One, "forward", lambda self, x: runs.append(1) or forward(self, x))
    atlas = ec.extract(model, ec.record(model, concepts))
    ec.necessity(subject, atlas, controls=2)
    ec.trace_strengths(model, atlas, ec.draw_inputs(subject))
    assert runs and len(moved) == len(runs) and set(moved) == {torch.device("cpu")}


def test_copy_on_write_is_what_this_torch_has() -> None:
    """Large caches are copied per view if it ever goes away, which then is to be known."""
    assert tensor_twins._lazy(torch.zeros(1 << 20, dtype=torch.uint8)) is not None


class Writes(One):
    """Writes to what it is given: the tensor in place, and the cache."""

    def forward(self, x: Tensor, cache: DynamicCache) -> Tensor:
        x.sub_(1.0)
        cache.update(x[None, None], x[None, None], 0)
        return self.fc(x)


def test_recording_leaves_the_inputs_as_they_were() -> None:
    model, cache = Writes().eval(), DynamicCache()
    x, y = A.clone(), B.clone()
    recording = ec.record(model, {"a": [(x, cache)], "b": [(y, cache)]})
    assert torch.equal(x, A) and torch.equal(y, B) and cache.get_seq_length() == 0
    view = ec.extract(model, recording).apply(erase="a")
    assert torch.equal(x, A) and cache.get_seq_length() == 0
    assert recording.rows("fc", "b") == len(B)
    assert torch.equal(ec.bake(view)(A.clone(), DynamicCache()), view(A.clone(), DynamicCache()))
