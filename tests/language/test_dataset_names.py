"""A dataset by its name: fetched once, written as rows; without package or network it is said what to do."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from engram_core.errors import DataError, DependencyError, StorageError
from engram_core.language import dataset_names, read_texts
from engram_core.language.dataset_names import dataset_file, is_dataset

ROWS = [{"subject": f"s{i}", "question": "Who?", "reply": "She", "day": {1, 2}} for i in range(4)]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch):
    """Put a package in the place of `datasets`, which answers as that does."""
    found: list[tuple] = []

    def load_dataset(name: str, config: str | None, *, split: str) -> list[dict]:
        found.append((name, config, split))
        if name == "no/where":
            raise ConnectionError("the hub\nis away")
        return ROWS

    package = SimpleNamespace(load_dataset=load_dataset, __version__="5.2.0", __spec__=None)
    monkeypatch.setitem(sys.modules, "datasets", package)
    monkeypatch.setattr(dataset_names, "_fetched", {})
    return found


def test_rows_are_fetched_once_and_read_by_their_columns(calls) -> None:
    path = dataset_file("datasets:org/name:forget01@test")
    assert calls == [("org/name", "forget01", "test")]
    texts = read_texts(path, columns={"concept": "subject", "prompt": "question", "answer": "reply"})
    assert [concept.name for concept in texts.concepts] == ["s0", "s1", "s2", "s3"]
    assert dataset_file(" datasets:org/name:forget01@test ") == path and len(calls) == 1
    dataset_file("datasets:plain")
    assert calls[-1] == ("plain", None, "train")


def test_what_is_out_of_reach_is_said_in_a_sentence(calls) -> None:
    with pytest.raises(
        StorageError, match=r"no/where, split train, could not be fetched \(ConnectionError: the"
    ) as caught:
        dataset_file("datasets:no/where")
    assert "\n" not in str(caught.value) and "does as well" in str(caught.value)


def test_an_old_package_which_runs_scripts_is_refused(calls, monkeypatch) -> None:
    monkeypatch.setattr(sys.modules["datasets"], "__version__", "3.6.0")
    with pytest.raises(StorageError, match="datasets 4 or newer"):
        dataset_file("datasets:org/name")
    assert not calls


def test_too_much_of_it_is_refused_and_nothing_stays(calls, monkeypatch) -> None:
    monkeypatch.setattr(dataset_names, "MOST_FILE", 1 << 5)
    with pytest.raises(DataError, match="Name one split"):
        dataset_file("datasets:org/name")
    assert not dataset_names._fetched


def test_without_the_package_it_is_said_what_installs_it(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(
        DependencyError, match="A dataset by its name needs datasets: install it with  pip install"
    ):
        dataset_file("datasets:org/name")


@pytest.mark.parametrize(
    "text", ["datasets:", "datasets:a/b/c", "datasets:../../etc", "datasets:a b", "datasets:a@"]
)
def test_what_is_no_name_is_refused_before_anything_is_fetched(text: str) -> None:
    assert is_dataset(text) and not is_dataset("texts.jsonl")
    with pytest.raises(DataError, match="names no dataset"):
        dataset_file(text)
