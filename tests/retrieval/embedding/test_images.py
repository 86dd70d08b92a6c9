"""Photos as shops send them: every unusual file becomes the right pixels or a clear error."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shopwindow.base.photos.header import MAX_BYTES, MAX_PIXELS, MAX_SIDE
from shopwindow.retrieval import InvalidRequest
from shopwindow.retrieval.embedding.images import decode_image

SIZE = 32
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(width: int, height: int, depth: int, colour_type: int, rows: bytes) -> bytes:
    """Return a PNG with headers that Pillow does not write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def decode(data: bytes) -> np.ndarray:
    pixels = decode_image("image[0]", data, SIZE)
    assert pixels.shape == (SIZE, SIZE, 3)
    assert pixels.dtype == np.uint8
    return pixels


def assert_colour(pixels: np.ndarray, colour: tuple[int, int, int], tolerance: int = 3) -> None:
    """Assert that every pixel has this colour, up to the loss of JPEG and WebP."""
    assert np.abs(pixels.astype(int) - colour).max() <= tolerance, pixels.reshape(-1, 3)[:3]


def refusal(data: bytes) -> str:
    with pytest.raises(InvalidRequest) as caught:
        decode_image("image[3]", data, SIZE)
    assert caught.value.field == "image[3]"
    assert len(str(caught.value)) < 400
    return str(caught.value)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_the_three_formats_are_read(kind: str) -> None:
    assert_colour(decode(encode(Image.new("RGB", (200, 200), (200, 30, 90)), kind)), (200, 30, 90), tolerance=6)


def test_a_photo_may_be_one_pixel() -> None:
    assert_colour(decode(encode(Image.new("RGB", (1, 1), BLUE))), BLUE, tolerance=0)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_truncated_file_is_refused(kind: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (120, 120, 3), dtype=np.uint8)
    data = encode(Image.fromarray(noise), kind)
    assert "not a readable JPEG, PNG, WEBP image" in refusal(data[: int(len(data) * share)])


@pytest.mark.parametrize("data", [b"", b"\x00", b"hello, I am a photo", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"])
def test_a_file_that_is_not_an_image_is_refused_with_its_first_bytes(data: bytes) -> None:
    message = refusal(data)
    assert "not a readable JPEG, PNG, WEBP image" in message
    assert f"{len(data)} bytes: {data[:16]!r}" in message
    assert message == refusal(data) and " at 0x" not in message  # otherwise skipped.csv would differ between builds


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF"])
def test_other_formats_are_refused(kind: str) -> None:
    assert "not a readable JPEG, PNG, WEBP image" in refusal(encode(Image.new("RGB", (8, 8), RED), kind))


def test_too_many_bytes_are_refused_with_the_limit_and_the_size() -> None:
    data = encode(Image.new("RGB", (8, 8), RED))
    message = refusal(data + b"\0" * (MAX_BYTES + 1 - len(data)))
    assert message == f"image[3]: at most {MAX_BYTES} bytes, got {MAX_BYTES + 1}"


@pytest.mark.parametrize(
    ("width", "height", "shown"),
    [
        (20_000, 4, "20000 x 4"),
        (4, MAX_SIDE + 1, f"4 x {MAX_SIDE + 1}"),
        (10_000, 10_000, "10000 x 10000"),
        (60_000, 60_000, "60000 x 60000"),
        (2**31 - 1, 2**31 - 1, "2147483647 x 2147483647"),
    ],
)
def test_too_many_pixels_are_refused_before_decoding(width: int, height: int, shown: str) -> None:
    # The pixel data is one byte, so decoding would give another error.
    message = refusal(png(width, height, 8, 2, b"\0"))
    assert f"at most {MAX_SIDE} pixels a side and {MAX_PIXELS} in all" in message
    assert shown in message


def test_a_cmyk_jpeg_keeps_its_colour() -> None:
    assert_colour(decode(encode(Image.new("CMYK", (64, 64), (0, 255, 255, 0)), "JPEG", quality=95)), RED, tolerance=6)


@pytest.mark.parametrize(("value", "grey"), [(0, 0), (0x4040, 0x40), (0x8080, 0x80), (65_535, 255)])
def test_16_bit_grey_is_scaled_and_not_clipped(value: int, grey: int) -> None:
    data = encode(Image.fromarray(np.full((20, 20), value, np.uint16)))
    assert struct.unpack(">B", data[24:25]) == (16,)  # bit depth in the header: the file really has 16 bits
    assert_colour(decode(data), (grey, grey, grey), tolerance=1)


def test_16_bit_colour_is_scaled_and_not_clipped() -> None:
    row = b"\0" + np.full((4, 3), (0x8080, 0x2020, 0xFFFF), ">u2").tobytes()
    assert_colour(decode(png(4, 4, 16, 2, row * 4)), (0x80, 0x20, 0xFF), tolerance=1)


def test_transparent_parts_become_white() -> None:
    photo = Image.new("RGBA", (SIZE, SIZE), (*RED, 255))
    photo.paste((0, 0, 0, 0), (0, 0, SIZE // 2, SIZE))
    pixels = decode(encode(photo))
    assert_colour(pixels[:, : SIZE // 2], WHITE, tolerance=0)
    assert_colour(pixels[:, SIZE // 2 :], RED, tolerance=0)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_half_transparent_parts_mix_with_white(kind: str) -> None:
    assert_colour(decode(encode(Image.new("RGBA", (SIZE, SIZE), (0, 0, 0, 128)), kind)), (127, 127, 127))


def test_the_transparent_colour_of_a_palette_becomes_white() -> None:
    photo = Image.new("P", (SIZE, SIZE), 0)
    photo.putpalette([*RED, *GREEN])
    photo.paste(1, (0, 0, SIZE, SIZE // 2))
    pixels = decode(encode(photo, transparency=0))
    assert_colour(pixels[: SIZE // 2], GREEN, tolerance=0)
    assert_colour(pixels[SIZE // 2 :], WHITE, tolerance=0)


@pytest.mark.parametrize(("mode", "colour", "seen"), [("L", 77, 77), ("1", 1, 255), ("LA", (0, 0), 255)])
def test_grey_photos_are_read(mode: str, colour: Any, seen: int) -> None:
    assert_colour(decode(encode(Image.new(mode, (SIZE, SIZE), colour))), (seen, seen, seen), tolerance=0)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_only_the_first_frame_of_an_animation_counts(kind: str) -> None:
    frames = [Image.new("RGB", (SIZE, SIZE), colour) for colour in (RED, GREEN, BLUE)]
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)
    with Image.open(io.BytesIO(data)) as animation:
        assert animation.n_frames == 3
    assert_colour(decode(data), RED)


def test_exif_rotation_is_applied() -> None:
    photo = Image.new("RGB", (64, 64), WHITE)
    photo.paste(RED, (0, 0, 64, 32))  # red on top as stored
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise for display
    pixels = decode(encode(photo, "JPEG", exif=exif, quality=95))
    assert_colour(pixels[:, SIZE // 2 + 2 :], RED, tolerance=12)
    assert_colour(pixels[:, : SIZE // 2 - 2], WHITE, tolerance=12)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_photo_that_is_not_square_is_padded_with_white(kind: str) -> None:
    pixels = decode(encode(Image.new("RGB", (400, 200), RED), kind, quality=95))
    band = SIZE // 4
    assert_colour(pixels[:band], WHITE, tolerance=0)
    assert_colour(pixels[band:-band], RED, tolerance=6)
    assert_colour(pixels[-band:], WHITE, tolerance=0)
    tall = decode(encode(Image.new("RGB", (100, 300), BLUE)))
    assert_colour(tall[:, SIZE // 2 - 3 : SIZE // 2 + 3], BLUE, tolerance=0)
    assert_colour(tall[:, :8], WHITE, tolerance=0)


def test_a_large_jpeg_gives_the_same_pixels_as_a_png() -> None:
    # libjpeg decodes large photos at a fraction of their size. The picture must stay the same.
    ramp = np.linspace(0, 255, 1_600, dtype=np.uint8)
    photo = Image.fromarray(np.stack([np.tile(ramp, (1_200, 1))] * 3, axis=-1))
    difference = decode(encode(photo, "JPEG", quality=95)).astype(int) - decode(encode(photo)).astype(int)
    assert np.abs(difference).max() <= 8


def test_a_large_jpeg_gives_nearly_the_pixels_of_the_whole_photo() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (66, 66, 3), dtype=np.uint8)
    jpeg = encode(Image.fromarray(noise).resize((264, 264), Image.Resampling.BICUBIC), "JPEG", quality=90)
    whole = encode(Image.open(io.BytesIO(jpeg)))  # a PNG is decoded at its full size
    # Decoded at an eighth of its size, which is 33 x 33 already, it differs by 49.
    assert np.abs(decode(jpeg).astype(int) - decode(whole)).max() <= 8
