"""How the tests read and work the pages, as a person would name it."""

from __future__ import annotations

from playwright.sync_api import Locator, Page
from servers import settle

__all__ = ["answer", "concept", "share_link", "status", "take_away", "wait_status"]


def status(page: Page) -> str:
    """Return the phrase that says which edit is on."""
    return page.locator("[data-status]").inner_text()


def answer(page: Page, kind: str = "edited") -> str:
    """Return what the base or the edited model says."""
    return page.locator(f'[data-answer="{kind}"]').inner_text()


def concept(page: Page, name: str) -> Locator:
    """Return the pill of a concept."""
    pills = page.locator(".st-key-concepts")
    return pills.get_by_role("checkbox", name=name, exact=True).or_(
        pills.get_by_role("button", name=name, exact=True)
    )


def wait_status(page: Page, text: str) -> None:
    """Wait until the phrase of the edit begins with a text and the page has drawn what belongs to it.

    Begins, because "4, 7 erased" also contains "7 erased"; drawn, because the phrase comes before the
    answers.
    """
    page.wait_for_function(
        "text => document.querySelector('[data-status]')?.textContent.trim().startsWith(text)",
        arg=text,
        timeout=60_000,
    )
    settle(page)


def share_link(page: Page) -> str:
    """Return the link that the page offers for sharing."""
    page.locator(".st-key-share button").first.click()
    link = page.locator("[data-testid=stPopoverBody] code").first.inner_text()
    page.keyboard.press("Escape")
    return link


def take_away(page: Page, figure: str, what: str) -> str:
    """Download one form of a figure and return its text; what: csv, html, json."""
    button = page.locator(f".st-key-{what}_{figure} button")
    if not button.is_visible():
        page.locator(f".st-key-take_{figure} button").first.click()
    with page.expect_download() as download:
        button.click()
    return download.value.path().read_text(encoding="utf-8")


def again(page: Page) -> None:
    """Wait until the page works, then until it rests: for what starts a moment after the click."""
    page.wait_for_timeout(400)
    settle(page)
