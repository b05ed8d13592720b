"""Make the pictures of the sample models (python -m docs.sample_pictures [NAME …]).

Each sample gets two in its folder: `icon.png`, a small square, and `picture.png`, a wide one. Nothing is
drawn by hand. Of an image model they are its own held-out inputs: one, and the first of every class. Of a
language model they are its engrams on a map (PCA of their cosines in the last layer), and what the base and
the edited model say to the prompt of its example. Of a model on a table they are its held-out rows on a map
(PCA), those of its example in orange.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import streamlit
from PIL import Image, ImageDraw, ImageFont

import engram_core as ec
from app.figures.charts.palette import BASE, EDITED, LOSS
from engram_core.concepts.sample_files import read_json
from engram_core.language import LanguageConcepts, complete
from engram_core.opening.prepared import prepared
from engram_core.opening.samples import load_sample, sample_folder, sample_names

ICON = 64
WIDE = (480, 200)
MOST = 30_000  # bytes of a picture
_GROUND = "#F4F6F8"
_INK = "#1B2733"


def main(names: list[str]) -> None:
    """Make the pictures of all samples that are installed, or of those that are named."""
    for name in names or sample_names():
        folder = sample_folder(name)
        start = read_json(folder / "explorer.json")
        sample = load_sample(name)
        with prepared(sample) as found:
            make = _of_images if sample.image_shape else _of_table
            if isinstance(sample.concepts, LanguageConcepts):
                make = _of_language
            icon, wide = make(sample, found.atlas, start)
        for file, image in (("icon.png", icon), ("picture.png", wide)):
            (folder / file).write_bytes(_png(image))
            print(f"{folder / file}  {(folder / file).stat().st_size / 1000:.1f} kB", flush=True)


def _png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.convert("RGB").quantize(64, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    if out.tell() > MOST:
        raise SystemExit(f"A picture has {out.tell():,} bytes; the limit is {MOST:,}.")
    return out.getvalue()


def _pixels(sample: Any, concept: str, number: int, size: int) -> Image.Image:
    low, high = sample.value_range or (0.0, 1.0)
    image = sample.concepts[concept].probe[number - 1].numpy().transpose(1, 2, 0)
    grey = np.round(255 * ((image - low) / (high - low)).clip(0, 1)).astype(np.uint8)
    picture = Image.fromarray(grey[..., 0] if grey.shape[-1] == 1 else grey).convert("RGB")
    return picture.resize((size, size), Image.Resampling.NEAREST)


def _of_images(sample: Any, atlas: ec.Atlas, start: dict[str, Any]) -> tuple[Image.Image, Image.Image]:
    show = start["show"]
    icon = _pixels(sample, show["class"], show["image"], ICON)
    classes, gap = list(sample.task.classes)[:10], 8
    side = (WIDE[0] - 6 * gap) // 5
    wide = Image.new("RGB", (WIDE[0], 2 * side + 3 * gap), _GROUND)
    for place, name in enumerate(classes):
        row, column = divmod(place, 5)
        at = gap + column * (side + gap), gap + row * (side + gap)
        wide.paste(_pixels(sample, name, 1, side), at)
    return icon, wide


def _of_table(sample: Any, atlas: ec.Atlas, start: dict[str, Any]) -> tuple[Image.Image, Image.Image]:
    names = list(atlas.concepts)
    rows = [sample.concepts[name].probe.numpy() for name in names]
    whole = np.concatenate(rows)
    scaled = (whole - whole.mean(0)) / np.where(whole.std(0) > 0, whole.std(0), 1)
    left, sizes, _ = np.linalg.svd(scaled, full_matrices=False)
    of = np.repeat(np.arange(len(names)), [len(part) for part in rows])
    chosen = [
        int(at) for at in np.flatnonzero(np.isin(of, [names.index(n) for n in start["show"]["concepts"]]))
    ]
    points = left[:, :2] * sizes[:2]
    return _map(points, chosen), _map(points, chosen, WIDE)


def _of_language(sample: Any, atlas: ec.Atlas, start: dict[str, Any]) -> tuple[Image.Image, Image.Image]:
    found = ec.engram_cosines(atlas, atlas.layers[-1])
    values, vectors = np.linalg.eigh(found.cosines)
    points = vectors[:, -3:-1] * np.sqrt(values[-3:-1].clip(0))
    names = list(found.concepts)
    show = start["show"]
    icon = _map(points, [names.index(name) for name in show["concepts"]])
    sharp = atlas.sharpen(float(start.get("power", 1)), clip=bool(start.get("clip", False)))
    view = sharp.apply(sample.model, erase=dict.fromkeys(show["concepts"], float(start["strength"])))
    said = [
        complete(model, sample.task.tokenizer, [show["prompt"]], max_new_tokens=6)[0].split("\n")[0]
        for model in (sample.model, view)
    ]
    wide = Image.new("RGB", WIDE, _GROUND)
    draw = ImageDraw.Draw(wide)
    lines = [("base", BASE, said[0]), (f"{', '.join(show['concepts'])} erased", EDITED, said[1])]
    for place, (kind, colour, text) in enumerate(lines):
        top = 10 + 96 * place
        draw.rectangle((16, top + 4, 22, top + 80), fill=colour)
        draw.text((34, top), kind, fill=_INK, font=_font(17))
        draw.text((34, top + 23), show["prompt"], fill=_INK, font=_font(22))
        draw.text((34, top + 50), text.strip()[:44], fill=LOSS if place else _INK, font=_font(26))
    return icon, wide


def _font(size: int) -> ImageFont.FreeTypeFont:
    # Streamlit's own, which is installed wherever the app is; Pillow's has no accents.
    folder = Path(streamlit.__file__).parent / "static" / "static" / "media"
    return ImageFont.truetype(str(next(folder.glob("SourceSansVF-Upright*.woff2"))), size)


def _map(points: np.ndarray, chosen: list[int], size: tuple[int, int] = (ICON, ICON)) -> Image.Image:
    scale = 4
    image = Image.new("RGB", (scale * size[0], scale * size[1]), _GROUND)
    draw = ImageDraw.Draw(image)
    low, high = points.min(0), points.max(0)
    places = (points - low) / np.where(high > low, high - low, 1) * 0.84 + 0.08
    radius = scale * min(size) / 256
    for number in [*range(len(points)), *chosen]:
        x, y = places[number] * scale * np.array(size)
        far = radius * (14 if len(chosen) == 1 and number in chosen else 6)
        draw.ellipse((x - far, y - far, x + far, y + far), fill=LOSS if number in chosen else EDITED)
    return image.resize(size, Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main(sys.argv[1:])
