"""Searching for the strength in a real browser: a click on a mark, the way to Live, stopping and going on."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page
from reading import again, wait_status

pytestmark = pytest.mark.e2e

# Where a setting stands on the screen: the unseen marks on top take the click.
MARK = """
place => {
  const plot = [...document.querySelectorAll('.js-plotly-plot')]
    .find(p => p.data.some(t => t.name === 'settings'));
  const { x, y } = plot.data.find(t => t.name === 'settings');
  const { xaxis, yaxis } = plot._fullLayout, box = plot.getBoundingClientRect();
  return [
    box.left + xaxis._offset + xaxis.d2p(x[place]), box.top + yaxis._offset + yaxis.d2p(y[place])
  ];
}
"""


def _click_mark(page: Page, place: int) -> None:
    page.locator(".js-plotly-plot .scatterlayer").first.wait_for(state="attached")
    page.locator(".st-key-use_setting").scroll_into_view_if_needed()
    page.mouse.click(*page.evaluate(MARK, place))


def test_a_click_on_a_mark_picks_the_setting_and_live_opens_with_it(opener):
    page = opener("model=digits-mlp&concepts=7&strengths=0.5&strengths=3&filters=1.5", page="strength")
    _click_mark(page, 1)
    page.wait_for_function("new URLSearchParams(location.search).get('setting') === '3, plain, 1.5, all'")
    again(page)
    assert "strength 3" in page.locator(".st-key-setting input").input_value()
    page.get_by_role("button", name="Use this setting").click()
    wait_status(page, "7 erased, strength 3")
    assert "power=1.5" in page.url and page.locator("[data-answer=edited]").count() == 1
    page.go_back()
    page.get_by_text("How strong should the edit be?").wait_for()


def _stop(page: Page) -> None:
    page.locator(".st-key-stop_search button").click()
    page.get_by_role("button", name="Go on").wait_for()


def test_a_search_is_started_stopped_and_goes_on(opener):
    many = "&".join(f"strengths={number}" for number in range(1, 13))
    many += "".join(f"&filters={power}" for power in ("1", "1.5", "2", "3"))
    groups = "".join(f"&among={name}" for name in ("all", "attention", "mlp", "q", "v", "o", "down"))
    page = opener(f"model=authors-lm&count=10&beside=20&{many}{groups}", page="strength")
    page.get_by_text(re.compile(r"It takes about .* for 336 settings")).wait_for()
    page.get_by_role("button", name="Search").click()
    page.get_by_text(re.compile(r"^[1-9]\d* of 336 settings, about .* left")).wait_for()
    page.locator(".js-plotly-plot").first.wait_for()
    _stop(page)
    again(page)
    told = page.get_by_text(re.compile(r"\d+ of 336 settings so far")).first.inner_text()
    done = int(told.split()[0])
    assert 1 <= done < 336 and page.locator(".js-plotly-plot").count() == 1
    page.get_by_role("button", name="Go on").click()
    page.get_by_text(re.compile(r"^\d+ of 336 settings, about")).wait_for()
    again_at = int(page.get_by_text(re.compile(r"^\d+ of 336 settings, about")).inner_text().split()[0])
    assert again_at >= done
    _stop(page)
