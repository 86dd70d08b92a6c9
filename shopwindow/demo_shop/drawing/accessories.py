"""Accessories: for head, neck, wrist and eyes, and an umbrella."""

from __future__ import annotations

import math
import random

from shopwindow.demo_shop.drawing.canvas import (
    CREAM,
    GOLD,
    INK,
    LEATHER,
    STEEL,
    WHITE,
    Canvas,
    blob,
    box,
    ellipse,
    mix,
    polygon,
    ring,
    smooth,
    stroke,
    union,
    within,
    without,
)


def cap(c: Canvas, r: random.Random) -> None:
    """A baseball cap, the peak to the right."""
    height = r.uniform(20, 27)
    dome = within(
        blob(
            [
                (14, 64),
                (16, 48),
                (26, 64 - height - 4),
                (42, 64 - height - 9),
                (58, 64 - height - 3),
                (68, 50),
                (70, 66),
                (42, 70),
            ]
        ),
        box(0, 0, 100, 66),
    )
    c.body(dome, 1.2)
    top = 64 - height - 8
    c.seam([(41, top), (30, 48), (28, 66)], 0.9, 0.4)
    c.seam([(42, top), (54, 46), (58, 66)], 0.9, 0.4)
    c.part(ellipse(41.5, top - 0.5, 3, 2), c.dark, 0.5)
    reach = r.uniform(90, 95)
    peak = blob(
        [
            (44, 64),
            (56, 60),
            (70, 59),
            (reach - 8, 63),
            (reach, 69),
            (reach, 69),
            (reach - 9, 69),
            (68, 66.5),
            (46, 67),
        ]
    )
    same = c.paint.pattern != "plain" or r.random() < 0.6
    c.part(peak, c.dark if same else r.choice((INK, WHITE, (190, 40, 44))), 1)
    if r.random() < 0.5:
        c.part(ellipse(47, 50, 6, 6), WHITE if sum(c.paint.colour) < 560 else INK, 0.3)
        c.part(polygon([(44, 53), (47, 46), (50, 53)]), c.paint.colour, 0.1)


def sun_hat(c: Canvas, r: random.Random) -> None:
    """A hat with a wide brim, a round crown and a ribbon."""
    wide, crown = r.uniform(39, 44), r.uniform(17, 21)
    high = r.uniform(31, 38)
    c.body(ellipse(50, 66, wide, r.uniform(14, 18)), 1.2)
    c.part(ring(50, 66, wide - 2.5, 12.5, 1.2), c.dark, 0.1, 0.5)
    c.part(ellipse(50, 65, crown + 5, 7), c.dark, 0.8)
    dome = blob(
        [
            (50 - crown - 1, 66),
            (50 - crown, 50),
            (50 - crown + 5, high + 4),
            (50, high),
            (50 + crown - 5, high + 4),
            (50 + crown, 50),
            (50 + crown + 1, 66),
            (50, 71),
        ]
    )
    c.body(dome, 1.2)
    ribbon = r.choice((INK, (150, 40, 50), WHITE, (40, 60, 120)))
    if sum(abs(a - b) for a, b in zip(ribbon, c.paint.colour, strict=True)) < 150:
        ribbon = CREAM if sum(c.paint.colour) < 400 else LEATHER
    c.part(within(stroke([(50 - crown - 2, 58), (50, 64), (50 + crown + 2, 58)], 7), dome), ribbon, 0.7)
    if r.random() < 0.5:
        knot = 50 + crown - 3
        c.part(
            union(
                polygon([(knot, 61), (knot + 11, 54), (knot + 10, 66)]),
                polygon([(knot, 61), (knot - 10, 55), (knot - 9, 67)]),
            ),
            ribbon,
            0.8,
        )


def beanie(c: Canvas, r: random.Random) -> None:
    """A knitted hat with a turned-up edge, often a bobble."""
    high = r.uniform(20, 28)
    dome = blob([(22, 74), (23, 54), (30, high + 10), (50, high), (70, high + 10), (77, 54), (78, 74)])
    if r.random() < 0.65:
        size = r.uniform(8, 11)
        bobble = [
            (
                50 + (size + (1.6 if k % 2 else -0.8)) * math.cos(k * 0.393),
                high - 4 + (size + (1.6 if k % 2 else -0.8)) * math.sin(k * 0.393),
            )
            for k in range(16)
        ]
        c.part(blob(bobble), r.choice((WHITE, c.pale, c.dark)), 1.2)
    c.body(dome, 1.2)
    for k in (-3, -2, -1, 0, 1, 2, 3):
        c.seam([(50 + k * 3.4, high + 4 + abs(k) * 2), (50 + k * 7.4, 46), (50 + k * 7.8, 66)], 0.9, 0.25)
    c.part(box(19, 60, 81, 79, 5), c.dark, 1)
    for k in range(-6, 7):
        c.seam([(50 + k * 4.6, 62), (50 + k * 4.6, 77)], 0.9, 0.3, curved=False)


def scarf(c: Canvas, r: random.Random) -> None:
    """A scarf wound once, with two fringed ends hanging down."""
    width = r.uniform(8, 10)
    left, right = r.uniform(74, 80), r.uniform(80, 86)
    fringe = c.dark if c.paint.pattern == "plain" else c.paint.contrast
    for x, low, lean in ((54, right, 6), (40, left, -4)):
        for k in range(5):
            at = x + lean - width + 1.5 + k * (2 * width - 3) / 4
            c.part(stroke([(at, low - 1), (at + lean * 0.1, low + 8)], 1.6, curved=False), fringe, 0.3)
        c.body(
            polygon(
                smooth(
                    [
                        (x - width, 34),
                        (x + width, 34),
                        (x + width, 34),
                        (x + lean + width, low),
                        (x + lean + width, low),
                        (x + lean - width, low),
                        (x + lean - width, low),
                    ]
                )
            ),
            1.4,
        )
        c.seam([(x, 44), (x + lean * 0.8, low - 4)], 0.9, 0.2, curved=False)
    loop = without(ellipse(50, 30, 31, 20), ellipse(50, 23, 15, 8))
    c.body(loop, 1.5)
    c.part(within(ellipse(50, 23, 15, 8), box(0, 0, 100, 100)), mix(c.dark, (0, 0, 0), 0.35), 0.6)
    c.seam([(23, 30), (36, 41), (56, 44), (76, 34)], 1, 0.3)
    c.seam([(26, 23), (36, 35), (52, 38), (72, 27)], 1, 0.22)


def umbrella(c: Canvas, r: random.Random) -> None:
    """An open umbrella with a hooked handle."""
    top, edge = r.uniform(14, 19), r.uniform(50, 55)
    handle = r.choice((LEATHER, INK, LEATHER))
    c.part(stroke([(50, top - 6), (50, 82)], 2, curved=False), STEEL, 0.4)
    c.part(stroke([(50, 78), (50, 87), (46, 92), (40, 91), (38, 85)], 3.6), handle, 0.6)
    dome = [
        (50 - 42 * math.cos(k * math.pi / 24), edge - (edge - top) * math.sin(k * math.pi / 24) ** 0.9)
        for k in range(25)
    ]
    canopy = polygon([*dome, (92, edge + 1), (8, edge + 1)])
    for k in range(4):
        canopy = without(canopy, ellipse(8 + 10.5 + 21 * k, edge + 2.5, 10, 5.5))
    c.body(canopy, 1.2)
    for x in (29, 50, 71):
        c.seam([(50, top), (50 + (x - 50) * 0.8, (top + edge) / 2 - 4), (x, edge)], 1, 0.4)
    c.part(ellipse(50, top - 1, 2.2, 2.2), handle, 0.4)


def sunglasses(c: Canvas, r: random.Random) -> None:
    """Dark lenses in a coloured frame."""
    shape, thick = r.choice(("round", "square", "cat")), r.uniform(4, 5.5)
    for side in (-1, 1):
        c.part(
            stroke([(50 + side * 40, 44), (50 + side * 45, 38), (50 + side * 38, 30), (50 + side * 30, 28)], 4),
            c.dark,
            0.8,
        )
    lenses, frames = [], []
    for side in (-1, 1):
        x = 50 + side * 22.5
        if shape == "round":
            frames.append(ellipse(x, 53, 19, 18))
            lenses.append(ellipse(x, 53, 19 - thick, 18 - thick))
        elif shape == "square":
            frames.append(box(x - 19.5, 39, x + 19.5, 68, 7))
            lenses.append(box(x - 19.5 + thick, 39 + thick, x + 19.5 - thick, 68 - thick, 5))
        else:
            outer = [
                (x + side * dx, y) for dx, y in ((-17, 42), (4, 38), (23, 33), (20, 55), (8, 68), (-9, 66), (-17, 55))
            ]
            frames.append(blob(outer))
            lenses.append(blob([(x + (px - x) * 0.74, 52 + (py - 52) * 0.72) for px, py in outer]))
    frames.append(stroke([(44, 49), (50, 46), (56, 49)], thick))
    c.body(union(*frames), 0.9)
    tint = r.choice(((40, 42, 50), (64, 48, 38), (44, 58, 54)))
    c.part(union(*lenses), tint, 0.8)
    for side in (-1, 1):
        x = 50 + side * 22.5
        c.gloss(within(stroke([(x - 9, 60), (x + 3, 44)], 4, curved=False), union(*lenses)), 0.4)


def watch(c: Canvas, r: random.Random) -> None:
    """A wrist watch lying flat; the strap has the colour."""
    size, width = r.uniform(21, 24), r.uniform(12, 14)
    strap = polygon(
        [
            (50 - width + 3, 5),
            (50 + width - 3, 5),
            (50 + width, 35),
            (50 + width, 65),
            (50 + width - 3, 95),
            (50 - width + 3, 95),
            (50 - width, 65),
            (50 - width, 35),
        ]
    )
    c.body(strap, 1.2)
    c.part(union(box(50 - width + 2, 8, 50 + width - 2, 10.5)), c.dark, 0.3)
    for y in (80, 85, 90):
        c.part(ellipse(50, y, 1.2, 1.2), INK if sum(c.paint.colour) > 200 else STEEL, 0.1)
    metal = r.choice((STEEL, GOLD, STEEL))
    c.part(box(50 + size - 1, 47, 50 + size + 4, 53, 1), metal, 0.6)
    square = r.random() < 0.25
    case = box(50 - size, 50 - size, 50 + size, 50 + size, 7) if square else ellipse(50, 50, size, size)
    dial = box(53 - size, 53 - size, 47 + size, 47 + size, 5) if square else ellipse(50, 50, size - 3.2, size - 3.2)
    face = r.choice((WHITE, WHITE, (38, 42, 56)))
    c.part(case, metal, 1.1)
    c.part(dial, face, 0.5)
    hand = INK if face == WHITE else WHITE
    for k in range(12):
        angle = k * math.pi / 6
        reach = size - 5.2
        tick = 3.4 if k % 3 == 0 else 1.8
        c.part(
            stroke(
                [
                    (50 + reach * math.sin(angle), 50 - reach * math.cos(angle)),
                    (50 + (reach - tick) * math.sin(angle), 50 - (reach - tick) * math.cos(angle)),
                ],
                1.2,
                curved=False,
            ),
            hand,
            0,
        )
    c.part(
        union(
            stroke([(50, 50), (43.5, 41)], 2, curved=False),
            stroke([(50, 50), (61, 43.5)], 1.6, curved=False),
            ellipse(50, 50, 2, 2),
        ),
        hand,
        0,
    )


def tie(c: Canvas, r: random.Random) -> None:
    """A necktie with its knot."""
    width = r.uniform(10, 15)
    c.part(stroke([(44, 12), (32, 5), (50, 3), (68, 5), (56, 12)], 4.5), c.dark, 0.9)
    blade = polygon([(46.5, 20), (53.5, 20), (50 + width, 80), (50, 95), (50 - width, 80)])
    c.body(blade, 1.2)
    c.body(polygon([(42, 8), (58, 8), (54.5, 22), (45.5, 22)]), 1.7)
    c.seam([(45.5, 22), (54.5, 22)], 1.4, 0.5, curved=False)
    c.seam([(49, 24), (48.5, 40)], 0.8, 0.3, curved=False)
