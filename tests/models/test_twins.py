"""What a view copies of a module tree and what it shares: whatever leads to a module leads to its twin."""

import concurrent.futures
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

import numpy as np
import pytest
import torch
from stateful import A, B, One, atlas_of
from torch import Tensor, nn

import engram_core as ec
from engram_core.models.view import shared_copy


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
