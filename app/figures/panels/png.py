"""Pixels to pictures that can stand in a page without a file."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from ..words.as_text import Markdown

__all__ = ["data_uri"]


def data_uri(pixels: np.ndarray) -> Markdown:
    """Return an image (height, width), 0–1, as the address of a PNG that carries its own data."""
    buffer = io.BytesIO()
    Image.fromarray(np.round(pixels * 255).astype(np.uint8)).save(buffer, "PNG", optimize=False)
    # Letters, digits, "+", "/" and "=": nothing in it is Markdown.
    return Markdown("data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii"))
