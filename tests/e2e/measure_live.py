"""Measure toggle → new picture in the browser: python tests/e2e/measure_live.py (prints a table).

From the click on a concept to the frame in which the edited answer *and* the bars of the figure show the
new edit, taken inside the page, so that the driver's own delay does not count.
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
            for what, column in (("answer", 0), ("figure", 1)):
                values = [t[column] for t in times]
                print(
                    f"{sample:12} toggle → {what}: median {statistics.median(values):4.0f} ms, "
                    f"worst {max(values):4.0f} ms of {len(values)}"
                )
            page.close()


if __name__ == "__main__":
    main()
