"""Concepts with hostile names, on every page: shown letter by letter, and nothing is fetched for them."""

from __future__ import annotations

import json

import pytest
from hostile import HOSTILE, shown
from playwright.sync_api import Page
from servers import running, settle

pytestmark = pytest.mark.e2e

# What Markdown, HTML, formulas, icons and links from a name would leave in the page. Ours are left out:
# headings, bold, code and lists stand in explanations that nobody else writes.
STRANGE = """
() => [
  '.katex', '.stMarkdown em', '.stMarkdown del', '.stMarkdown blockquote', '.stMarkdown hr',
  '.stMarkdown input',
  '[data-testid=stMarkdownContainer] table', '.stMarkdownColoredText', '.stMarkdownColoredBackground',
  'img[src^="http"]', 'script[src*=":9/"]', 'iframe[src*=":9/"]', '[href*=":9/"]', '[href*="www.example"]',
  '[href^="mailto"]', '[href^="javascript"]', 'svg[onload]', 'img[alt="Streamlit logo"]', '.js-plotly-plot a',
].flatMap(what => [...document.querySelectorAll(what)].map(e => what + ': ' + e.outerHTML.slice(0, 160)))
"""
PAGES = {
    "start": "",
    "live": "concepts={first}",
    "criteria": "concepts={first}&criterion=Specificity",
    "strength": "concepts={first}",
    "map": "concepts={first}&after=true",
    "layers": "concepts={first}",
    "learn": "",
    "model": "",
}  # fmt: skip


@pytest.fixture(scope="module", params=[0, 1])
def hostile(request, tmp_path_factory):
    """Run the app on a language model with half of the names: so few are all seen at once."""
    names = HOSTILE[request.param :: 2]
    folder = tmp_path_factory.mktemp("hostile")
    rows = [
        {"concept": name, "prompt": f"{what} {name} is", "answer": f"Town{i}"}
        for i, name in enumerate(names)
        for what in ("The home of", "The place of")
    ]
    concepts = folder / "![x](http:__127.0.0.1:9_file.png) $y$.jsonl"
    concepts.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    log = folder / "server.log"
    with running(log, options=("--model", "authors-lm", "--concepts", str(concepts))) as server:
        yield server.url, names
    assert "Traceback" not in log.read_text()


def _letters(text: str) -> str:
    return text.replace("\u2060", "").replace("\u00a0", " ").strip()


def _visit(page: Page, url: str, name: str, query: str) -> list[str]:
    page.goto(f"{url}/?page={name}&{query}")
    settle(page)
    return page.evaluate(STRANGE)


def test_no_name_does_more_than_stand_there(hostile, context):
    url, names = hostile
    page: Page = context().new_page()
    page.set_default_timeout(90_000)
    asked, wrong = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
    first = names[0].replace("#", "%23").replace("&", "%26").replace("+", "%2B")
    for name, query in PAGES.items():
        found = _visit(page, url, name, query.format(first=first))
        # The mathematics under Learn, and the paper's title, are ours.
        ours = (".katex", ".stMarkdown em: <em>AI Engram:")
        found = [what for what in found if name != "learn" or not what.startswith(ours)]
        wrong += [f"{name}: {what}" for what in found]
    assert wrong == []
    # The addresses of the pages themselves quote the first name.
    ours = (url, url.replace("http", "ws", 1), "data:", "blob:")
    assert [address for address in asked if not address.startswith(ours)] == []


def test_every_name_is_shown_letter_by_letter(hostile, context):
    url, names = hostile
    page: Page = context().new_page()
    page.set_default_timeout(90_000)
    _visit(page, url, "live", "")
    pills = page.locator(".st-key-concepts button")
    assert {_letters(text) for text in pills.all_inner_texts()} >= {shown(name) for name in names}
    # One of them erased: the panel names it, too.
    pills.nth(2).click()
    # "No edit" stands there until the server has answered.
    page.wait_for_function(
        "(said => said && !said.textContent.startsWith('No edit'))(document.querySelector('[data-status]'))",
        timeout=90_000,
    )
    settle(page)
    said = _letters(page.locator("[data-status]").inner_text())
    assert said.startswith(f"{shown(names[2])} erased")
    assert page.evaluate(STRANGE) == []
