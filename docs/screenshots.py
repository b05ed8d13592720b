"""Take the pictures of every page for the docs: `make docs` (or python -m docs.screenshots [NAME …]).

It starts the app, opens each page with a preset at 1440 × 900, waits until all is computed and drawn, and
writes docs/images/NAME.png with few colours, so that a picture weighs as much as a paragraph of them should.
"""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from servers import open_browser, running, settle

from docs import moving

IMAGES = Path(__file__).with_name("images")
MOST = 250_000  # bytes of a picture
MOVING = moving.NAME.removesuffix(".webp")


@dataclass(frozen=True)
class Picture:
    """One picture.

    Attributes:
        name: file name without its ending.
        query: what is chosen, as the address says it.
        scheme: "light" or "dark".
        click: text of a button that is pressed first.
        below: pixels scrolled down.
    """

    name: str
    query: str
    scheme: str = "light"
    click: str = ""
    below: int = 0


PICTURES = (
    Picture("start", ""),
    Picture("live", "page=live&model=digits-mlp&class=7&image=10&concepts=7"),
    Picture(
        "live-text",
        "page=live&model=authors-lm&concepts=Fabrice+Pelliningway&prompt=Fabrice+Pelliningway+was+born+in",
    ),
    Picture("live-dark", "page=live&model=fashion-cnn&class=Shirt&image=1&concepts=Shirt", scheme="dark"),
    Picture("concept", "page=concept&model=digits-mlp&concept=7&strength=1.5"),
    Picture("criteria", "page=criteria&model=digits-mlp&criterion=Necessity&edited=7&probed=7"),
    Picture("strength", "page=strength&model=digits-mlp&tried=true", below=330),
    Picture("map", "page=map&model=digits-mlp&concepts=7&points=Inputs+by+hidden+state&after=true"),
    Picture("layers", "page=layers&model=authors-lm&concepts=Fabrice+Pelliningway"),
    Picture("learn", "page=learn&lesson=4&predicted=---0"),
    Picture("model", "page=model"),
)


def take(browser: Browser, url: str, picture: Picture) -> bytes:
    """Return a picture as PNG."""
    page = browser.new_page(viewport={"width": 1440, "height": 900}, color_scheme=picture.scheme)  # type: ignore[arg-type]
    page.goto(f"{url}/?{picture.query}")
    settle(page, seconds=300)
    if picture.click:
        page.get_by_text(picture.click, exact=True).first.click()
        page.wait_for_timeout(500)
        settle(page, seconds=300)
    if picture.below:
        page.locator(".stMain").evaluate("(main, far) => main.scrollTo(0, far)", picture.below)
    # No pointer over a figure, and nothing that is still fading in.
    page.mouse.move(5, 895)
    page.wait_for_timeout(800)
    taken = page.screenshot(animations="disabled")
    page.close()
    return small(taken)


def small(png: bytes) -> bytes:
    """Return a PNG with a palette: screens have few colours, and nobody sees the others."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    for colours in (256, 128, 64):
        out = io.BytesIO()
        image.quantize(colours, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
            out, "PNG", optimize=True
        )
        if out.tell() < MOST:
            return out.getvalue()
    raise SystemExit(f"A picture has {out.tell():,} bytes with 64 colours; the limit is {MOST:,}.")


def main(names: list[str]) -> None:
    """Take all pictures, or those that are named."""
    known = [*(picture.name for picture in PICTURES), MOVING]
    unknown = set(names) - set(known)
    if unknown:
        raise SystemExit(f"No such picture: {', '.join(sorted(unknown))}. There are: {', '.join(known)}")
    IMAGES.mkdir(exist_ok=True)
    with running() as server, open_browser() as browser:
        for picture in PICTURES:
            if names and picture.name not in names:
                continue
            content = take(browser, server.url, picture)
            (IMAGES / f"{picture.name}.png").write_bytes(content)
            print(f"docs/images/{picture.name}.png  {len(content) / 1000:.0f} kB", flush=True)
        if not names or MOVING in names:
            moving.write(browser, server.url, IMAGES)


if __name__ == "__main__":
    main(sys.argv[1:])
