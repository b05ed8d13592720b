"""What is saved comes back as it was, or a sentence says why not; a failed save changes nothing."""

import ast
import copy
import errno
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers import Case, structured
from safetensors.torch import load_file, save_file
from saved_atlas import assert_same_atlas, few
from torch import Tensor, nn

import engram_core as ec
from engram_core.errors import EngramError, ModelMismatchError, StorageError
from engram_core.recording.recording import Recording
from engram_core.storing import tensors as storage
from engram_core.storing.tensors import read_tensors, write_tensors

ROOT = Path(__file__).resolve().parents[2]


# -- there and back --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "count", "forms"),
    [
        ("digits", 2, {"dual"}),
        ("digits", None, {"primal"}),
        ("digits_cnn", 2, {"dual", "primal"}),
        ("digits_cnn", None, {"primal"}),
        ("digits_attention", 2, {"primal"}),
    ],
)
def test_recordings_and_atlases_come_back_bit_for_bit(
    case: str, count: int | None, forms: set, tmp_path: Path, request
) -> None:
    case = request.getfixturevalue(case)
    recording = ec.record(case.model, few(case, count))
    recording.save(tmp_path / "r")
    loaded = Recording.load(tmp_path / "r")
    assert loaded.concepts == recording.concepts and loaded.counts == recording.counts
    assert loaded.source_of == recording.source_of and loaded.layers == recording.layers
    assert loaded.nbytes == recording.nbytes and len(loaded.sources) == len(recording.sources)
    atlas = ec.extract(case.model, recording)
    assert_same_atlas(ec.extract(case.model, loaded), atlas)
    atlas.save(tmp_path / "a")
    assert_same_atlas(ec.Atlas.load(tmp_path / "a", case.model), atlas)
    assert {atlas.spectrum(layer).form for layer in atlas.layers} == forms


def test_names_in_any_script_and_the_background_come_back(tmp_path: Path) -> None:
    names = ["Πλάτων", "a.b/c", "0.1.rows", 'quo"te', "🦊"]
    model = nn.Linear(40, 3)
    concepts = ec.ConceptSet(
        [ec.Concept(n, structured(i, 3, 40).float()) for i, n in enumerate(names)],
        background=structured(9, 3, 40).float(),
    )
    recording = ec.record(model, concepts)
    recording.save(tmp_path / "r")
    loaded = Recording.load(tmp_path / "r")
    assert loaded.concepts == tuple(names) and loaded.counts == recording.counts
    atlas = ec.extract(model, loaded)
    atlas.save(tmp_path / "a")
    assert_same_atlas(ec.Atlas.load(tmp_path / "a", model), ec.extract(model, recording))


def test_a_loaded_recording_can_be_merged(digits: Case, tmp_path: Path) -> None:
    first, second = (
        ec.record(digits.model, {n: x[part] for n, x in digits.concepts.items()})
        for part in (slice(3), slice(3, 90))
    )
    first.save(tmp_path / "r")
    merged = Recording.load(tmp_path / "r").merge(second)
    assert_same_atlas(ec.extract(digits.model, merged), ec.extract(digits.model, first.merge(second)))


# -- provenance --------------------------------------------------------------------------------------


def test_every_file_carries_the_hash_of_its_model(digits: Case, tmp_path: Path) -> None:
    recording = ec.record(digits.model, few(digits, 3))
    recording.save(tmp_path / "r")
    ec.extract(digits.model, recording).save(tmp_path / "a")
    for name, kind in (("r", "recording"), ("a", "atlas")):
        assert read_tensors(tmp_path / name, kind)[1]["model"] == ec.model_hash(digits.model)


def test_another_model_is_refused(digits: Case, tmp_path: Path) -> None:
    recording = ec.record(digits.model, few(digits, 3))
    recording.save(tmp_path / "r")
    ec.extract(digits.model, recording).save(tmp_path / "a")
    other = copy.deepcopy(digits.model)
    with torch.no_grad():
        other[0].weight[0, 0] += 1e-3
    with pytest.raises(ModelMismatchError, match="belongs to another model.*Record this model, or load"):
        ec.extract(other, Recording.load(tmp_path / "r"))
    with pytest.raises(ModelMismatchError, match=r"/a cannot be used here.*belongs to another model"):
        ec.Atlas.load(tmp_path / "a", other)
    assert ec.Atlas.load(tmp_path / "a", copy.deepcopy(digits.model)).concepts  # an equal one will do


# -- files that are not what they should be -----------------------------------------------------------


@pytest.fixture
def saved(digits: Case, tmp_path: Path) -> dict[str, Path]:
    recording = ec.record(digits.model, few(digits, 3))
    recording.save(tmp_path / "recording")
    ec.extract(digits.model, recording).save(tmp_path / "atlas")
    return {kind: tmp_path / kind for kind in ("recording", "atlas")}


def loads(digits: Case) -> dict[str, Callable]:
    return {"recording": Recording.load, "atlas": lambda path: ec.Atlas.load(path, digits.model)}


both = pytest.mark.parametrize("kind", ["recording", "atlas"])


@both
def test_a_file_cut_short_at_any_length_is_refused(kind: str, digits: Case, saved: dict) -> None:
    path, whole = saved[kind], saved[kind].read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    lengths = {0, 1, 7, 8, 9, header // 2, header - 1, header, header + 1, len(whole) - 1}
    for length in sorted(lengths | set(range(0, len(whole), len(whole) // 20))):
        path.write_bytes(whole[:length])
        with pytest.raises(StorageError, match=rf"/{kind} cannot be read .*cut short, damaged"):
            loads(digits)[kind](path)


@both
def test_one_wrong_byte_in_the_header_is_refused_and_the_file_named(
    kind: str, digits: Case, saved: dict
) -> None:
    path, whole = saved[kind], bytearray(saved[kind].read_bytes())
    header = 8 + int.from_bytes(whole[:8], "little")
    for place in range(0, header, max(1, header // 300)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x10
        path.write_bytes(damaged)
        with pytest.raises(EngramError, match=re.escape(str(path))):
            loads(digits)[kind](path)


@both
def test_another_kind_of_file_is_refused(kind: str, digits: Case, saved: dict) -> None:
    other = "atlas" if kind == "recording" else "recording"
    article = "an atlas" if kind == "recording" else "a recording"
    with pytest.raises(StorageError, match=f"/{other} holds {article}; expected an? {kind}"):
        loads(digits)[kind](saved[other])


@both
def test_a_newer_format_is_refused(kind: str, digits: Case, saved: dict, monkeypatch) -> None:
    tensors, about = read_tensors(saved[kind], kind)
    monkeypatch.setattr(storage, "FORMAT", 2)
    write_tensors(saved[kind], tensors, about | {"format": 2})
    monkeypatch.undo()
    with pytest.raises(StorageError, match="has format 2; this version reads format 1. Use the version"):
        loads(digits)[kind](saved[kind])


@both
def test_a_missing_file_or_a_folder_is_refused(kind: str, digits: Case, tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(StorageError, match=f"There is no file {path}"):
            loads(digits)[kind](path)


@both
def test_files_of_others_are_refused(kind: str, digits: Case, tmp_path: Path) -> None:
    path = tmp_path / "theirs"
    save_file({"weight": torch.rand(3)}, path)
    with pytest.raises(StorageError, match="safetensors file, but not one that Engram Explorer wrote"):
        loads(digits)[kind](path)
    save_file({"weight": torch.rand(3)}, path, metadata={"engram": "[1, 2]"})
    with pytest.raises(StorageError, match="not one that Engram Explorer wrote"):
        loads(digits)[kind](path)
    torch.save({"weight": torch.rand(3)}, path)
    with pytest.raises(StorageError, match="no safetensors file"):
        loads(digits)[kind](path)


@both
@pytest.mark.parametrize("lost", ["sources", "model", "concepts", "layers"])
def test_a_header_that_lacks_a_field_is_refused(kind: str, lost: str, digits: Case, saved: dict) -> None:
    tensors, about = read_tensors(saved[kind], kind)
    write_tensors(saved[kind], tensors, {k: v for k, v in about.items() if k != lost})
    with pytest.raises(StorageError, match=lost):
        loads(digits)[kind](saved[kind])


@both
def test_a_file_that_lacks_a_tensor_is_refused(kind: str, digits: Case, saved: dict) -> None:
    tensors, about = read_tensors(saved[kind], kind)
    for name in list(tensors)[::7]:
        write_tensors(saved[kind], {n: t for n, t in tensors.items() if n != name}, about)
        with pytest.raises(StorageError, match=rf"/{kind} is not a whole {kind}"):
            loads(digits)[kind](saved[kind])


# -- writing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("exists", [True, False], ids=["over a file", "new"])
@pytest.mark.parametrize("fails", ["save_file", "os.fsync", "os.replace"])
def test_a_failed_save_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch, error: BaseException, exists: bool, fails: str
) -> None:
    path = tmp_path / "file"
    if exists:
        path.write_bytes(b"old")

    def full(*_args, **_options) -> None:
        raise error

    owner, _, name = fails.rpartition(".")
    monkeypatch.setattr(os if owner else storage, name, full)
    if isinstance(error, OSError):
        told = "The old file is untouched" if exists else "Nothing was left behind"
        with pytest.raises(StorageError, match=f"Could not write {path}: .*No space left on device.*{told}"):
            write_tensors(path, {"a": torch.rand(3)}, {"kind": "x"})
    else:
        with pytest.raises(KeyboardInterrupt):
            write_tensors(path, {"a": torch.rand(3)}, {"kind": "x"})
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == (["file"] if exists else [])
    assert not exists or path.read_bytes() == b"old"


def python(code: str, *arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, timeout=120
    )


def test_a_disk_that_really_runs_full_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_tensors(path, {"a": torch.arange(9.0)}, {"kind": "x"})
    before = path.read_bytes()
    code = """
import resource, sys, torch
from engram_core.errors import StorageError
from engram_core.storing.tensors import write_tensors
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write_tensors(sys.argv[1], {"a": torch.rand(1_000_000)}, {"kind": "x"})
except StorageError as error:
    print(error)
"""
    ran = python(code, path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(f"Could not write {path}: ") and "The old file is untouched." in ran.stdout
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_two_processes_that_save_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    code = """
import sys, torch
from engram_core.storing.tensors import write_tensors
value = float(sys.argv[2])
for _ in range(8):
    write_tensors(sys.argv[1], {"a": torch.full((200_000,), value)}, {"kind": "x", "value": value})
"""
    runs = [
        subprocess.Popen([sys.executable, "-c", code, path, str(v)], stderr=subprocess.PIPE) for v in (1, 2)
    ]
    seen = 0
    while any(run.poll() is None for run in runs):
        if path.exists():  # a reader meanwhile never sees half a file
            tensors, about = read_tensors(path, "x")
            assert (tensors["a"] == about["value"]).all()
            seen += 1
        time.sleep(0.01)
    assert [run.wait() for run in runs] == [0, 0], [run.stderr.read() for run in runs]
    tensors, about = read_tensors(path, "x")
    assert (tensors["a"] == about["value"]).all() and seen
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_or_a_missing_folder_as_target_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="it is a folder or a device, not a file"):
        write_tensors(tmp_path, {"a": torch.rand(3)}, {"kind": "x"})
    with pytest.raises(StorageError, match="Could not write .*No such file or directory"):
        write_tensors(tmp_path / "no" / "file", {"a": torch.rand(3)}, {"kind": "x"})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_permissions_are_those_of_any_new_file(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_tensors(tmp_path / "file", {"a": torch.rand(3)}, {"kind": "x"})
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_file_is_plain_safetensors_with_json(tmp_path: Path) -> None:
    write_tensors(tmp_path / "file", {"a": torch.ones(2)}, {"kind": "x", "name": "é"})
    assert torch.equal(load_file(tmp_path / "file")["a"], torch.ones(2))
    raw = (tmp_path / "file").read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    assert json.loads(header["__metadata__"]["engram"])["name"] == "é"


# -- never pickle ------------------------------------------------------------------------------------


@pytest.mark.parametrize("package", ["engram_core", "app"])
def test_nothing_here_can_run_code_from_a_file(package: str) -> None:
    modules = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
    calls = {("torch", "load"), ("torch", "save"), ("pd", "read_pickle"), ("np", "load")}
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            where = f"{path}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Import):
                assert not modules & {alias.name.partition(".")[0] for alias in node.names}, where
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").partition(".")[0] not in modules, where
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert (node.value.id, node.attr) not in calls, where
            elif isinstance(node, ast.keyword):
                trusts = isinstance(node.value, ast.Constant) and node.value.value is True
                assert not (node.arg in ("trust_remote_code", "allow_pickle") and trusts), where


class Changing(nn.Module):
    """Two layers share their input, unless the batch says otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(40, 3), nn.Linear(40, 3)

    def forward(self, x: Tensor) -> Tensor:
        first = self.one(x)
        return first + self.two(x.relu_() if len(x) == 4 else x)


def test_layers_with_a_common_history_are_saved_apart(tmp_path: Path) -> None:
    """Their rows begin at one address in memory, which the file format refuses."""
    model = Changing()
    data = {n: torch.randn(size, 40) for n, size in (("a", 3), ("b", 4))}
    recording = ec.record(model, {n: x.clone() for n, x in data.items()})
    assert recording.source_of["one"] != recording.source_of["two"]
    recording.save(tmp_path / "r")
    assert_same_atlas(ec.extract(model, Recording.load(tmp_path / "r")), ec.extract(model, recording))


def test_tied_weights_can_be_written(tmp_path: Path) -> None:
    weight = torch.rand(3, 4)
    write_tensors(tmp_path / "w", {"a": weight, "b": weight, "c": weight.t()}, {"kind": "weights"})
    tensors, _ = read_tensors(tmp_path / "w", "weights")
    assert torch.equal(tensors["a"], weight) and torch.equal(tensors["b"], weight)
    assert torch.equal(tensors["c"], weight.t())
