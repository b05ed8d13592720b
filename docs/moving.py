"""The moving picture of the stage for README, put together from screenshots: part of `make docs`.

One page stays open, as a visitor's does, and takes the addresses of a short story one after the other.
"""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser

__all__ = ["NAME", "STORY", "moving", "record", "write"]

NAME = "stage.webp"
MOST = 2_000_000  # bytes
_SIZE = {"width": 1280, "height": 800}
_WIDTH = 960  # of the picture in README

_SEVEN = "page=live&model=digits-mlp&present=true&class=7&image=10"
_THREE = "page=live&model=digits-mlp&present=true&class=3&image=1"
STORY: tuple[tuple[str, int], ...] = (
    (_SEVEN, 1800),
    (f"{_SEVEN}&concepts=7", 3200),
    (f"{_THREE}&concepts=7", 2800),
    (_SEVEN, 1800),
)
"""Addresses, and for how many milliseconds each is seen: a 7, erased; a 3 is still a 3; and back."""


def record(browser: Browser, url: str) -> bytes:
    """Open the addresses one after the other and return the moving picture.

    Args:
        browser: takes the screenshots.
        url: of a running explorer.

    Returns:
        The picture, as `moving` makes it.
    """
    from servers import settle

    frames = []
    for query, _ in STORY:
        page = browser.new_page(viewport=_SIZE)  # type: ignore[arg-type]
        page.goto(f"{url}/?{query}")
        settle(page, seconds=300)
        page.mouse.move(5, 795)
        page.wait_for_timeout(800)
        frames.append(page.screenshot(animations="disabled"))
        page.close()
    return moving(frames, [far for _, far in STORY])


def moving(frames: list[bytes], lasts: list[int]) -> bytes:
    """Return screenshots as one animated WebP.

    Args:
        frames: as PNG, of one size.
        lasts: milliseconds that each is seen.

    Returns:
        The bytes of its file.

    Raises:
        SystemExit: if it is too large for a page that many people load.
    """
    images = [Image.open(io.BytesIO(frame)).convert("RGB") for frame in frames]
    height = round(images[0].height * _WIDTH / images[0].width)
    images = [image.resize((_WIDTH, height), Image.Resampling.LANCZOS) for image in images]
    out = io.BytesIO()
    images[0].save(
        out, "WEBP", save_all=True, append_images=images[1:], duration=lasts, loop=0, quality=80, method=6
    )
    if out.tell() > MOST:
        raise SystemExit(f"The moving picture has {out.tell():,} bytes; the limit is {MOST:,}.")
    return out.getvalue()


def write(browser: Browser, url: str, folder: Path) -> None:
    """Record it into a folder, and say how large it is."""
    content = record(browser, url)
    (folder / NAME).write_bytes(content)
    print(f"docs/images/{NAME}  {len(content) / 1000:.0f} kB", flush=True)
