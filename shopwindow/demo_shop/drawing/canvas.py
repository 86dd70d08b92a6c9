"""The parts of every drawing: masks in a 100 x 100 space, patterned and shaded fills, and the photo.

A drawing fills masks on a `Canvas`, which is larger than the final picture. `photograph` rotates it a little, puts it
in front of a background with a soft shadow, and reduces it, so that edges are smooth.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

IMAGE_SIZE = 96
SIZE = 3 * IMAGE_SIZE  # side of a drawing in pixels
UNIT = SIZE / 100  # pixels in one unit of drawing space
CURVE_STEPS = 8  # straight pieces between two points of a curve

RGB = tuple[int, int, int]
Point = tuple[float, float]
Mask = Image.Image

WHITE: RGB = (246, 246, 244)
CREAM: RGB = (240, 232, 212)
INK: RGB = (42, 42, 48)
STEEL: RGB = (176, 180, 186)
GOLD: RGB = (206, 168, 82)
WOOD: RGB = (168, 120, 74)
LEATHER: RGB = (122, 78, 46)
GLASS: RGB = (206, 222, 232)


@dataclass(frozen=True, kw_only=True)
class Paint:
    """The surface of an article's body.

    Attributes:
        colour: The body's colour.
        contrast: The second colour of a pattern.
        pattern: plain, striped, dotted, checked or floral.
        period: Distance after which the pattern repeats, in units.
        angle: The direction of stripes, in degrees (0 = horizontal stripes).
        seed: Seed of the places in a scattered pattern (floral).
    """

    colour: RGB
    contrast: RGB
    pattern: str
    period: float
    angle: float
    seed: str


@dataclass(frozen=True, kw_only=True)
class Shot:
    """How one seller photographed an article. Photos of one style can differ in all of this.

    Attributes:
        top: Background colour at the upper edge.
        bottom: Background colour at the lower edge.
        horizon: Height of a floor line in units, or None for a seamless background.
        rotation: Rotation in degrees.
        scale: Size of the drawing; 1 leaves it as it is.
        shift: Shift in units.
        light: Direction of the light, -1 (left) to 1 (right).
        exposure: Brightness factors of the article for red, green and blue.
        shadow: Darkness of the shadow, 0 to 1.
    """

    top: RGB
    bottom: RGB
    horizon: float | None
    rotation: float
    scale: float
    shift: Point
    light: float
    exposure: tuple[float, float, float]
    shadow: float


def mix(a: RGB, b: RGB, share: float) -> RGB:
    """Return `a` mixed with a share (0 to 1) of `b`."""
    return (
        round(a[0] + (b[0] - a[0]) * share),
        round(a[1] + (b[1] - a[1]) * share),
        round(a[2] + (b[2] - a[2]) * share),
    )


def luminance(colour: RGB) -> float:
    """Return the perceived brightness, 0 to 255."""
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


# ---------------------------------------------------------------- masks


def _pixels(points: Sequence[Point]) -> list[Point]:
    return [(x * UNIT, y * UNIT) for x, y in points]


def smooth(points: Sequence[Point], closed: bool = True) -> list[Point]:
    """Return a Catmull-Rom curve through `points`. A point given twice becomes a corner."""
    n = len(points)
    spans = n if closed else n - 1
    out: list[Point] = []
    for i in range(spans):
        p0, p1, p2, p3 = (points[(i + k) % n] if closed else points[min(max(i + k, 0), n - 1)] for k in (-1, 0, 1, 2))
        if p1 == p2:  # a corner: a curve from a point to itself would be a small loop
            continue
        for step in range(CURVE_STEPS):
            t = step / CURVE_STEPS
            a, b, c, d = -t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2
            out.append(
                (
                    0.5 * (a * p0[0] + b * p1[0] + c * p2[0] + d * p3[0]),
                    0.5 * (a * p0[1] + b * p1[1] + c * p2[1] + d * p3[1]),
                )
            )
    return out if closed else [*out, points[-1]]


def mirrored(right: Sequence[Point]) -> list[Point]:
    """Return a symmetric outline from its right half: (distance from the axis at x = 50, y), from top to bottom."""
    return [(50 + x, y) for x, y in right] + [(50 - x, y) for x, y in reversed(right)]


def polygon(points: Sequence[Point]) -> Mask:
    """Return the inside of a polygon."""
    mask = Image.new("L", (SIZE, SIZE))
    ImageDraw.Draw(mask).polygon(_pixels(points), fill=255)
    return mask


def blob(points: Sequence[Point]) -> Mask:
    """Return the inside of a smooth closed curve."""
    return polygon(smooth(points))


def ellipse(x: float, y: float, rx: float, ry: float) -> Mask:
    """Return an ellipse around (x, y)."""
    mask = Image.new("L", (SIZE, SIZE))
    ImageDraw.Draw(mask).ellipse(_pixels([(x - rx, y - ry), (x + rx, y + ry)]), fill=255)
    return mask


def box(x0: float, y0: float, x1: float, y1: float, radius: float = 0) -> Mask:
    """Return a rectangle, with rounded corners if `radius` is given."""
    mask = Image.new("L", (SIZE, SIZE))
    ImageDraw.Draw(mask).rounded_rectangle(_pixels([(x0, y0), (x1, y1)]), radius=radius * UNIT, fill=255)
    return mask


def stroke(points: Sequence[Point], width: float, curved: bool = True, closed: bool = False) -> Mask:
    """Return a line of `width` units with round ends, along a curve or straight from point to point."""
    mask = Image.new("L", (SIZE, SIZE))
    draw = ImageDraw.Draw(mask)
    path = _pixels(smooth(points, closed) if curved else points)
    if closed:
        path.append(path[0])
    thick = max(1, round(width * UNIT))
    draw.line(path, fill=255, width=thick, joint="curve")
    if thick > 2:
        for x, y in (path[0], path[-1]):
            draw.ellipse((x - thick / 2, y - thick / 2, x + thick / 2, y + thick / 2), fill=255)
    return mask


def ring(x: float, y: float, rx: float, ry: float, width: float) -> Mask:
    """Return an elliptic ring whose outer radii are rx and ry."""
    return without(ellipse(x, y, rx, ry), ellipse(x, y, rx - width, ry - width))


def union(*masks: Mask) -> Mask:
    """Return the union of the masks."""
    out = masks[0]
    for mask in masks[1:]:
        out = ImageChops.lighter(out, mask)
    return out


def without(mask: Mask, hole: Mask) -> Mask:
    """Return `mask` without `hole`."""
    return ImageChops.subtract(mask, hole)


def within(mask: Mask, limit: Mask) -> Mask:
    """Return the part of `mask` inside `limit`."""
    return ImageChops.darker(mask, limit)


# ---------------------------------------------------------------- patterns


@lru_cache(maxsize=1)
def _grid() -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32) / np.float32(UNIT)
    return x - 50, y - 50


def _floral(paint: Paint) -> np.ndarray:
    """Return flowers with five petals and small leaves on a jittered grid, `(SIZE, SIZE, 3) float32`."""
    rng = random.Random(paint.seed)
    image = Image.new("RGB", (SIZE, SIZE), paint.colour)
    draw = ImageDraw.Draw(image)
    greenish = abs(paint.colour[1] - 140) < 30 and paint.colour[0] < 90
    leaf = (205, 225, 150) if greenish or luminance(paint.colour) < 90 else (64, 128, 70)
    heart = (250, 205, 60) if luminance(paint.contrast) > 120 or paint.contrast[0] < 150 else (255, 240, 190)
    pitch = paint.period * 1.25
    rows = int(100 / pitch) + 2
    for row in range(rows):
        for column in range(rows):
            x = (column + 0.5 * (row % 2) + rng.uniform(-0.15, 0.15)) * pitch * UNIT
            y = (row + rng.uniform(-0.15, 0.15)) * pitch * UNIT
            turn, size = rng.uniform(0, 6.3), pitch * UNIT * rng.uniform(0.17, 0.22)
            for side in (0.9, 3.6):
                lx, ly = x + 2.2 * size * math.cos(turn + side), y + 2.2 * size * math.sin(turn + side)
                draw.ellipse((lx - size * 0.6, ly - size * 0.6, lx + size * 0.6, ly + size * 0.6), fill=leaf)
            for petal in range(5):
                px = x + size * 1.05 * math.cos(turn + petal * 1.2566)
                py = y + size * 1.05 * math.sin(turn + petal * 1.2566)
                draw.ellipse((px - size * 0.8, py - size * 0.8, px + size * 0.8, py + size * 0.8), fill=paint.contrast)
            draw.ellipse((x - size * 0.6, y - size * 0.6, x + size * 0.6, y + size * 0.6), fill=heart)
    return np.asarray(image, dtype=np.float32)


def texture(paint: Paint) -> np.ndarray:
    """Return the whole canvas in this paint, `(SIZE, SIZE, 3) float32`, 0 to 255."""
    if paint.pattern == "floral":
        return _floral(paint)
    base, contrast = np.array(paint.colour, np.float32), np.array(paint.contrast, np.float32)
    if paint.pattern == "plain":
        return np.broadcast_to(base, (SIZE, SIZE, 3))
    x, y = _grid()
    angle = math.radians(paint.angle)
    u = -x * math.sin(angle) + y * math.cos(angle)
    v = x * math.cos(angle) + y * math.sin(angle)
    if paint.pattern == "striped":
        share = (np.mod(u, paint.period) < paint.period * 0.38).astype(np.float32)
    elif paint.pattern == "dotted":
        row = np.floor(u / paint.period)
        du = np.mod(u, paint.period) - paint.period / 2
        dv = np.mod(v + 0.5 * paint.period * np.mod(row, 2), paint.period) - paint.period / 2
        share = (du * du + dv * dv < (0.29 * paint.period) ** 2).astype(np.float32)
    elif paint.pattern == "checked":
        pitch = paint.period * 1.3
        across = np.mod(u, pitch) < pitch * 0.36
        along = np.mod(v, pitch) < pitch * 0.36
        share = 0.5 * across + 0.5 * along
        share = share.astype(np.float32)
    else:
        raise ValueError(f"pattern must be plain, striped, dotted, checked or floral, not {paint.pattern!r}")
    return base + share[..., None] * (contrast - base)


# ---------------------------------------------------------------- the canvas


class Canvas:
    """The drawing of one article.

    Args:
        paint: The surface of the body.
        light: Direction of the light, -1 (left) to 1 (right).
    """

    def __init__(self, paint: Paint, light: float = -0.5) -> None:
        self.paint = paint
        self.light = light
        self.image = Image.new("RGB", (SIZE, SIZE), paint.colour)
        self.alpha = Image.new("L", (SIZE, SIZE))
        self._texture = texture(paint)

    @property
    def dark(self) -> RGB:
        """A darker tone of the body's colour, or a lighter one if the body is nearly black."""
        colour = self.paint.colour
        return mix(colour, (255, 255, 255), 0.22) if luminance(colour) < 55 else mix(colour, (0, 0, 0), 0.28)

    @property
    def pale(self) -> RGB:
        """A lighter tone of the body's colour."""
        return mix(self.paint.colour, (255, 255, 255), 0.4)

    def body(self, mask: Mask, depth: float = 1.0) -> None:
        """Fill `mask` with the paint and its pattern."""
        self._fill(mask, self._texture, depth, 1.0)

    def part(self, mask: Mask, colour: RGB, depth: float = 0.7, opacity: float = 1.0) -> None:
        """Fill `mask` with one colour."""
        self._fill(mask, np.broadcast_to(np.array(colour, np.float32), (SIZE, SIZE, 3)), depth, opacity)

    def seam(self, points: Sequence[Point], width: float = 0.8, strength: float = 0.4, curved: bool = True) -> None:
        """Draw a seam or a fold, only where something is drawn already."""
        ink = (255, 255, 255) if luminance(self.paint.colour) < 60 else (0, 0, 0)
        line = within(stroke(points, width, curved), self.alpha)
        self.image.paste(ink, (0, 0), line.point(lambda value: int(value * strength)))

    def gloss(self, mask: Mask, strength: float = 0.45) -> None:
        """Draw a highlight, only where something is drawn already."""
        lit = (
            within(mask, self.alpha).resize((SIZE // 3, SIZE // 3)).filter(ImageFilter.BoxBlur(1)).resize((SIZE, SIZE))
        )
        self.image.paste((255, 255, 255), (0, 0), lit.point(lambda value: int(value * strength)))

    def _fill(self, mask: Mask, source: np.ndarray, depth: float, opacity: float) -> None:
        bounds = mask.getbbox()
        if bounds is None:
            return
        pad = 14
        x0, y0 = max(0, bounds[0] - pad), max(0, bounds[1] - pad)
        x1, y1 = min(SIZE, bounds[2] + pad), min(SIZE, bounds[3] + pad)
        cut = mask.crop((x0, y0, x1, y1))
        # Two blurs of the mask suggest volume: a thin dark rim, and a wide fade towards the edge.
        rim = np.asarray(cut.filter(ImageFilter.BoxBlur(2)), dtype=np.float32)
        wide = np.asarray(cut.filter(ImageFilter.BoxBlur(12)), dtype=np.float32)
        shade = 1.04 - depth * (0.42 * (1 - rim / 255) + 0.26 * (1 - wide / 255))
        across = np.linspace(-1, 1, x1 - x0, dtype=np.float32) * self.light
        down = np.linspace(-1, 1, y1 - y0, dtype=np.float32)
        shade += depth * 0.1 * (across[None, :] - 0.6 * down[:, None])
        lit = np.clip(source[y0:y1, x0:x1] * shade[..., None], 0, 255).astype(np.uint8)
        if opacity < 1:
            cut = cut.point(lambda value: int(value * opacity))
        self.image.paste(Image.fromarray(lit), (x0, y0), cut)
        self.alpha.paste(255, (x0, y0), cut)


# ---------------------------------------------------------------- the photograph


def _background(shot: Shot) -> Image.Image:
    share = np.linspace(0, 1, SIZE, dtype=np.float32)
    if shot.horizon is not None:
        share = np.where(share < shot.horizon / 100, 0.25 * share, 0.7 + 0.3 * share).astype(np.float32)
    top, bottom = np.array(shot.top, np.float32), np.array(shot.bottom, np.float32)
    rows = top + share[:, None] * (bottom - top)
    return Image.fromarray(np.broadcast_to(rows[:, None, :], (SIZE, SIZE, 3)).astype(np.uint8))


def photograph(canvas: Canvas, shot: Shot) -> Image.Image:
    """Return the drawing as a shop photo.

    Returns:
        An RGB image of IMAGE_SIZE x IMAGE_SIZE pixels.
    """
    turn = math.radians(shot.rotation)
    cos, sin = math.cos(turn) / shot.scale, math.sin(turn) / shot.scale
    centre, dx, dy = SIZE / 2, shot.shift[0] * UNIT, shot.shift[1] * UNIT
    inverse = (
        cos,
        sin,
        centre - cos * (centre + dx) - sin * (centre + dy),
        -sin,
        cos,
        centre + sin * (centre + dx) - cos * (centre + dy),
    )
    size, affine, bilinear = (SIZE, SIZE), Image.Transform.AFFINE, Image.Resampling.BILINEAR
    article = canvas.image.transform(size, affine, inverse, bilinear)
    alpha = canvas.alpha.transform(size, affine, inverse, bilinear)

    article = Image.merge(
        "RGB",
        [band.point(lambda value, f=f: int(value * f)) for band, f in zip(article.split(), shot.exposure, strict=True)],
    )
    picture = _background(shot)
    small = alpha.resize((IMAGE_SIZE, IMAGE_SIZE)).filter(ImageFilter.GaussianBlur(2.2))
    shadow = Image.new("L", size)
    shadow.paste(small.resize(size), (round(-3 * shot.light * UNIT), round(2.4 * UNIT)))
    picture.paste((48, 46, 52), (0, 0), shadow.point(lambda value: int(value * shot.shadow)))
    picture.paste(article, (0, 0), alpha)
    return picture.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BOX)
