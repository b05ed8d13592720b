"""A visit from the first page to what is taken home: example, drawing, links, files, downloads."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page
from reading import again, answer, concept, share_link, status, take_away, wait_status
from servers import settle

pytestmark = pytest.mark.e2e

SEVEN = "model=digits-mlp&class=7&image=3&concepts=7"

# What Plotly has really drawn, as a reader of the file would see it: bars with an area, and their numbers.
DRAWN = """
[...document.querySelectorAll('.js-plotly-plot')].map(plot => ({
  bars: [...plot.querySelectorAll('.bars .point path')].map(p => p.getBBox())
    .filter(box => box.width * box.height > 0).length,
  x: plot.data.filter(t => t.type === 'bar').map(t => Array.from(t.x)),
}))
"""


def test_the_first_click_opens_the_example_and_more_can_be_erased(opener):
    page = opener(page="start")
    assert page.locator("[data-answer=edited]").count() == 1
    page.get_by_role("button", name="Open the example").click()
    wait_status(page, "7 erased, strength 1")
    settle(page)
    assert answer(page, "base") == "7" and answer(page) != "7" and "concepts=7" in page.url
    first = answer(page)
    concept(page, first).click()
    wait_status(page, f"{', '.join(sorted(['7', first]))} erased")
    assert answer(page, "base") == "7" and answer(page) not in ("7", first)
    settle(page)
    page.go_back()
    wait_status(page, "7 erased, strength 1")
    assert answer(page) == first


def _draw_a_one(page: Page) -> None:
    canvas = page.locator("canvas[width='8']")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    at = [(0.42, 0.28), (0.54, 0.14), (0.54, 0.88)]
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in at]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=8)
    page.mouse.up()


def test_a_drawn_digit_is_answered_and_travels_in_the_address(opener):
    page = opener("model=digits-mlp&concepts=1")
    page.locator(".st-key-source").get_by_text("Draw a digit").click()
    page.locator("canvas[width='8']").wait_for()
    settle(page)
    _draw_a_one(page)
    page.wait_for_function("document.querySelector('.ee-image')?.textContent.includes('your drawing')")
    settle(page)
    sure = [page.locator(f".ee-{kind} .ee-sure").inner_text() for kind in ("base", "edited")]
    assert answer(page, "base") == "1" and status(page) == "1 erased, strength 1" and sure[0] != sure[1]
    drawn = re.search(r"drawn=([0-9a-g]{64})", page.url)
    assert drawn and set(drawn.group(1)) > {"0"}
    other = opener(share_link(page))
    assert other.locator(".ee-row").inner_text() == page.locator(".ee-row").inner_text()
    assert other.locator(".ee-image img").get_attribute("src") == page.locator(".ee-image img").get_attribute(
        "src"
    )
    other.get_by_role("button", name="Clear").click()
    other.wait_for_function("!document.querySelector('.ee-image').textContent.includes('your drawing')")
    assert "drawn=" not in other.url


def test_a_session_file_opens_for_another_visitor(opener, tmp_path: Path):
    page = opener(
        "model=digits-mlp&class=3&image=4&concepts=3&concepts=8&strength=1.5&mode=Keep+only&null=in+place"
    )
    page.locator(".st-key-share button").first.click()
    with page.expect_download() as download:
        page.locator(".st-key-save_session button").click()
    file = tmp_path / "session.json"
    download.value.save_as(file)
    saved = json.loads(file.read_text(encoding="utf-8"))
    assert saved["page"] == "live" and saved["address"]["concepts"] == ["3", "8"]
    other = opener(page="learn")
    other.locator(".st-key-share button").first.click()
    other.locator(".st-key-_session_file input[type=file]").set_input_files(file)
    wait_status(other, "3, 8 isolated, others subtracted, strength 1.5")
    settle(other)
    assert status(other) == status(page) and answer(other) == answer(page)
    assert "held-out image 4 of" in other.locator(".ee-image").inner_text()


@pytest.fixture(scope="module")
def offline(browser):
    context = browser.new_context()
    context.set_offline(True)
    yield context
    context.close()


def _opened(offline, content: str, file: Path) -> Page:
    """Open a downloaded file as from a stick in a room without a network."""
    file.write_text(content, encoding="utf-8")
    page = offline.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    page.wait_for_selector(".js-plotly-plot .main-svg")
    assert not [url for url in asked if not url.startswith(("file:", "data:", "blob:"))]
    return page


def test_what_is_taken_away_works_offline_and_agrees(opener, offline, tmp_path: Path):
    page = opener(SEVEN)
    table = list(csv.DictReader(io.StringIO(take_away(page, "scores", "csv"))))
    assert [row["concept"] for row in table] == [str(n) for n in range(10)]
    base, edited = ([100 * float(row[key]) for row in table] for key in ("base", "edited"))
    assert edited[7] < 20 < base[7]
    html = take_away(page, "scores", "html")
    settings = json.loads(take_away(page, "scores", "json"))
    assert settings["edit"]["strengths"] == {"7": 1.0} and settings["model"] == "digits-mlp"
    (drawn,) = _opened(offline, html, tmp_path / "figure.html").evaluate(DRAWN)
    assert drawn["x"][0] == pytest.approx(base) and drawn["x"][1] == pytest.approx(edited)
    assert drawn["bars"] >= 19  # of 20, one may be empty
    # The Python beside it gives the same numbers again.
    code = page.locator("[data-testid=stPopoverBody] code").last.inner_text()
    made: dict = {}
    exec(compile(code, "taken away", "exec"), made)
    again_edited = made["table"].set_index("concept")["edited"]
    assert [100 * again_edited[str(n)] for n in range(10)] == pytest.approx(edited)
    page.keyboard.press("Escape")

    page.locator(".st-key-share button").first.click()
    with page.expect_download() as download:
        page.locator(".st-key-save_report button").click()
    report = _opened(offline, download.value.path().read_text(encoding="utf-8"), tmp_path / "report.html")
    figures = report.evaluate(DRAWN)
    assert len(figures) == 2 and all(figure["bars"] >= 10 for figure in figures)
    assert any(figure["x"][1] == pytest.approx(edited) for figure in figures)
    assert "7 erased, strength 1" in report.locator("body").inner_text()


def test_the_tour_goes_from_the_first_step_to_the_last(opener):
    page = opener(page="start")
    page.get_by_role("button", name="Start the tour").click()
    # The last steps are taken on a smaller screen and on a telephone.
    widths = {1: (1440, 900), 5: (1024, 768), 8: (390, 844)}
    for number in range(1, 11):
        page.get_by_text(re.compile(f"Step {number} of 10")).wait_for()
        if number in widths:
            page.set_viewport_size(dict(zip(("width", "height"), widths[number], strict=True)))
        # While a model is prepared, the figure of the step before still stands there.
        settle(page)
        reveal = page.get_by_role("button", name="Show what happens")
        assert reveal.is_disabled() and page.locator(".stPlotlyChart").count() == 1
        # Nothing of the answer is on the page: only the first step has no veil, its slider ends earlier.
        assert ("Predict first" in page.locator(".stPlotlyChart").inner_text()) == (number > 1)
        page.locator(".st-key-tour [role=radiogroup] label").nth(1).click()
        page.wait_for_function(
            "!([...document.querySelectorAll('.st-key-tour_reveal button')][0]?.disabled ?? true)"
        )
        reveal.click()
        page.locator(".st-key-tour [data-testid=stAlert]").wait_for()
        settle(page)
        assert "Predict first" not in page.locator(".stPlotlyChart").inner_text()
        assert not page.get_by_test_id("stException").count()
        wide = page.evaluate("document.querySelector('.stMain').scrollWidth")
        assert wide <= page.viewport_size["width"]
        page.locator(".st-key-tour_next button").click()
    page.get_by_text(re.compile(r"You predicted \d+ of 10 right")).wait_for()
    again(page)
    assert "predicted=1111111111" in page.url
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the exercises").click()
    assert "Solution" in download.value.path().read_text(encoding="utf-8")
