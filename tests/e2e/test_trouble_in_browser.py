"""What goes wrong on a real day: a reload in the middle of the work, and a server that stops and returns."""

from __future__ import annotations

import pytest
from reading import answer, concept, status, wait_status
from servers import running, settle

pytestmark = pytest.mark.e2e

EDIT = "model=digits-mlp&class=7&image=3&concepts=7&strength=1.5"


def test_a_reload_in_the_middle_of_the_work_loses_nothing(context):
    # Not watched: opened at its path, as by a reload, Streamlit first looks for its server below that path,
    # and the browser notes that as an error.
    page = context().new_page()
    with running() as server:
        page.goto(f"{server.url}/?page=live&model=fashion-cnn&class=Coat&image=2&concepts=Coat&strength=1.5")
        for _ in range(2):  # while the model is loaded, and while it is scored
            page.wait_for_selector(".stProgress")
            page.wait_for_timeout(200)
            page.reload()
        settle(page)
        assert status(page) == "Coat off, strength 1.5"
        assert "True class Coat" in page.locator(".ee-image").inner_text() and "image=2" in page.url
        assert page.get_by_test_id("stException").count() == 0 and page.locator(".stPlotlyChart").count() == 2


def test_the_server_stops_and_comes_back(context):
    # Not watched: the browser itself notes every attempt to reach the server in its console.
    page = context().new_page()
    with running() as server:
        page.goto(f"{server.url}/?page=live&{EDIT}")
        settle(page)
        said = answer(page)
        assert status(page) == "7 off, strength 1.5" and said != "7"
        server.stop()
        page.wait_for_selector("[data-test-connection-state]:not([data-test-connection-state=CONNECTED])")
        # What was there can still be read, and the address still names it.
        assert status(page) == "7 off, strength 1.5" and "strength=1.5" in page.url
        # The page loads itself again: the new server knows nothing of what the old one had drawn.
        with page.expect_navigation(timeout=60_000):
            server.start()
        settle(page)
        wait_status(page, "7 off, strength 1.5")
        assert answer(page) == said and answer(page, "base") == "7"
        assert "held-out image 3 of" in page.locator(".ee-image").inner_text()
        concept(page, "7").click()
        wait_status(page, "Nothing is switched off")
        page.reload()
        settle(page)
        assert status(page) == "Nothing is switched off"
