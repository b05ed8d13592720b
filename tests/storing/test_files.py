"""Every file appears whole or not at all, and what a killed process leaves behind goes, but nobody else's."""

import ast
import os
import tempfile
import threading
import time
from pathlib import Path

import pytest
from processes import ROOT, kill, names, running

from engram_core.errors import StorageError
from engram_core.storing import locks, workplaces
from engram_core.storing.files import discard, new_file, new_files, new_folder, write_text
from engram_core.storing.locks import locked
from engram_core.storing.workplaces import Scratch, sweep

# -- whole or not at all ------------------------------------------------------------------------------


def test_several_files_appear_together_or_none_does(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(StorageError, match="Could not write .*a: full. The old file is untouched"):
        with new_files(tmp_path / "a", tmp_path / "b") as (one, two):
            one.write_text("new")
            two.write_text("half")
            raise OSError(28, "full")
    assert names(tmp_path) == ["a"] and (tmp_path / "a").read_text() == "old"
    with new_files(tmp_path / "a", tmp_path / "b") as (one, two):
        one.write_text("new")
        two.write_text("new")
    assert names(tmp_path) == ["a", "b"] and (tmp_path / "a").read_text() == "new"


def test_an_error_of_another_kind_passes_and_leaves_nothing(tmp_path: Path) -> None:
    for make in (new_file, new_folder):
        with pytest.raises(ZeroDivisionError), make(tmp_path / "x"):
            raise ZeroDivisionError
    assert not names(tmp_path)


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text() == "new"


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, ".hidden", "-dash", "a b\nc", "%s{}"])
def test_any_name_that_the_file_system_takes(tmp_path: Path, name: str) -> None:
    write_text(tmp_path / name, "one")
    write_text(tmp_path / name, "two")
    assert names(tmp_path) == [name] and (tmp_path / name).read_text() == "two"


def test_a_full_device_is_said_and_a_pipe_is_written_to(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="Could not write /dev/full: No space left"):
        write_text("/dev/full", "text")
    os.mkfifo(tmp_path / "pipe")
    found: list[str] = []
    reader = threading.Thread(target=lambda: found.append((tmp_path / "pipe").read_text()))
    reader.start()
    write_text(tmp_path / "pipe", "text")
    reader.join(10)
    assert found == ["text"]


def test_a_folder_is_not_replaced_unless_it_is_empty(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    with new_folder(target) as parts:
        (parts / "a").write_text("a")
    with pytest.raises(StorageError, match="Could not write"), new_folder(target) as parts:
        (parts / "a").write_text("b")
    assert (target / "a").read_text() == "a" and names(tmp_path) == ["out"]


@pytest.mark.parametrize(("good", "left"), [(True, "old"), (False, "new")])
def test_of_two_folders_the_first_wins_if_it_is_good(tmp_path: Path, good: bool, left: str) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "a").write_text("old")
    with new_folder(target, good=lambda _: good) as parts:
        (parts / "a").write_text("new")
    assert (target / "a").read_text() == left and names(tmp_path) == ["out"]


# -- what killed processes leave ------------------------------------------------------------------------

WRITES = """
import sys, time
from engram_core.storing.files import new_file, new_folder
make = {"file": new_file, "folder": new_folder}[sys.argv[2]]
with make(sys.argv[1]) as place:
    (place / "part" if sys.argv[2] == "folder" else place).write_bytes(b"half")
    print("in the middle", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_the_next_writer_removes_what_a_killed_one_left_but_no_living_ones(kind: str, tmp_path: Path) -> None:
    target = tmp_path / "out"
    dead, alive = running(WRITES, target, kind), running(WRITES, target, kind)
    try:
        kill(dead)
        assert len(names(tmp_path)) == 2
        write_text(tmp_path / "other", "not the same file, so none of its business")
        assert len(names(tmp_path)) == 3
        write_text(target, "mine")
        left = [name for name in names(tmp_path) if name not in ("out", "other")]
        assert len(left) == 1 and sweep(tmp_path) == []  # of the living one
    finally:
        kill(alive)
    assert [path.name for path in sweep(tmp_path)] == left
    assert names(tmp_path) == ["other", "out"] and target.read_text() == "mine"


SCRATCH = """
import sys, tempfile, time
tempfile.tempdir = sys.argv[1]
from engram_core.storing.workplaces import Scratch
mine = Scratch("upload")
(mine.path / "concepts.csv").write_bytes(b"rows")
print("in the middle", flush=True)
time.sleep(60)
"""


def test_temporary_files_of_a_killed_server_go_when_another_one_makes_some(
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead, alive = running(SCRATCH, tmp_path), running(SCRATCH, tmp_path)
    try:
        kill(dead)
        assert len(names(tmp_path)) == 2
        mine = Scratch("take")
        assert len(list(tmp_path.rglob("concepts.csv"))) == 1 and mine.path.is_dir()
        mine.delete()
        assert not mine.there
        mine.delete()
    finally:
        kill(alive)
    del mine
    sweep(tmp_path)
    assert not names(tmp_path)


@pytest.mark.parametrize("shift", [-7200, 0, 7200, 10**8], ids=str)
def test_a_workplace_without_a_lock_goes_unless_it_was_just_made(tmp_path: Path, shift: int) -> None:
    """It was killed between two calls; a clock that was set back since makes it of the future."""
    place = tmp_path / ".out.0123456789ab.engram-tmp"
    place.mkdir()
    os.utime(place, (time.time() + shift,) * 2)
    assert bool(sweep(tmp_path)) == bool(shift) and place.exists() == (not shift)


def test_only_what_is_certainly_ours_is_swept(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    place = tmp_path / "place"
    place.mkdir()
    (place / ".file.0123456789ab.engram-tmp").write_text("a file")
    (place / ".link.0123456789ab.engram-tmp").symlink_to(outside)
    for name in ("engram-upload-notes", ".smollm2.engram-tmp", ".a.0123456789AB.engram-tmp", "x.engram-tmp"):
        (place / name).mkdir()
        os.utime(place / name, (0, 0))
    assert sweep(place) == [] and len(names(place)) == 6 and names(outside) == ["precious"]


def test_leftovers_of_earlier_versions_go_after_a_day(tmp_path: Path) -> None:
    old = [".smollm2-135m-b179c9523d0e6a0f.ab12cd_9", "engram-upload-x1y2z3_4", "engram-take-abcdefgh"]
    for name in old:
        (tmp_path / name).mkdir()
    assert sweep(tmp_path) == []
    for name in old:
        os.utime(tmp_path / name, (time.time() - 90_000,) * 2)
    assert len(sweep(tmp_path)) == 3


def test_what_is_removed_is_never_half_there(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "entry").mkdir()
    (tmp_path / "entry" / "a").write_text("a")
    seen = []
    remove = workplaces.remove
    monkeypatch.setattr(
        workplaces, "remove", lambda path: (seen.append((tmp_path / "entry").exists()), remove(path))
    )
    discard(tmp_path / "entry")
    discard(tmp_path / "entry")  # gone already
    assert seen[0] is False and not names(tmp_path)


def test_a_file_system_without_locks_holds_nobody_up_and_nothing_is_removed(
    tmp_path: Path, monkeypatch
) -> None:
    def unknown(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    with new_folder(tmp_path / "x"):
        monkeypatch.setattr(locks.fcntl, "flock", unknown)
        assert sweep(tmp_path) == []
        with locked(tmp_path / "lock") as held:
            assert not held
        write_text(tmp_path / "file", "text")
    assert names(tmp_path) == ["file", "lock", "x"]


# -- nobody goes round it --------------------------------------------------------------------------------

WRITERS = {
    "write_text", "write_bytes", "to_csv", "to_json", "to_excel", "to_parquet", "write_html", "write_image",
    "write_json", "save_file", "save_pretrained", "save_model", "serialize_file", "savez", "savetxt",
    "tofile", "touch",
}  # fmt: skip
MOVERS = {
    "os.replace", "os.rename", "os.mkdir", "shutil.move", "shutil.copy", "shutil.copy2", "shutil.copyfile",
    "shutil.copytree", "tempfile.mkdtemp", "tempfile.mkstemp", "tempfile.NamedTemporaryFile",
    "tempfile.TemporaryDirectory",
}  # fmt: skip
OPENERS = {"new_file", "new_files", "new_folder", "Scratch"}
# Files in a `Scratch`, which nobody sees before they are whole; and what fills a folder that `store` makes.
INSIDE = {
    ("engram_core/hub/pretrained.py", "_link"),
    ("app/compute/export.py", "_write_model"), ("app/compute/export.py", "_write_json"),
    ("app/compute/export.py", "_packed"), ("app/server/uploaded.py", "upload"),
    ("engram_core/language/dataset_names.py", "_write"), ("engram_core/language/smollm2.py", "write"),
    ("engram_core/storing/cache.py", "find"),
}  # fmt: skip


def writes(call: ast.Call) -> bool:
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if name in ("open", "ZipFile", "TarFile", "GzipFile", "fdopen"):
        if isinstance(function, ast.Attribute) and getattr(function.value, "id", "") in ("os", "Image"):
            return False  # os.open reads in one place only, where it takes a lock
        first = 0 if isinstance(function, ast.Attribute) and name == "open" else 1
        modes = [*call.args[first:], *(k.value for k in call.keywords if k.arg == "mode")]
        return any(isinstance(m, ast.Constant) and isinstance(m.value, str) and set(m.value) & set("wax+")
                   and len(m.value) <= 3 for m in modes)  # fmt: skip
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        if f"{function.value.id}.{name}" in MOVERS:
            return True
    if name in ("to_csv", "to_json"):
        return bool(call.args)  # without a path it returns the text
    ours = isinstance(function, ast.Name) and name == "write_text"
    return name in WRITERS and not ours


def rounds(tree: ast.AST) -> list[tuple[int, str]]:
    """Return line and function of every call that writes outside of a block of `OPENERS`."""
    found = []

    def visit(node: ast.AST, function: str, inside: bool) -> None:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            function = node.name
        if isinstance(node, ast.With):
            calls = [n for item in node.items for n in ast.walk(item.context_expr) if isinstance(n, ast.Call)]
            inside = inside or any(getattr(c.func, "id", "") in OPENERS for c in calls)
        if isinstance(node, ast.Call) and not inside and writes(node):
            found.append((node.lineno, function))
        for child in ast.iter_child_nodes(node):
            visit(child, function, inside)

    visit(tree, "", False)
    return found


@pytest.mark.parametrize("package", ["engram_core", "app"])
def test_everything_that_writes_goes_through_the_one_writer(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        where = str(path.relative_to(ROOT))
        if where in ("engram_core/storing/files.py", "engram_core/storing/workplaces.py"):
            continue
        for line, function in rounds(ast.parse(path.read_text("utf-8"))):
            assert (where, function) in INSIDE, (
                f"{where}:{line} ({function}): a full disk would leave half of it. "
                "Use engram_core.storing.files."
            )


def test_the_rule_itself_finds_what_it_is_for() -> None:
    bad = [
        'open(p, "w")', 'Path(p).open("ab")', 'p.write_text("x")', "table.to_csv(p)", "save_file(t, p)",
        'zipfile.ZipFile(p, mode="w")', "os.replace(a, b)", "tempfile.mkdtemp()", "figure.write_html(p)",
    ]  # fmt: skip
    good = ["open(p)", 'open(p, "rb")', "table.to_csv(index=False)", "p.open()", "p.read_text()"]
    assert all(rounds(ast.parse(line)) for line in bad) and not any(rounds(ast.parse(line)) for line in good)
    assert not rounds(ast.parse("with new_file(p) as q:\n    q.write_text('x')"))
