"""Measure what a visitor waits for in the browser: python tests/e2e/measure_live.py (prints a table).

Toggle → new picture: from the click on a concept to the frame in which the edited answer *and* the bars of
the figure show the new edit. First paint: from the start of the navigation of a browser that has been here
before to the frame that has the page's title, and to the one that has both answers. Both are taken inside
the page, so that the driver's own delay does not count.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Page

if __name__ == "__main__":  # run as a script
    sys.path[:0] = [str(Path(__file__).resolve().parents[up]) for up in (1, 2)]

from servers import open_browser, running, settle

CLICK_AND_WAIT = """
([label]) => new Promise((resolve, reject) => {
  const pills = [...document.querySelectorAll('.st-key-concepts button')];
  const pill = pills.find(b => b.textContent.trim() === label);
  const status = () => document.querySelector('[data-status]')?.textContent;
  // The class labels say which concepts are off: they change with every edit, small effects included.
  const bars = () => document.querySelector('.js-plotly-plot .yaxislayer-above, .js-plotly-plot .ytick')
      ?.closest('.js-plotly-plot').querySelector('.cartesianlayer').textContent;
  const before = [status(), bars()];
  const start = performance.now();
  let answered = null;
  const look = () => {
    const now = performance.now() - start;
    if (answered === null && status() !== before[0]) answered = now;
    if (answered !== null && bars() !== before[1]) {
      requestAnimationFrame(() => resolve([answered, performance.now() - start]));
    } else if (now > 20000) reject('no new picture');
    else requestAnimationFrame(look);
  };
  pill.click();
  look();
})
"""


def toggle_times(page: Page, labels: Sequence[str]) -> list[tuple[float, float]]:
    """Switch each concept on its own off; return ms to the new answer and to the new figure."""
    times = []
    for label in labels:
        settle(page)
        times.append(tuple(page.evaluate(CLICK_AND_WAIT, [label])))
        settle(page)
        page.evaluate(CLICK_AND_WAIT, [label])
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
        settle(page)
        times.append(tuple(page.evaluate("[window.painted.title, window.painted.answers]")))
    return times[1:]  # the first fills the browser's cache


def _say(sample: str, what: str, values: Sequence[float]) -> None:
    print(
        f"{sample:12} {what}: median {statistics.median(values):4.0f} ms, worst {max(values):4.0f} ms "
        f"of {len(values)}"
    )


def main() -> None:
    """Print the medians for both samples."""
    with running() as server, open_browser() as browser:
        for sample, labels in (
            ("digits-mlp", [str(n) for n in range(10)]),
            ("fashion-cnn", ["T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Bag"]),
        ):
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.goto(f"{server.url}/?page=live&model={sample}")
            settle(page)
            times = toggle_times(page, labels)
            painted = paint_times(page, f"{server.url}/?page=live&model={sample}&concepts={labels[-1]}", 8)
            for what, values, column in (
                ("toggle → answer", times, 0), ("toggle → figure", times, 1),
                ("first paint: title", painted, 0), ("first paint: answers", painted, 1),
            ):  # fmt: skip
                _say(sample, what, [value[column] for value in values])
            page.close()


if __name__ == "__main__":
    main()
