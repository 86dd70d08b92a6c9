"""Bags, seen from the front."""

from __future__ import annotations

import random

from shopwindow.demo_shop.drawing.canvas import (
    CREAM,
    GOLD,
    INK,
    LEATHER,
    STEEL,
    Canvas,
    blob,
    box,
    ellipse,
    mirrored,
    polygon,
    stroke,
    union,
    within,
    without,
)


def handbag(c: Canvas, r: random.Random) -> None:
    """A structured bag with a short curved handle."""
    top, low, high, wide = r.uniform(42, 48), r.uniform(82, 88), r.uniform(10, 18), r.uniform(32, 38)
    narrow = wide - r.uniform(2, 9)
    handle = LEATHER if r.random() < 0.35 else c.dark
    c.part(
        stroke(
            [
                (50 - narrow * 0.6, top + 3),
                (50 - narrow * 0.55, high + 8),
                (50, high),
                (50 + narrow * 0.55, high + 8),
                (50 + narrow * 0.6, top + 3),
            ],
            4,
        ),
        handle,
        0.9,
    )
    shape = blob(
        mirrored([(narrow - 3, top), (narrow, top + 2), (wide, low - 8), (wide - 4, low), (wide - 9, low + 0.5)])
    )
    c.body(shape, 1.1)
    if r.random() < 0.6:
        flap = within(
            blob(
                [
                    (14, top - 3),
                    (86, top - 3),
                    (84, top + 10),
                    (68, top + 21),
                    (50, top + 23),
                    (32, top + 21),
                    (16, top + 10),
                ]
            ),
            shape,
        )
        c.body(flap, 1.5)
        c.part(box(46.5, top + 18, 53.5, top + 26, 1.5), GOLD, 0.6)
    else:
        c.seam([(50 - narrow, top + 5), (50 + narrow, top + 5)], 1.2, 0.5, curved=False)
        c.part(box(45, top + 3, 55, top + 8, 1), GOLD, 0.5)
        c.seam([(50 - wide + 4, low - 6), (50 + wide - 4, low - 6)], 0.8, 0.35, curved=False)
    for side in (-1, 1):
        c.part(ellipse(50 + side * narrow * 0.6, top + 4, 2.6, 2.6), GOLD, 0.4)


def backpack(c: Canvas, r: random.Random) -> None:
    """Rounded body, front pocket, zips, shoulder straps at the sides."""
    top, wide = r.uniform(14, 18), r.uniform(26, 29)
    for side in (-1, 1):
        c.part(
            stroke(
                [
                    (50 + side * 16, 26),
                    (50 + side * (wide + 7), 40),
                    (50 + side * (wide + 8), 66),
                    (50 + side * (wide - 2), 84),
                ],
                5,
            ),
            c.dark,
            0.9,
        )
    c.part(stroke([(43, top + 3), (44, top - 6), (56, top - 6), (57, top + 3)], 3), c.dark, 0.6)
    shape = blob(
        mirrored(
            [
                (8, top),
                (wide - 6, top + 4),
                (wide, top + 18),
                (wide + 1, 60),
                (wide, 84),
                (wide - 5, 90),
                (10, 91),
            ]
        )
    )
    c.body(shape, 1.1)
    c.seam(
        [
            (50 - wide + 2, 44),
            (50 - wide + 6, top + 12),
            (50, top + 6),
            (50 + wide - 6, top + 12),
            (50 + wide - 2, 44),
        ],
        1.3,
        0.5,
    )
    pocket_top = r.uniform(54, 59)
    pocket = box(50 - wide + 6, pocket_top, 50 + wide - 6, 86, 6)
    c.body(pocket, 1.5)
    c.part(box(50 - wide + 9, pocket_top + 4.5, 50 + wide - 9, pocket_top + 6.2), STEEL, 0.3)
    c.part(box(62, pocket_top + 4.5, 64.5, pocket_top + 12, 1), INK, 0.3)
    if r.random() < 0.5:
        c.part(box(44, 36, 56, 43, 1), LEATHER if r.random() < 0.6 else c.pale, 0.5)
    if r.random() < 0.4:
        for side in (-1, 1):
            c.part(
                box(50 + side * 11 - 1.8, pocket_top - 7, 50 + side * 11 + 1.8, pocket_top + 14, 0.5),
                LEATHER,
                0.4,
            )


def suitcase(c: Canvas, r: random.Random) -> None:
    """A hard case with a pull-out handle and wheels."""
    wide, top = r.uniform(22, 28), r.uniform(28, 33)
    high = r.uniform(6, 12)
    c.part(
        union(box(38, high, 41, top + 3), box(59, high, 62, top + 3), box(37, high - 2, 63, high + 3, 2)),
        STEEL,
        0.8,
    )
    for side in (-1, 1):
        c.part(ellipse(50 + side * (wide - 6), 92, 4, 4.5), INK, 0.5)
    c.part(stroke([(43, top + 1), (44, top - 3), (56, top - 3), (57, top + 1)], 2.4), c.dark, 0.5)
    shape = box(50 - wide, top, 50 + wide, 90, r.uniform(4, 8))
    c.body(shape, 1.2)
    if r.random() < 0.7 or c.paint.pattern != "plain":
        ribs = 4
        for k in range(ribs):
            x = 50 - wide + (k + 1) * 2 * wide / (ribs + 1)
            c.seam([(x, top + 5), (x, 85)], 1.6, 0.22, curved=False)
    else:
        for y in (48.0, 68.0):
            c.part(box(50 - wide - 0.5, y, 50 + wide + 0.5, y + 4), LEATHER, 0.4)
    for x, y in ((50 - wide, top), (50 + wide, top), (50 - wide, 90), (50 + wide, 90)):
        c.part(within(ellipse(x, y, 7, 7), shape), c.dark, 0.8)
    c.part(box(50 + wide - 4, 54, 50 + wide + 1, 62, 1), STEEL, 0.4)


def tote_bag(c: Canvas, r: random.Random) -> None:
    """A soft open shopper with two long handles."""
    top, wide = r.uniform(42, 48), r.uniform(27, 32)
    high = r.uniform(8, 16)
    handle = r.choice((c.dark, CREAM if sum(c.paint.colour) < 560 else LEATHER, LEATHER))
    loop = [(37, top + 5), (38, high + 12), (44, high), (56, high), (62, high + 12), (63, top + 5)]
    c.part(stroke([(x + 2.5, y + 2.5) for x, y in loop], 3), c.dark, 0.6)
    bag = polygon(mirrored([(wide, top), (wide + r.uniform(-1, 3), 90)]))
    c.part(within(ellipse(50, top, wide, 3), box(0, 0, 100, top)), c.dark, 0.6)
    c.body(bag, 1.1)
    c.part(without(stroke(loop, 3.4), box(0, top + 14, 100, 100)), handle, 0.6)
    for end in (37, 63):
        c.part(box(end - 2.2, top + 2, end + 2.2, top + 14), handle, 0.6)
    c.seam([(50 - wide, top + 3), (50 + wide, top + 3)], 0.8, 0.35, curved=False)
    c.seam([(50 - wide + 6, 60), (50 - wide + 8, 74), (50 - wide + 5, 88)], 1, 0.18)
    c.seam([(50 + wide - 7, 56), (50 + wide - 9, 72), (50 + wide - 5, 88)], 1, 0.18)
