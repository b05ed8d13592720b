"""The notebook of the docs runs in a real kernel, from its first cell to its last."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FILE = Path(__file__).parents[1] / "docs" / "first-steps.ipynb"
FIGURES = "application/vnd.plotly.v1+json"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """Give the code cells of the notebook after it ran."""
    book = nbformat.read(FILE, as_version=4)
    folder = tmp_path_factory.mktemp("notebook")
    NotebookClient(book, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    return [cell for cell in book.cells if cell.cell_type == "code"]


def result(cell: dict) -> dict:
    """Return what the last line of a cell gave, by the kind of its form."""
    (found,) = [output["data"] for output in cell["outputs"] if "data" in output]
    return found


def test_ten_cells_run_and_each_shows_something(run):
    assert len(run) == 10
    assert all(cell["outputs"] for cell in run)
    assert [n for n, cell in enumerate(run, 1) if FIGURES in result(cell)] == [4, 7]


def test_the_figures_are_drawn_from_what_was_measured(run):
    base, edited = result(run[3])[FIGURES]["data"]
    assert base["name"] == "base" and edited["name"] == "7 erased"
    assert "'7': 0.97" in result(run[0])["text/plain"] and edited["y"] != base["y"]
    assert len(result(run[6])[FIGURES]["data"]) == 10


def test_the_tables_say_what_the_cells_are_about(run):
    assert "gaussian" in result(run[4])["text/plain"]
    (said,) = [output["text"] for output in run[5]["outputs"] if output["output_type"] == "stream"]
    assert said.startswith("Use strength") and "confirmed on others" in said
    assert "10 engrams" in result(run[7])["text/plain"]
    kept, score = result(run[9])["text/plain"].strip("()").split(", ")
    assert kept == "True" and float(score) < 0.2


def test_no_output_is_kept_in_the_file():
    book = nbformat.read(FILE, as_version=4)
    nbformat.validate(book)
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in book.cells)
