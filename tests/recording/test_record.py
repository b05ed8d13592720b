"""Recording runs the model once, in bounded memory, and leaves it as it was."""

import copy
import threading
import weakref
from collections.abc import Iterator

import pytest
import torch
from helpers import accuracy, relative
from recorded import LINEAR, assert_same, moment, rows_of
from torch import Tensor, nn
from torch.nn.utils import prune

import engram_core as ec
from engram_core.errors import DataError, NonFiniteError
from engram_core.recording.recording import Recording


def state(model: nn.Module) -> tuple:
    tensors = [t.clone() for t in model.state_dict().values()]
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks), m.training, type(m)) for m in model.modules()]
    return tensors, hooks, [id(p) for p in model.parameters()], set(dict(model.named_modules()))


def assert_untouched(before: tuple, after: tuple) -> None:
    assert before[1:] == after[1:]
    assert all(torch.equal(x, y) for x, y in zip(before[0], after[0], strict=True))


@pytest.mark.parametrize("name", ["digits_cnn", "digits_attention"])
@pytest.mark.parametrize("fails", [False, True])
def test_mode_hooks_and_weights_are_as_before(name: str, fails: bool, request) -> None:
    case = request.getfixturevalue(name)
    model = copy.deepcopy(case.model).train()
    list(model.modules())[-1].eval()  # a mixed mode is kept as it is
    calls: list[int] = []
    model.register_forward_hook(lambda *_: calls.append(1))
    before = state(model)
    good = case.concepts["1"][:20]
    if fails:
        with pytest.raises(DataError):
            ec.record(model, {"good": good, "bad": torch.randn(3, 1, 8, 5)})
    else:
        ec.extract(model, ec.record(model, {"a": good, "b": case.concepts["2"]})).apply(erase="a")(good)
    assert_untouched(before, state(model))


def test_recording_in_train_mode_is_recording_in_evaluation_mode(digits_cnn) -> None:
    few = {name: x[:30] for name, x in digits_cnn.concepts.items()}
    training = copy.deepcopy(digits_cnn.model).train()
    one, two = ec.record(training, few), ec.record(digits_cnn.model, few)
    for layer in one.source_of:
        assert relative(moment(one, layer, "3", layer != "0"), moment(two, layer, "3", layer != "0")) < 1e-6


def test_a_model_with_pruned_or_weight_normed_layers_is_recorded() -> None:
    model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3))
    prune.l1_unstructured(model[0], "weight", 0.5)
    model(LINEAR["a"])  # the computed weight is now a plain attribute with a gradient history
    recording = ec.record(model, LINEAR)
    assert list(recording.source_of) == ["0", "2"]
    with torch.no_grad():
        assert relative(moment(recording, "2", "a"), rows_of(model[:2](LINEAR["a"]))) < 1e-6


def test_a_model_made_in_inference_mode_is_recorded() -> None:
    with torch.inference_mode():
        model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3))
    atlas = ec.extract(model, ec.record(model, LINEAR))
    assert atlas.apply(erase="a")(LINEAR["a"]).shape == (30, 3)


def test_ten_times_the_data_takes_the_same_memory() -> None:
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    fed: list[weakref.ref] = []
    alive: list[int] = []

    def made(count: int) -> Iterator[Tensor]:
        for _ in range(count):
            batch = torch.randn(50, 64)
            fed.append(weakref.ref(batch))
            yield batch

    def record(count: int) -> Recording:
        return ec.record(
            model,
            {"a": made(count), "b": torch.randn(100, 64)},
            progress=lambda *_: alive.append(sum(r() is not None for r in fed)),
        )

    small, large = record(4), record(40)
    assert large.rows("0", "a") == 10 * small.rows("0", "a") == 2000
    assert large.nbytes == small.nbytes
    assert max(alive) <= 2  # one-shot batches are let go as they pass


def test_memory_stops_growing_with_the_width(digits_cnn) -> None:
    def size(times: int) -> int:
        few = {name: torch.cat([x[:20]] * times) for name, x in digits_cnn.concepts.items()}
        return ec.record(digits_cnn.model, few).nbytes

    # 10 concepts; per source: groups × (columns² + columns) values of 8 bytes.
    columns_and_groups = [(9, 1), (18, 4), (12, 1), (128, 1)]
    assert size(10) == size(20) == 8 * 10 * sum(g * (c * c + c) for c, g in columns_and_groups)


def test_one_shot_batches_are_consumed_once_for_all_layers_and_progress_is_told(digits) -> None:
    seen: list[tuple[int, int | None, str]] = []
    concepts = {"a": iter(digits.inputs.split(100)), "b": digits.concepts["1"]}
    recording = ec.record(digits.model, concepts, progress=lambda *told: seen.append(told))
    assert recording.rows("4", "a") == len(digits.inputs)
    total = len(digits.inputs) + len(digits.concepts["1"])
    assert seen[-1][:2] == (total, None)  # a one-shot iterable has no known length
    known: list[tuple[int, int | None, str]] = []
    ec.record(
        digits.model, {"b": digits.concepts["1"]}, batch_size=50, progress=lambda *told: known.append(told)
    )
    assert [done for done, *_ in known] == [50, 100, 150, len(digits.concepts["1"])]
    assert {total for _, total, _ in known} == {len(digits.concepts["1"])}


class Overflows(nn.Module):
    """Produces what the test asks for between its two layers, for inputs above a threshold."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.one, self.two, self.value = nn.Linear(6, 6), nn.Linear(6, 3), value

    def forward(self, x: Tensor) -> Tensor:
        return self.two(torch.where(x > 50, self.value, self.one(x)))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("mix", [False, True])
def test_non_finite_activations_name_layer_and_concept(value: float, mix: bool) -> None:
    bad = LINEAR["b"].clone()
    bad[17, 3] = 99.0
    with pytest.raises(NonFiniteError, match=r"'two'.*'bad': 1 of"):
        ec.record(Overflows(value), {"good": LINEAR["a"], "bad": bad}, mix=mix)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_non_finite_inputs_name_the_concept(value: float) -> None:
    bad = LINEAR["b"].clone()
    bad[3, 3] = value
    with pytest.raises(NonFiniteError, match=r"'bad': argument 0 holds NaN or infinity"):
        ec.record(nn.Linear(6, 3), {"good": LINEAR["a"], "bad": bad})


def test_huge_but_finite_values_are_accepted() -> None:
    recording = ec.record(nn.Linear(6, 3), {"a": LINEAR["a"] * 1e30, "b": LINEAR["b"] * 1e30})
    assert torch.isfinite(moment(recording, "Linear", "a")).all()


def test_two_recordings_at_once_while_others_use_the_model(digits) -> None:
    halves = [{n: x[i::2][:40] for n, x in digits.concepts.items()} for i in range(2)]
    alone = [ec.record(digits.model, half) for half in halves]
    with torch.no_grad():
        expected = digits.model(digits.inputs[:64])
    found: list[list[Recording]] = [[], []]
    wrong: list[str] = []
    stop = threading.Event()

    def record(i: int) -> None:
        for _ in range(15):
            found[i].append(ec.record(digits.model, halves[i], batch_size=16))

    def use() -> None:
        while not stop.is_set():
            with torch.no_grad():
                if not torch.equal(digits.model(digits.inputs[:64]), expected):
                    wrong.append("base output changed")

    users = [threading.Thread(target=use) for _ in range(2)]
    makers = [threading.Thread(target=record, args=(i,)) for i in range(2)]
    for thread in (*users, *makers):
        thread.start()
    for thread in makers:
        thread.join()
    stop.set()
    for thread in users:
        thread.join()
    assert not wrong and [len(f) for f in found] == [15, 15]
    for i in range(2):
        for recording in found[i]:
            assert_same(recording, alone[i])
    assert accuracy(digits.model, digits.inputs, digits.labels) > 0.9
