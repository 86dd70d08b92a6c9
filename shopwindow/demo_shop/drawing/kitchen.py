"""Kitchen and table things, seen from the side; plate and pan from above."""

from __future__ import annotations

import math
import random

from shopwindow.demo_shop.drawing.canvas import (
    GLASS,
    INK,
    STEEL,
    WHITE,
    WOOD,
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


def mug(c: Canvas, r: random.Random) -> None:
    """A cup with a handle, something dark in it."""
    top, low, wide = r.uniform(24, 31), r.uniform(80, 86), r.uniform(24, 28)
    taper = r.choice((0, 0, 4, 7))
    x = 43
    mid = (top + low) / 2
    if r.random() < 0.5:
        handle = ring(x + wide, mid - 1, 17, 16, 5.5)
    else:
        handle = without(
            box(x + 8, mid - 17, x + wide + 17, mid + 15, 8),
            box(x + 8, mid - 11.5, x + wide + 11.5, mid + 9.5, 5),
        )
    c.part(without(handle, box(0, 0, x + wide - 4, 100)), c.paint.colour, 1.3)
    body = union(
        polygon([(x - wide, top), (x + wide, top), (x + wide - taper, low - 3), (x - wide + taper, low - 3)]),
        ellipse(x, low - 3, wide - taper, 5),
    )
    c.body(body, 1.3)
    c.part(ellipse(x, top, wide, 6), c.pale, 0.7)
    c.part(ellipse(x, top + 1, wide - 3, 4.2), r.choice(((86, 52, 30), (120, 66, 30), (190, 150, 110))), 0.4)
    c.gloss(stroke([(x - wide * 0.7, top + 12), (x - (wide - taper) * 0.7, low - 14)], 3.5, curved=False), 0.4)


def teapot(c: Canvas, r: random.Random) -> None:
    """Round belly, spout to the left, handle to the right, a lid with a knob."""
    belly, y = r.uniform(24, 27), 60
    tall = r.uniform(20, 25)
    c.part(stroke([(68, 46), (84, 42), (92, 54), (86, 68), (70, 72)], 5), c.paint.colour, 1.2)
    c.body(
        polygon(
            smooth(
                [
                    (32, 54),
                    (20, 50),
                    (13, 38),
                    (7, 35),
                    (7, 35),
                    (4, 39),
                    (4, 39),
                    (9, 46),
                    (14, 62),
                    (30, 74),
                ]
            )
        ),
        1.3,
    )
    c.part(box(38, y + tall - 5, 62, y + tall + 3, 2), c.dark, 0.8)
    c.body(ellipse(50, y, belly, tall), 1.4)
    top = y - tall
    c.part(within(ellipse(50, top + 6, 15, 8), box(0, 0, 100, top + 7)), c.dark, 1)
    c.seam([(35, top + 7), (50, top + 10), (65, top + 7)], 1.1, 0.4)
    c.part(ellipse(50, top - 4, 4, 4), r.choice((c.dark, WOOD)), 0.9)
    c.gloss(ellipse(40, y - 9, 4.5, 6.5), 0.45)


def wine_glass(c: Canvas, r: random.Random) -> None:
    """A stemmed glass of tinted glass."""
    top, wide = r.uniform(8, 13), r.uniform(17, 22)
    bottom = r.uniform(50, 56)
    bowl = blob(
        [
            (50 - wide + 3, top),
            (50 - wide + 3, top),
            (50 + wide - 3, top),
            (50 + wide - 3, top),
            (50 + wide, top + 18),
            (50 + wide * 0.72, bottom - 8),
            (50, bottom),
            (50 - wide * 0.72, bottom - 8),
            (50 - wide, top + 18),
        ]
    )
    c.part(ellipse(50, 90, r.uniform(16, 19), 4.5), c.paint.colour, 1.1)
    c.part(
        polygon([(48.6, bottom - 2), (51.4, bottom - 2), (51.6, 84), (56, 90), (44, 90), (48.4, 84)]),
        c.paint.colour,
        0.9,
    )
    c.body(bowl, 1.3)
    c.part(ellipse(50, top, wide - 3, 3.6), mix(c.pale, GLASS, 0.4), 0.8)
    c.gloss(
        stroke([(50 - wide * 0.66, top + 10), (50 - wide * 0.7, top + 20), (50 - wide * 0.5, bottom - 12)], 3),
        0.65,
    )
    c.gloss(stroke([(50 + wide * 0.62, top + 8), (50 + wide * 0.7, top + 18)], 1.6), 0.5)


def water_bottle(c: Canvas, r: random.Random) -> None:
    """A drinking bottle with a screw cap and a loop."""
    wide, shoulder = r.uniform(14, 18), r.uniform(30, 36)
    lid = r.choice((INK, STEEL, WOOD)) if sum(c.paint.colour) > 160 else r.choice((STEEL, WOOD))
    c.body(
        blob(
            [
                (50 - wide, 92),
                (50 - wide, 92),
                (50 - wide, shoulder + 4),
                (42, shoulder - 8),
                (42, shoulder - 10),
                (58, shoulder - 10),
                (58, shoulder - 8),
                (50 + wide, shoulder + 4),
                (50 + wide, 92),
                (50 + wide, 92),
            ]
        ),
        1.4,
    )
    if r.random() < 0.6:
        c.part(without(ellipse(50, shoulder - 20, 9, 8), ellipse(50, shoulder - 20, 5.5, 4.5)), lid, 0.6)
    c.part(box(40.5, shoulder - 19, 59.5, shoulder - 9, 2), lid, 0.9)
    for k in range(4):
        c.seam([(44 + k * 4, shoulder - 17), (44 + k * 4, shoulder - 11)], 0.7, 0.3, curved=False)
    c.part(box(50 - wide, 87, 50 + wide, 92, 1), c.dark, 0.7)
    c.gloss(stroke([(50 - wide * 0.62, shoulder + 8), (50 - wide * 0.62, 82)], 3, curved=False), 0.45)


def frying_pan(c: Canvas, r: random.Random) -> None:
    """From above, the handle to the lower right."""
    size = r.uniform(27, 31)
    handle = r.choice((INK, WOOD, INK)) if sum(c.paint.colour) > 160 else WOOD
    x, y = 40, 42
    ux = math.sqrt(0.5)
    start, end = size * ux, size * ux + r.uniform(22, 26)
    c.part(stroke([(x + start - 2, y + start - 2), (x + start + 7, y + start + 7)], 5, curved=False), STEEL, 0.6)
    c.part(stroke([(x + start + 6, y + start + 6), (x + end, y + end)], 7.5, curved=False), handle, 1)
    c.part(ellipse(x + end - 1, y + end - 1, 1.8, 1.8), WHITE, 0.2)
    c.body(ellipse(x, y, size, size), 1.2)
    inner = ellipse(x, y, size - 6, size - 6)
    c.part(inner, mix(c.paint.colour, (0, 0, 0), 0.12), 0.5)
    c.body(ellipse(x, y, size - 8.5, size - 8.5), 0.5)
    c.gloss(
        within(
            stroke([(x - size * 0.55, y - 4), (x - size * 0.35, y - size * 0.4), (x, y - size * 0.58)], 3.4),
            inner,
        ),
        0.35,
    )


def cooking_pot(c: Canvas, r: random.Random) -> None:
    """A lidded pot with two side handles."""
    wide, top, low = r.uniform(30, 34), r.uniform(42, 48), r.uniform(80, 85)
    grip = r.choice((INK, STEEL)) if sum(c.paint.colour) > 160 else STEEL
    for side in (-1, 1):
        c.part(
            stroke(
                [
                    (50 + side * (wide - 2), top + 9),
                    (50 + side * (wide + 9), top + 9),
                    (50 + side * (wide + 9), top + 17),
                    (50 + side * (wide - 2), top + 17),
                ],
                3.6,
            ),
            c.dark,
            0.8,
        )
    c.body(box(50 - wide, top - 2, 50 + wide, low, 7), 1.4)
    c.part(
        within(
            blob(
                [
                    (50 - wide - 1, top + 1),
                    (50 - wide + 8, top - 10),
                    (50, top - 16),
                    (50 + wide - 8, top - 10),
                    (50 + wide + 1, top + 1),
                    (50, top + 5),
                ]
            ),
            box(0, 0, 100, top + 1),
        ),
        c.paint.colour,
        1.3,
    )
    c.part(box(50 - wide - 2, top - 1.5, 50 + wide + 2, top + 2.5, 1.5), STEEL, 0.6)
    c.part(union(box(48, top - 20, 52, top - 13), box(43, top - 23, 57, top - 18, 2.2)), grip, 0.8)
    c.gloss(stroke([(50 - wide * 0.7, top + 9), (50 - wide * 0.7, low - 9)], 4, curved=False), 0.4)


def plate(c: Canvas, r: random.Random) -> None:
    """A dinner plate from above, between a fork and a knife."""
    size = r.uniform(30, 32)
    c.body(ellipse(50, 50, size, size), 0.9)
    well = size - r.uniform(8, 10)
    c.part(ring(50, 50, well + 1.2, well + 1.2, 2.2), c.dark, 0.3)
    c.body(ellipse(50, 50, well - 0.6, well - 0.6), 0.7)
    c.gloss(stroke([(50 - size * 0.6, 44), (50 - size * 0.42, 34), (46, 50 - size * 0.62)], 2.5), 0.4)
    c.part(
        union(
            box(7.5, 40, 10.5, 84, 1.4),
            box(4.5, 32, 13.5, 42, 3),
            box(4.5, 18, 6.3, 36),
            box(8.1, 18, 9.9, 36),
            box(11.7, 18, 13.5, 36),
        ),
        STEEL,
        0.7,
    )
    c.part(
        union(
            box(89.5, 50, 92.5, 84, 1.4),
            blob([(89, 17), (89, 17), (95, 24), (95.5, 44), (92.5, 53), (89, 53), (89, 53)]),
        ),
        STEEL,
        0.7,
    )
