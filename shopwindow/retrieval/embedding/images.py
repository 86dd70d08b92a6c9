"""Decode product photos to the square RGB pixels that the product tower takes."""

from __future__ import annotations

import io
import re
import warnings

import numpy as np
from PIL import Image, ImageOps

from shopwindow.retrieval.errors import InvalidRequest, show

FORMATS = ("JPEG", "PNG", "WEBP")
MAX_BYTES = 20 * 2**20
MAX_SIDE = 16_000
MAX_PIXELS = 50_000_000

_LIMITS = f"at most {MAX_SIDE} pixels a side and {MAX_PIXELS} in all"
_WHITE = (255, 255, 255)


def decode_image(field: str, data: bytes, size: int) -> np.ndarray:
    """Decode a photo and fit it into a square, padded with white.

    Only the first frame of an animated image counts. Transparent parts become white. EXIF rotation is applied.

    Args:
        field: name of the field for errors (`image[3]`).
        data: a JPEG, PNG or WebP file.
        size: side of the square in pixels.

    Returns:
        (size, size, 3) uint8.

    Raises:
        InvalidRequest: too many bytes or pixels, an unknown format, or broken data.
    """
    if len(data) > MAX_BYTES:
        raise InvalidRequest(field, f"at most {MAX_BYTES} bytes, got {len(data)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about large images; our limits are below
            image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
            width, height = image.size
            if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
                raise InvalidRequest(field, f"{_LIMITS}, got {width} x {height}")
            image.draft("RGB", (size, size))  # lets libjpeg skip work on large photos
            image = _to_rgb(ImageOps.exif_transpose(image))
            return np.asarray(ImageOps.pad(image, (size, size), Image.Resampling.BICUBIC, color=_WHITE))
    except InvalidRequest:
        raise
    except Image.DecompressionBombError as error:  # Pillow refuses the largest images before we know their size
        raise InvalidRequest(field, f"{_LIMITS}, got {str(error).partition(' exceeds')[0]}") from None
    # Pillow's decoders raise many kinds of errors for broken bytes. All mean the same to the caller.
    except Exception as error:
        # Pillow's text has the reader's address in memory. Without it, skipped.csv is the same in every build.
        problem = re.sub(r" <[^<>]* at 0x[0-9a-f]+>", "", f"{type(error).__name__}: {error}").splitlines()[0][:120]
        raise InvalidRequest(
            field, f"not a readable {', '.join(FORMATS)} image ({problem}); {len(data)} bytes: {show(data[:16])}"
        ) from None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit greyscale, which Pillow's conversion would clip
        image = Image.fromarray((np.asarray(image).clip(0, 65_535) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        # paste() and not alpha_composite(), which would hold a large photo three times in four channels.
        clear = image.convert("RGBA")
        image = Image.new("RGB", clear.size, _WHITE)
        image.paste(clear, mask=clear.getchannel("A"))
    return image.convert("RGB")
