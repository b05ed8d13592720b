"""Decode one picture: whole, upright and not too large, or an error that says what is wrong with it."""

from __future__ import annotations

import io
import struct
import warnings
from typing import Any

from ..errors import DataError
from ..libraries import first_line

__all__ = ["decoded"]

_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
_ORIENTATION = 0x0112  # the EXIF tag


def decoded(data: bytes, max_pixels: int) -> Any:
    """Return the picture in a file as Pillow has it, its pixels read, turned upright and put on white.

    Args:
        data: the bytes of the file.
        max_pixels: most pixels it may have.

    Raises:
        DataError: what is wrong with it, without its name.
    """
    from PIL import Image

    picture = _upright(_opened(data, max_pixels))
    if picture.mode in ("LA", "PA", "RGBA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture


def _opened(data: bytes, max_pixels: int) -> Any:
    """Return the picture in a file, its pixels read."""
    from PIL import Image, JpegImagePlugin, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            # Our own limit is lower, and says how large the picture is; a damaged note beside the pixels is
            # no concern of whoever wants the pixels.
            warnings.simplefilter("ignore")
            if data.startswith(b"\xff\xd8"):
                # A phone's file may hold a second picture (a preview, a depth map) behind the first, and
                # Pillow then takes it for another format. The first is a whole JPEG.
                picture: Any = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
            else:
                picture = Image.open(io.BytesIO(data), formats=_FORMATS)
            width, height = picture.size
            if width * height > max_pixels:
                raise DataError(
                    f"{width:,} × {height:,} pixels; at most {max_pixels:,} in all. Make it smaller"
                )
            if getattr(picture, "n_frames", 1) > 1:
                raise DataError(f"{picture.n_frames} pictures in one file; take one")
            if picture.mode not in _MODES:
                raise DataError(f"pixels of type {picture.mode!r}; save it with 8 bits per channel")
            picture.load()
            return picture
    except Image.DecompressionBombError:
        raise DataError(f"far too many pixels; at most {max_pixels:,}. Make it smaller") from None
    except UnidentifiedImageError:
        raise DataError("not a picture (PNG, JPEG, BMP, GIF, WebP, TIFF or PPM); take it out") from None
    except DataError:
        raise
    except Exception as error:  # a decoder on damaged bytes fails in whatever way the bytes have it
        raise DataError(f"a damaged picture ({first_line(error, 120)})") from None


def _upright(picture: Any) -> Any:
    """Return a picture turned as its camera says; a note that cannot be read says nothing.

    Pillow's own way reads all other notes as well and writes them anew, and fails on any that is damaged.
    """
    from PIL import Image

    turned = _orientation(picture.info.get("exif") or b"")
    if turned is None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                turned = picture.getexif().get(_ORIENTATION)
        except Exception:  # whatever stands there, the pixels are whole
            return picture
    turn = Image.Transpose
    ways = (turn.FLIP_LEFT_RIGHT, turn.ROTATE_180, turn.FLIP_TOP_BOTTOM, turn.TRANSPOSE, turn.ROTATE_270,
            turn.TRANSVERSE, turn.ROTATE_90)  # fmt: skip
    known = isinstance(turned, int) and 2 <= turned <= 8
    return picture.transpose(ways[turned - 2]) if known else picture


def _orientation(exif: bytes) -> int | None:
    """Return the orientation in a block of EXIF (the first directory of a TIFF file), or None."""
    data = exif.removeprefix(b"Exif\0\0") if isinstance(exif, bytes) else b""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    try:
        if order is None:
            return None
        (start,) = struct.unpack_from(order + "I", data, 4)
        (count,) = struct.unpack_from(order + "H", data, start)
        for place in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, values, value = struct.unpack_from(order + "HHIH", data, place)
            if (tag, kind, values) == (_ORIENTATION, 3, 1):
                return value
    except struct.error:  # it ends too early
        pass
    return None
