"""In a browser: a file with columns of its own names is opened, and a table's row moves by its sliders."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect
from servers import settle

pytestmark = pytest.mark.e2e

HERO = "section.ee-hero"


def wines(folder: Path) -> Path:
    """Write some wines as a spreadsheet of a country with commas in its numbers writes columns."""
    from sklearn.datasets import load_wine

    bunch = load_wine()
    head = ";".join([*(f"measure {i}" for i in range(13)), "grape"])
    lines = [
        ";".join([*map(str, row), f"kind {target}"])
        for row, target in zip(bunch.data, bunch.target, strict=True)
    ]
    path = folder / "wines.csv"
    path.write_text("\n".join([head, *lines]), encoding="utf-8")
    return path


def test_a_wine_moves_by_its_sliders_and_the_address_holds_it(opener):
    page = opener("model=wine-mlp&class=Barolo&image=1&concepts=Barolo")
    hero = page.locator(HERO)
    expect(hero.locator("[data-answer=base]")).to_have_text("Barolo")
    slider = page.get_by_role("slider", name="proline")
    start = slider.input_value()
    slider.focus()
    page.keyboard.press("Home")
    expect(hero).to_contain_text("with proline 278 (was ")
    settle(page)
    assert "drawn=" in page.url
    # Whoever has the address sees the same wine, and both answers to it.
    both = hero.locator(".ee-sure").all_inner_texts()
    other = opener(page.url)
    assert other.locator(f"{HERO} .ee-sure").all_inner_texts() == both
    page.get_by_role("button", name="Back to the held-out values").click()
    expect(slider).to_have_value(start)


def test_a_file_of_other_columns_is_asked_about(opener, tmp_path: Path):
    page = opener(page="model")
    page.get_by_label("Folder or hub name").fill("wine-mlp")
    page.get_by_label("Folder or hub name").press("Enter")
    page.locator(".st-key-_own_file input[type=file]").set_input_files(str(wines(tmp_path)))
    expect(page.get_by_text("Which column is what?")).to_be_visible()
    expect(page.locator(".st-key-_own_column_label input")).to_have_value("grape")
    page.get_by_role("button", name="Check it").click()
    # The model knows its features by name: what is missing is one line, and no line for every wine.
    expect(page.get_by_text("there is no column")).to_be_visible(timeout=90_000)
