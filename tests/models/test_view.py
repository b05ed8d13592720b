"""A view runs beside its base: no pass, in no mode, writes the base, whatever the base holds."""

import contextlib
import functools
import gc
import weakref

import pytest
import torch
from stateful import A, B, Memory, One, atlas_of, plain
from torch import Tensor, nn
from torch.nn.utils import prune
from transformers import DynamicCache

import engram_core as ec
from engram_core.errors import EngramError
from engram_core.models.view import base_of, evaluated, independent_copy, model_bytes, refresh, shared_copy

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
    twin = independent_copy(model)
    assert torch.equal(view(A), twin(A)) and torch.equal(view(B), twin(B))
    ec.live_edit(view).turn_on()
    ec.live_edit(view).set(erase={"a": 0.0})
    assert torch.equal(view(A), independent_copy(model)(A))


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


# -- tensors of every kind -------------------------------------------------------------------------


def test_parameters_in_odd_places_are_shared_and_ties_hold() -> None:
    model = One()
    model.held = [model.fc.weight, nn.Parameter(torch.ones(3))]
    model.second = nn.Linear(12, 3)
    model.second.weight = model.fc.weight
    view, own = shared_copy(model), independent_copy(model)
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


@pytest.mark.parametrize("make", [prune.l1_unstructured, torch.nn.utils.weight_norm])
@pytest.mark.filterwarnings("ignore:.*weight_norm.*")
def test_pruned_and_normed_layers_bake(make) -> None:
    model = nn.Sequential(nn.Linear(12, 8), nn.Linear(8, 3))
    make(model[0], "weight", **({"amount": 0.3} if make is prune.l1_unstructured else {}))
    model(A)
    own = independent_copy(model)
    assert torch.equal(own(A), model(A))
    assert not {id(p) for p in own.parameters()} & {id(p) for p in model.parameters()}


# -- lifetimes -------------------------------------------------------------------------------------


def test_a_view_keeps_its_base_and_a_dropped_view_goes() -> None:
    model = One()
    atlas = atlas_of(model)
    copied = independent_copy(model)
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
    move = ec.concepts.batch.Batch.to

    def watch(batch: ec.concepts.batch.Batch, device: torch.device) -> ec.concepts.batch.Batch:
        moved.append(device)
        return move(batch, device)

    monkeypatch.setattr(ec.concepts.batch.Batch, "to", watch)
    runs: list[int] = []
    forward = One.forward
    monkeypatch.setattr(One, "forward", lambda self, x: runs.append(1) or forward(self, x))
    atlas = ec.extract(model, ec.record(model, concepts))
    ec.necessity(subject, atlas, controls=2)
    ec.trace_strengths(model, atlas, ec.draw_inputs(subject))
    assert runs and len(moved) == len(runs) and set(moved) == {torch.device("cpu")}


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


def test_the_bytes_of_a_model_are_those_of_its_parameters_and_buffers() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3).half())
    assert model_bytes(model) == 4 * (12 + 3) + 2 * 4 * 3 + 8  # and the count of batches, in 8 bytes
