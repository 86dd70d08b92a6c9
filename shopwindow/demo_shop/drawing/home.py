"""Home decor."""

from __future__ import annotations

import math
import random

from shopwindow.demo_shop.drawing.canvas import (
    CREAM,
    GOLD,
    INK,
    STEEL,
    WHITE,
    WOOD,
    Canvas,
    blob,
    box,
    ellipse,
    polygon,
    stroke,
    union,
)


def lamp(c: Canvas, r: random.Random) -> None:
    """A table lamp; the shade has the colour."""
    top, low, narrow, wide = r.uniform(8, 13), r.uniform(44, 50), r.uniform(13, 19), r.uniform(28, 33)
    stand = r.choice((GOLD, STEEL, WOOD, INK))
    c.part(box(48.4, low - 2, 51.6, 88), stand, 0.7)
    if r.random() < 0.6:
        c.part(
            blob([(46, low + 4), (54, low + 4), (60, low + 20), (56, 84), (44, 84), (40, low + 20)]),
            stand,
            1.3,
        )
    c.part(union(ellipse(50, 89, 18, 4.5), box(44, 82, 56, 89)), stand, 1)
    c.part(ellipse(50, low, wide, 4), (255, 236, 178), 0.4)
    c.body(polygon([(50 - narrow, top), (50 + narrow, top), (50 + wide, low), (50 - wide, low)]), 1.2)
    c.part(ellipse(50, top, narrow, 2.4), c.pale, 0.4)
    c.gloss(ellipse(50, low - 8, wide * 0.5, 7), 0.25)


def vase(c: Canvas, r: random.Random) -> None:
    """A vase with two or three flowers."""
    belly, neck, top = r.uniform(19, 25), r.uniform(7, 11), r.uniform(36, 42)
    middle = r.uniform(62, 72)
    for x, y in ((50, 14), (34, 21), (66, 20))[: r.choice((0, 2, 3))]:
        c.part(stroke([(50, top + 4), (50 + (x - 50) * 0.5, (y + top) / 2), (x, y)], 1.6), (70, 120, 66), 0.3)
        petal = r.choice(((236, 180, 196), WHITE, (244, 214, 120)))
        for k in range(6):
            c.part(ellipse(x + 4.2 * math.cos(k * 1.047), y + 4.2 * math.sin(k * 1.047), 3.2, 3.2), petal, 0.6)
        c.part(ellipse(x, y, 2.6, 2.6), (206, 150, 50), 0.3)
    lip = neck + r.uniform(1, 4)
    c.body(
        blob(
            [
                (50 - lip, top),
                (50 - lip, top),
                (50 + lip, top),
                (50 + lip, top),
                (50 + neck, top + 9),
                (50 + belly, middle),
                (50 + belly * 0.62, 92),
                (50 + belly * 0.5, 93),
                (50 - belly * 0.5, 93),
                (50 - belly * 0.62, 92),
                (50 - belly, middle),
                (50 - neck, top + 9),
            ]
        ),
        1.4,
    )
    c.part(ellipse(50, top, lip, 2.2), c.dark, 0.6)
    c.gloss(ellipse(50 - belly * 0.5, middle - 4, 3, 8), 0.45)


def cushion(c: Canvas, r: random.Random) -> None:
    """A square cushion, its corners pulled out."""
    bulge, edge = r.uniform(2, 5), r.uniform(34, 38)
    low, high = 50 - edge, 50 + edge
    outline = blob(
        [
            (low - 2, low - 2),
            (50, low + bulge),
            (high + 2, low - 2),
            (high - bulge, 50),
            (high + 2, high + 2),
            (50, high - bulge),
            (low - 2, high + 2),
            (low + bulge, 50),
        ]
    )
    if r.random() < 0.35:
        for x in (low - 2, high + 2):
            for y in (low - 2, high + 2):
                c.part(ellipse(x, y, 4, 4), CREAM if sum(c.paint.colour) < 560 else c.dark, 0.8)
    c.body(outline, 1.7)
    c.seam([(low + 2, low + 2), (low + 8, low + 13)], 1, 0.25)
    c.seam([(high - 2, low + 2), (high - 9, low + 12)], 1, 0.25)
    c.seam([(low + 2, high - 2), (low + 9, high - 12)], 1, 0.25)
    c.seam([(high - 2, high - 2), (high - 8, high - 13)], 1, 0.25)
    if r.random() < 0.4:
        c.part(ellipse(50, 50, 2.6, 2.6), c.dark, 0.8)


def wall_clock(c: Canvas, r: random.Random) -> None:
    """A round clock; rim and dial have the colour."""
    size = r.uniform(36, 41)
    c.part(ellipse(50, 50, size, size), c.dark, 1.2)
    c.body(ellipse(50, 50, size - 4.5, size - 4.5), 0.8)
    mark = INK if sum(c.paint.colour) > 330 else WHITE
    for k in range(12):
        angle, reach, long = k * math.pi / 6, size - 8.5, 6 if k % 3 == 0 else 3
        outer = (50 + reach * math.sin(angle), 50 - reach * math.cos(angle))
        inner = (50 + (reach - long) * math.sin(angle), 50 - (reach - long) * math.cos(angle))
        c.part(stroke([outer, inner], 2.4 if k % 3 == 0 else 1.6, curved=False), mark, 0)
    hour, minute = r.choice(((-0.95, 0.95), (1.0, -0.9), (2.4, 0.3)))
    c.part(
        union(
            stroke([(50, 50), (50 + 15 * math.sin(hour), 50 - 15 * math.cos(hour))], 3.4, curved=False),
            stroke([(50, 50), (50 + 24 * math.sin(minute), 50 - 24 * math.cos(minute))], 2.4, curved=False),
            ellipse(50, 50, 3, 3),
        ),
        mark,
        0,
    )
