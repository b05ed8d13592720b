"""Measure what a visitor waits for in the browser: python tests/e2e/measure_live.py [sample …] (a table).

Toggle → new picture: from the click on a concept to the frame in which the edited answer *and* the bars of
the figure show the new edit. For a language model the answer is the first written token of the edited model
(and, in a line of its own, its last), the figure that of the next token; a concept is one of a hundred, so
what is clicked is its line in the open list.

First paint: from the start of the navigation of a browser that has been here before to the frame that has
the page's title, and to the one that has both answers. All are taken inside the page, so that the driver's
own delay does not count.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlencode

from playwright.sync_api import Page

if __name__ == "__main__":  # run as a script
    _ROOT = Path(__file__).resolve().parents[2]
    sys.path[:0] = [str(_ROOT), str(_ROOT / "tests" / "support")]

from servers import open_browser, running, settle

from engram_core.opening.samples import describe_sample

# The bars by their shapes and words: they change with every edit, small effects included.
CLICK_AND_WAIT = """
([selector, label]) => new Promise((resolve, reject) => {
  const target = [...document.querySelectorAll(selector)].find(e => e.textContent.trim() === label);
  if (!target) return reject(`nothing to click for ${label}`);
  const status = () => document.querySelector('[data-status]')?.textContent;
  const bars = () => {
    const plot = document.querySelector('.js-plotly-plot');
    return plot?.querySelector('.cartesianlayer').textContent
      + [...plot?.querySelectorAll('.bars path') ?? []].map(p => p.getAttribute('d')).join();
  };
  const writes = () => document.querySelector('.ee-cursor');
  const before = [status(), bars()];
  const start = performance.now();
  const at = {answer: null, figure: null, last: null};
  const look = () => {
    const now = performance.now() - start;
    if (at.answer === null && status() !== before[0]) at.answer = now;
    if (at.figure === null && at.answer !== null && bars() !== before[1]) at.figure = now;
    if (at.last === null && at.answer !== null && !writes()) at.last = now;
    if (Object.values(at).every(t => t !== null)) resolve([at.answer, at.figure, at.last]);
    else if (now > 20000) reject(`no new picture: ${JSON.stringify(at)}`);
    else requestAnimationFrame(look);
  };
  target.click();
  look();
})
"""
PILLS, LINES = ".st-key-concepts button", "[role=option]"


def toggle_times(page: Page, labels: Sequence[str], *, listed: bool) -> list[tuple[float, ...]]:
    """Switch each concept on its own off; return ms to the new answer, the new figure, the last token.

    Args:
        page: an open Live page.
        labels: names of concepts.
        listed: whether there are so many that they are looked up in a list.
    """
    times = []
    for label in labels:
        settle(page)
        if listed:
            page.locator(".st-key-off input").first.fill(label)
            page.get_by_role("option", name=label).first.wait_for()
        times.append(tuple(page.evaluate(CLICK_AND_WAIT, [LINES if listed else PILLS, label])))
        if listed:
            # A click ends the scoring of the edit, which takes a language model most of a minute.
            # The list stays open, and what is behind it has no role.
            page.locator(".st-key-reset button").first.evaluate("button => button.click()")
            page.wait_for_function(
                "document.querySelector('[data-status]')?.textContent.startsWith('No edit')"
            )
        else:
            settle(page)
            page.evaluate(CLICK_AND_WAIT, [PILLS, label])
    return times


# Runs before anything of the page does; performance.now() counts from the start of the navigation.
WATCH_PAINT = """
window.painted = {};
new MutationObserver(() => {
  for (const [what, found] of [
    ['title', document.querySelector('.stMainBlockContainer h3, .stMainBlockContainer h4')],
    ['answers', document.querySelector('[data-answer=edited]')],
  ]) if (found && !(what in window.painted)) {
    window.painted[what] = null;
    requestAnimationFrame(() => { window.painted[what] = performance.now(); });
  }
}).observe(document, {childList: true, subtree: true});
"""


def paint_times(page: Page, url: str, runs: int) -> list[tuple[float, float]]:
    """Open a page again and again; return ms to its title and to both answers."""
    page.add_init_script(WATCH_PAINT)
    times = []
    for _ in range(runs):
        page.goto(url)
        page.wait_for_function("window.painted?.title && window.painted?.answers")
        settle(page, seconds=600)
        times.append(tuple(page.evaluate("[window.painted.title, window.painted.answers]")))
    return times[1:]  # the first fills the browser's cache


def _say(sample: str, what: str, values: Sequence[float]) -> None:
    print(
        f"{sample:12} {what}: median {statistics.median(values):4.0f} ms, worst {max(values):4.0f} ms "
        f"of {len(values)}"
    )


IMAGES = {
    "digits-mlp": [str(n) for n in range(10)],
    "fashion-cnn": ["T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Bag"],
}
TEXTS = ("authors-lm", "facts-lm")


def main() -> None:
    """Print the medians for the samples named, or all bundled ones."""
    samples = sys.argv[1:] or [*IMAGES, *TEXTS]
    with running() as server, open_browser() as browser:
        for sample in samples:
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.goto(f"{server.url}/?page=live&model={sample}")
            settle(page)
            listed = sample not in IMAGES
            labels = describe_sample(sample)["concepts"][3::11][:8] if listed else IMAGES[sample]
            times = toggle_times(page, labels, listed=listed)
            link = urlencode({"page": "live", "model": sample, "concepts": labels[-1]})
            painted = paint_times(page, f"{server.url}/?{link}", 8)
            rows = [
                ("toggle → answer", times, 0), ("toggle → figure", times, 1),
                ("first paint: title", painted, 0), ("first paint: answers", painted, 1),
            ]  # fmt: skip
            if listed:
                rows.insert(1, ("toggle → last token", times, 2))
            for what, values, column in rows:
                _say(sample, what, [value[column] for value in values])
            page.close()


if __name__ == "__main__":
    main()
