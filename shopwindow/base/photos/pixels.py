"""Decode photos to the square RGB pixels that the product tower takes."""

from __future__ import annotations

import io
import re

import numpy as np
from PIL import Image, ImageChops, ImageFile

from shopwindow.base.photos.errors import PhotoBroken
from shopwindow.base.photos.header import FORMATS, Header, read_header
from shopwindow.base.photos.jpeg_end import decode_without_end

_WHITE = (255, 255, 255)
_COLOUR_16_BIT = "RGB;16B"  # Pillow's name for the pixels of such a PNG
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(data: bytes, size: int, header: Header | None = None) -> np.ndarray:
    """Decode a photo and fit it into a square, padded with white.

    Only the first frame of an animated image counts. Transparent parts become white. EXIF rotation is applied.

    Args:
        data: a JPEG, PNG or WebP file.
        size: side of the square in pixels.
        header: what `read_header` returned for it; None reads it.

    Returns:
        (size, size, 3) uint8.

    Raises:
        PhotoUnfit: too many bytes or pixels.
        PhotoBroken: an unknown format, or broken data.
    """
    header = header or read_header(data)
    file = memoryview(data)
    picture = b"".join([part if isinstance(part, bytes) else file[slice(*part)] for part in header.parts])
    try:
        if header.ended:
            return _pixels(picture, size, header)
        return decode_without_end(picture, lambda ended: _pixels(ended, size, header))
    except (PhotoBroken, MemoryError):
        raise
    # Pillow's decoders raise many kinds of errors for broken bytes. All mean the same to the caller.
    except Exception as error:
        # Pillow's text has the reader's address in memory. Without it, skipped.csv is the same in every build.
        problem = re.sub(r" <[^<>]* at 0x[0-9a-f]+>", "", f"{type(error).__name__}: {error}").splitlines()[0][:120]
        raise PhotoBroken(problem) from None


def _pixels(picture: bytes, size: int, header: Header) -> np.ndarray:
    image = _open(picture, header)
    # libjpeg skips work on a large photo, and decodes it at half, a quarter or an eighth of its size. Pixels from
    # twice the size that is needed are close to those of the whole photo, those from the size itself are not.
    image.draft("RGB", (2 * size, 2 * size))
    if image.mode.startswith("I"):
        upright = _from_16_bit_grey(image)
    elif "transparency" in image.info and any(tile.args == _COLOUR_16_BIT for tile in image.tile):
        upright = _from_16_bit_colour(image, _open(picture, header))
    else:
        upright = _to_rgb(image)
    if header.orientation in _TURNS:
        upright = upright.transpose(_TURNS[header.orientation])
    return _fit(upright, size)


def _open(picture: bytes, header: Header) -> ImageFile.ImageFile:
    image = Image.open(io.BytesIO(picture), formats=FORMATS)
    if image.size != (header.width, header.height):
        raise PhotoBroken(f"it has two sizes, {header.width} x {header.height} and {image.width} x {image.height}")
    return image


def _from_16_bit_grey(image: Image.Image) -> Image.Image:
    """Return the image in RGB. Pillow's own conversion would clip it, and not see which shade is transparent."""
    grey = np.asarray(image)
    seen = Image.fromarray((grey.clip(0, 65_535) >> 8).astype(np.uint8))
    if "transparency" in image.info:
        seen.paste(255, mask=Image.fromarray(grey == image.info["transparency"]))
    return seen.convert("RGB")


def _from_16_bit_colour(high: Image.Image, low: ImageFile.ImageFile) -> Image.Image:
    """Return an image with a transparent colour.

    Pillow keeps the high bytes of its pixels only. Other colours may have the same ones, so the low bytes count.

    Args:
        high: the image.
        low: the same again, for its low bytes.
    """
    colour = high.info["transparency"]
    low.tile = [tile._replace(args="RGB;16L") for tile in low.tile]
    clear = _where(low, [value & 255 for value in colour])
    low.close()  # two of them and the rest would be too much memory
    clear = ImageChops.darker(clear, _where(high, [value >> 8 for value in colour]))
    high.paste(_WHITE, mask=clear)
    return high


def _where(image: Image.Image, colour: list[int]) -> Image.Image:
    """Return a mask of the pixels with a colour."""
    mask = Image.new("L", image.size, 255)
    for band, value in enumerate(colour):
        mask = ImageChops.darker(mask, image.getchannel(band).point([255 * (byte == value) for byte in range(256)]))
    return mask


def _to_rgb(image: Image.Image) -> Image.Image:
    """Return the image in RGB, without a copy if it already is."""
    if image.has_transparency_data:
        # paste() and not alpha_composite(), which would hold a large photo three times in four channels.
        clear = image if image.mode == "RGBA" else image.convert("RGBA")
        image = Image.new("RGB", clear.size, _WHITE)
        image.paste(clear, mask=clear.getchannel("A"))
    return image if image.mode == "RGB" else image.convert("RGB")


def _fit(image: Image.Image, size: int) -> np.ndarray:
    """Fit the image into the square as `ImageOps.pad` does, but leave at least a line of a very long one."""
    longest = max(image.size)
    width, height = (max(1, round(side / longest * size)) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    square = Image.new("RGB", (size, size), _WHITE)
    square.paste(image, (round((size - image.width) / 2), round((size - image.height) / 2)))
    return np.asarray(square)
