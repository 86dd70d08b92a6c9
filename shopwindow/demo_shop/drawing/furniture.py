"""Furniture, seen from the front."""

from __future__ import annotations

import random

from shopwindow.demo_shop.drawing.canvas import (
    INK,
    STEEL,
    WOOD,
    Canvas,
    blob,
    box,
    ellipse,
    mix,
    polygon,
    stroke,
    union,
    within,
)


def _leg_colour(c: Canvas, r: random.Random) -> tuple[int, int, int]:
    dark_wood = (92, 62, 40)
    return r.choice((WOOD, dark_wood, INK)) if sum(c.paint.colour) > 160 else WOOD


def chair(c: Canvas, r: random.Random) -> None:
    """A dining chair, three-quarter view: back, seat, four legs."""
    leg = c.paint.colour if r.random() < 0.3 else _leg_colour(c, r)
    top = r.uniform(8, 14)
    c.part(
        union(stroke([(38, 62), (37, 84)], 3.2, curved=False), stroke([(73, 60), (74, 82)], 3.2, curved=False)),
        mix(leg, (0, 0, 0), 0.25),
        0.7,
    )
    c.part(
        union(stroke([(29, 64), (25, 94)], 4, curved=False), stroke([(67, 68), (68, 95)], 4, curved=False)),
        leg,
        0.8,
    )
    if r.random() < 0.45:
        c.part(
            union(
                stroke([(32, 60), (29, top + 2)], 4, curved=False),
                stroke([(71, 58), (73, top + 2)], 4, curved=False),
            ),
            c.paint.colour,
            0.9,
        )
        for y in (top + 2, top + 15, top + 28):
            c.body(stroke([(30, y), (51, y - 2), (72, y)], 6.5), 0.9)
    else:
        c.body(
            blob(
                [
                    (29, top + 3),
                    (50, top - 2),
                    (73, top + 3),
                    (74, 34),
                    (71, 56),
                    (52, 58),
                    (32, 58),
                    (28, 34),
                ]
            ),
            1.3,
        )
    c.body(blob([(31, 55), (31, 55), (72, 53), (72, 53), (76, 64), (70, 69), (28, 67), (23, 62)]), 1.3)
    c.seam([(25, 63), (48, 66), (74, 65)], 1, 0.35)


def armchair(c: Canvas, r: random.Random) -> None:
    """Upholstered, with a back, two arms and a seat cushion."""
    top, leg = r.uniform(12, 22), _leg_colour(c, r)
    for x in (24, 76):
        c.part(polygon([(x - 3, 84), (x + 3, 84), (x + 1.6, 95), (x - 1.6, 95)]), leg, 0.6)
    c.body(
        blob(
            [
                (26, top + 6),
                (34, top),
                (50, top - 2),
                (66, top),
                (74, top + 6),
                (76, 40),
                (74, 66),
                (26, 66),
                (24, 40),
            ]
        ),
        1.3,
    )
    if r.random() < 0.5 and c.paint.pattern == "plain":
        for x, y in ((40, top + 14), (60, top + 14), (50, top + 24), (40, top + 34), (60, top + 34)):
            c.part(ellipse(x, y, 1.3, 1.3), c.dark, 0.3)
    c.body(box(24, 56, 76, 72, 5), 1.6)
    c.body(box(20, 68, 80, 86, 3), 1.4)
    arm = r.uniform(44, 50)
    for side in (-1, 1):
        x = 50 + side * 34
        c.body(box(x - 8.5, arm, x + 8.5, 87, 7), 1.7)


def sofa(c: Canvas, r: random.Random) -> None:
    """Two or three seats wide."""
    seats, top, leg = r.choice((2, 3)), r.uniform(28, 34), _leg_colour(c, r)
    for x in (14, 86):
        c.part(box(x - 2, 76, x + 2, 84), leg, 0.5)
    width = 72 / seats
    for k in range(seats):
        c.body(box(14 + k * width, top, 14 + (k + 1) * width, 62, 5), 1.4)
    for k in range(seats):
        c.body(box(14 + k * width, 53, 14 + (k + 1) * width, 66, 4), 1.7)
    c.body(box(10, 65, 90, 78, 2), 1.3)
    for side in (-1, 1):
        x = 50 + side * 40
        c.body(box(x - 7, top + 12, x + 7, 79, 6), 1.7)


def table(c: Canvas, r: random.Random) -> None:
    """A top seen slightly from above, on four legs or a pedestal."""
    y = r.uniform(34, 42)
    if r.random() < 0.4:
        c.part(union(box(46, y, 54, 84), ellipse(50, 87, 20, 5)), c.dark, 1.1)
        c.part(ellipse(50, y + 4, 42, 13), c.dark, 1)
        c.body(ellipse(50, y, 42, 13), 0.9)
    else:
        c.part(union(box(22, y, 26, y + 34), box(74, y, 78, y + 34)), mix(c.dark, (0, 0, 0), 0.3), 0.8)
        c.part(
            union(
                polygon([(9, y + 8), (15, y + 8), (14, 92), (10.5, 92)]),
                polygon([(85, y + 8), (91, y + 8), (89.5, 92), (86, 92)]),
            ),
            c.dark,
            0.9,
        )
        c.part(polygon([(6, y + 9), (94, y + 9), (94, y + 15), (6, y + 15)]), c.dark, 0.8)
        c.body(polygon([(20, y - 11), (80, y - 11), (95, y + 9), (5, y + 9)]), 0.9)
        if r.random() < 0.5:
            c.part(box(36, y + 15, 64, y + 23), c.paint.colour, 1.2)
            c.part(ellipse(50, y + 19, 1.8, 1.8), STEEL, 0.4)


def bookshelf(c: Canvas, r: random.Random) -> None:
    """An open case with shelves, books and a few objects."""
    shelves, wide = r.choice((3, 4)), r.uniform(26, 33)
    c.body(box(50 - wide, 6, 50 + wide, 94, 1), 0.9)
    inner = box(50 - wide + 5, 11, 50 + wide - 5, 89)
    c.part(inner, mix(c.paint.colour, (20, 16, 14), 0.5), 0.9)
    pitch = 78 / shelves
    books = (
        (172, 60, 56),
        (60, 96, 150),
        (226, 214, 186),
        (74, 120, 86),
        (214, 168, 74),
        (96, 76, 120),
        (236, 236, 232),
    )
    for k in range(shelves):
        floor = 11 + (k + 1) * pitch
        x = 50 - wide + 6.5
        end = 50 + wide - 6 - r.choice((0, 9, 16))
        while x < end - 4:
            thick, high = r.uniform(3, 5), pitch * r.uniform(0.55, 0.78)
            c.part(box(x, floor - high, x + thick - 0.5, floor - 1.5), r.choice(books), 0.5)
            x += thick
        c.body(within(box(50 - wide + 3, floor - 2.2, 50 + wide - 3, floor + 2.2), box(0, 6, 100, 94)), 0.7)
