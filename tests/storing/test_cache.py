"""What is kept for the next start: where, how much, whole or made again, and never anybody else's."""

import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from cached import DATA, own_cache, put
from typer.testing import CliRunner

from engram_core.cli import app
from engram_core.errors import UnknownNameError
from engram_core.storing import cache, cache_settings, files, manifests
from engram_core.storing.cache import MANIFEST, clear, entries, find, only_one, store
from engram_core.storing.cache_settings import cache_folder, cache_limit


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    return own_cache(tmp_path, monkeypatch)


def settle(folder: Path) -> None:
    """Have its manifest be clearly younger than its files, as those of a large entry are."""
    now = time.time() + 60
    os.utime(folder / MANIFEST, (now, now))


# -- what is kept is found, whole, or not at all ------------------------------------------------------


def test_what_is_kept_is_found_again(root) -> None:
    assert find("one") is None
    folder = put("one")
    assert find("one") == folder and (folder / "data").read_bytes() == DATA
    assert [p.name for p in root.iterdir()] == ["one"]
    (entry,) = entries()
    assert (entry.name, entry.kind, entry.of) == ("one", "engrams", "a model") and entry.size > len(DATA)
    assert abs(entry.made - time.time()) < 60


@pytest.mark.parametrize("settled", [True, False], ids=["settled", "just made"])
@pytest.mark.parametrize(
    "damage",
    ["flip", "flip and old times", "cut", "longer", "gone", "no manifest", "empty manifest", "list", "deep",
     "path", "folder", "link", "file"],
)  # fmt: skip
def test_what_is_damaged_is_removed_and_can_be_made_again(root, tmp_path, damage: str, settled: bool) -> None:
    folder = put("one")
    data = folder / "data"
    if settled:
        settle(folder)
    before = data.stat()
    if damage.startswith("flip"):
        data.write_bytes(DATA[:-7] + b"x" + DATA[-6:])
        if damage.endswith("times"):
            os.utime(data, ns=(before.st_atime_ns, before.st_mtime_ns))
    elif damage == "cut":
        data.write_bytes(DATA[:-1])
    elif damage == "longer":
        data.write_bytes(DATA + b"x")
    elif damage == "gone":
        (folder / "more").unlink()
    elif damage == "no manifest":
        (folder / MANIFEST).unlink()
    elif damage == "empty manifest":
        (folder / MANIFEST).write_bytes(b"")
    elif damage == "list":
        (folder / MANIFEST).write_text("[1, 2]")
    elif damage == "deep":
        (folder / MANIFEST).write_text("[" * 100_000)
    elif damage == "path":
        (tmp_path / "outside").write_text("precious")
        (folder / MANIFEST).write_text(json.dumps({"sha256": {"../../outside": "0"}}))
    elif damage == "folder":
        data.unlink()
        data.mkdir()
    elif damage == "link":
        data.unlink()
        data.symlink_to(tmp_path / "nowhere")
    else:
        shutil.rmtree(folder)
        folder.write_text("in the way")
    assert find("one") is None and not folder.exists()
    assert put("one") == folder and find("one") == folder
    if damage == "path":
        assert (tmp_path / "outside").read_text() == "precious"


def test_an_entry_that_was_copied_is_read_once(root, monkeypatch) -> None:
    folder = put("one")
    shutil.copytree(folder, root / "two")
    settle(root / "two")
    read = []
    whole = cache.sha256
    monkeypatch.setattr(manifests, "sha256", lambda path: (read.append(path.name), whole(path))[1])
    assert find("two") and sorted(read) == ["data", "more"]
    settle(root / "two")
    assert find("two") and len(read) == 2


def test_a_clock_that_went_back_makes_nothing_unreadable(root, monkeypatch) -> None:
    future = time.time() + 10**7
    with monkeypatch.context() as then:
        then.setattr(time, "time", lambda: future)
        folder = put("one")
    for file in folder.iterdir():
        os.utime(file, (future, future))
    assert find("one") == folder and put("two") and find("two")
    (old,) = [entry for entry in entries() if entry.name == "one"]
    assert cache.age(old.made) == "just now"
    result = CliRunner().invoke(app, ["cache"])
    assert result.exit_code == 0 and "one" in result.stdout


# -- how much ------------------------------------------------------------------------------------------


def test_what_was_used_longest_ago_makes_room(root, monkeypatch) -> None:
    monkeypatch.setenv("ENGRAM_CACHE_LIMIT", "35K")
    for number, name in enumerate(("a", "b", "c")):
        folder = put(name, 10_000)
        os.utime(folder / MANIFEST, (1000 + number,) * 2)
    assert find("a")  # used just now
    put("d", 10_000)
    assert sorted(e.name for e in entries()) == ["a", "c", "d"]
    assert sum(e.size for e in entries()) <= 35 << 10


def test_what_has_no_room_at_all_drives_nothing_out(root, monkeypatch, caplog) -> None:
    put("a")
    monkeypatch.setenv("ENGRAM_CACHE_LIMIT", "20 kB")
    assert put("b", 30_000) is None and put("b", 30_000) is None
    assert [e.name for e in entries()] == ["a"]
    assert sum("not kept for the next start" in r.message for r in caplog.records) == 1


def test_never_more_than_half_of_what_is_free(root, monkeypatch) -> None:
    put("a", 20_000)
    held = entries()[0].size
    for free, found in ((2 * 30_000 - held + 100, True), (2 * 30_000 - held - 100, False)):
        monkeypatch.setattr(cache.shutil, "disk_usage", lambda _, free=free: SimpleNamespace(free=free))
        assert (put("b", 30_000) is not None) == found
        clear(["b"]) if found else None


@pytest.mark.parametrize(
    ("text", "size"),
    [("", 8 << 30), ("0", 0), ("500", 500), ("500MB", 500 << 20), ("2.5 GB", 5 << 29), ("1gib", 1 << 30)],
)
def test_the_limit_is_read(monkeypatch, text: str, size: int) -> None:
    monkeypatch.setenv("ENGRAM_CACHE_LIMIT", text)
    assert cache_limit() == size


# -- where ---------------------------------------------------------------------------------------------


def test_where_it_lies_follows_the_environment(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(cache_settings, "_said", set())
    for name in ("ENGRAM_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "engram-explorer"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # the specification says to ignore it
    assert cache_folder() == tmp_path / ".cache" / "engram-explorer"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "engram-explorer"
    monkeypatch.setenv("ENGRAM_CACHE", "~/mine")
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.setenv("ENGRAM_CACHE", "off")
    assert cache_folder() is None


def test_a_home_that_is_missing_is_not_made(monkeypatch, tmp_path, caplog) -> None:
    monkeypatch.setattr(cache_settings, "_said", set())
    monkeypatch.setattr(cache, "_swept", set())
    for name in ("ENGRAM_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    assert put("one") is None and find("one") is None and entries() == [] and clear() == []
    assert not (tmp_path / "nobody").exists()
    assert sum("does not exist, so nothing is kept" in r.message for r in caplog.records) == 1


def test_no_home_at_all(monkeypatch, caplog) -> None:
    monkeypatch.setattr(cache_settings, "_said", set())
    monkeypatch.setattr(cache, "_swept", set())
    for name in ("ENGRAM_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)

    def unknown(_cls: type) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", classmethod(unknown))
    assert put("one") is None and find("one") is None
    with only_one("one") as held:
        assert not held
    assert "There is no home folder" in caplog.text
    told = CliRunner().invoke(app, ["cache"])
    assert told.exit_code == 0 and "no place for it" in told.stdout


def test_a_cache_that_cannot_be_written_is_read_and_said_once(root, monkeypatch, caplog) -> None:
    folder = put("one")

    def forbidden(path, *_args, **_options) -> None:
        raise OSError(30, "Read-only file system", str(path))

    real = os.open

    def reads(path, flags, *args, **options):
        return forbidden(path) if flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR) else real(path, flags, *args)

    monkeypatch.setattr(files.os, "open", reads)
    monkeypatch.setattr(files.os, "mkdir", forbidden)
    monkeypatch.setattr(Path, "touch", forbidden)
    assert find("one") == folder
    with only_one("two") as held:
        assert not held
    assert put("two") is None and put("two") is None
    assert sum("Read-only file system" in r.message for r in caplog.records) == 1
    assert all(r.levelno <= logging.WARNING for r in caplog.records)


# -- only what is ours ---------------------------------------------------------------------------------


def test_what_is_not_ours_is_neither_listed_nor_removed(root, monkeypatch) -> None:
    """Somebody may name a folder that has other things in it."""
    put("one")
    (root / "photos").mkdir()
    (root / "photos" / "a.jpg").write_text("x")
    (root / "note").write_text("x")
    monkeypatch.setenv("ENGRAM_CACHE_LIMIT", "15K")
    put("two", 10_000)
    assert [e.name for e in entries()] == ["two"]
    assert [e.name for e in clear()] == ["two"]
    assert sorted(p.name for p in root.iterdir()) == ["note", "photos"]


def test_clearing_by_name_of_entry_or_of_model(root) -> None:
    put("a-1", of="digits")
    put("a-2", of="digits")
    put("b-1", of="authors")
    with pytest.raises(UnknownNameError, match="Unknown kept entry 'digit'. Did you mean 'digits'"):
        clear(["digit"])
    assert [e.name for e in clear(["a-1"])] == ["a-1"]
    assert {e.name for e in clear(["digits", "b-1"])} == {"a-2", "b-1"} and not entries()


# -- several at once, and killed ones -------------------------------------------------------------------


def test_threads_make_an_entry_once(root) -> None:
    made = []

    def work() -> None:
        with only_one("one"):
            if find("one") is None:
                made.append(1)
                time.sleep(0.1)
                put("one")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(made) == 1 and [p.name for p in root.iterdir()] == ["one"]


KEEPS = """
import sys, time, types
package = sys.modules["engram_core"] = types.ModuleType("engram_core")
package.__path__ = [sys.argv[1]]
from engram_core.storing.cache import find, only_one, store
def write(folder):
    (folder / "half").write_bytes(b"x" * 1000)
    if sys.argv[2] == "waits":
        print("in the middle", flush=True)
        time.sleep(60)
with only_one("one"):
    if find("one") is None:
        store("one", write, size=1000, kind="engrams", of="x")
        print("made", flush=True)
    else:
        print("found", flush=True)
"""


def process(how: str) -> subprocess.Popen:
    package = str(Path(cache.__file__).parents[1])
    return subprocess.Popen([sys.executable, "-c", KEEPS, package, how], stdout=subprocess.PIPE, text=True)


def test_processes_make_an_entry_once(root) -> None:
    said = [each.communicate(timeout=60)[0].strip() for each in [process("at once") for _ in range(4)]]
    assert sorted(said) == ["found", "found", "found", "made"]
    assert [p.name for p in root.iterdir()] == ["one"]


def test_what_a_killed_process_left_goes_at_the_next_start_but_not_a_living_ones(root, monkeypatch) -> None:
    dead = process("waits")
    assert dead.stdout.readline() == "in the middle\n"
    other = process("waits")  # waits for the first one
    time.sleep(0.5)
    dead.kill()
    dead.wait(60)
    try:
        assert other.stdout.readline() == "in the middle\n"  # the lock died with its process
        left = [p for p in root.iterdir() if p.name.endswith(".engram-tmp")]
        assert len(left) == 1, "the next start removed what the killed one left"
        assert find("one") is None and left[0].exists()
        clear()
        assert left[0].exists() and len(list(root.iterdir())) == 2  # and its lock
    finally:
        other.kill()
        other.wait(60)
    monkeypatch.setattr(cache, "_swept", set())  # a new start
    assert find("one") is None and not list(root.iterdir())


def test_of_two_that_write_one_entry_the_first_wins(root) -> None:
    folder = put("one")
    inode = folder.stat().st_ino
    assert put("one") == folder and folder.stat().st_ino == inode


def test_a_disk_that_runs_full_keeps_nothing_and_says_so_once(root, caplog) -> None:
    def write(folder: Path) -> None:
        (folder / "half").write_bytes(b"x" * 1000)
        raise OSError(28, "No space left on device")

    for _ in range(2):
        assert store("one", write, size=2000, kind="engrams", of="x") is None
    assert not list(root.iterdir())
    assert sum("No space left on device" in r.message for r in caplog.records) == 1
