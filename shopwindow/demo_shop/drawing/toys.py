"""Toys."""

from __future__ import annotations

import math
import random

from shopwindow.demo_shop.drawing.canvas import (
    GLASS,
    INK,
    STEEL,
    WHITE,
    Canvas,
    blob,
    box,
    ellipse,
    luminance,
    mix,
    polygon,
    smooth,
    stroke,
    union,
    within,
)


def teddy_bear(c: Canvas, r: random.Random) -> None:
    """Sitting, with round ears, a pale muzzle and belly."""
    ear, head = r.uniform(7.5, 10), r.uniform(19, 22)
    eye = INK if luminance(c.paint.colour) > 60 else WHITE
    for side in (-1, 1):
        c.part(ellipse(50 + side * 16, 15, ear, ear), c.paint.colour, 1.3)
        c.part(ellipse(50 + side * 16, 15.5, ear * 0.55, ear * 0.55), c.pale, 0.8)
        c.body(
            polygon(
                smooth(
                    [
                        (50 + side * 14, 50),
                        (50 + side * 30, 56),
                        (50 + side * 34, 70),
                        (50 + side * 27, 74),
                        (50 + side * 16, 66),
                    ]
                )
            ),
            1.6,
        )
    c.body(ellipse(50, 66, 21, 23), 1.5)
    c.part(ellipse(50, 67, 12.5, 14.5), c.pale, 0.7)
    for side in (-1, 1):
        c.part(ellipse(50 + side * 21, 86, 11, 10), c.paint.colour, 1.5)
        c.part(ellipse(50 + side * 22, 87, 6, 6), c.pale, 0.7)
    c.body(ellipse(50, 30, head, head - 2.5), 1.5)
    c.part(ellipse(50, 36, 9.5, 8), c.pale, 0.8)
    c.part(ellipse(50, 32.5, 3.6, 2.6), INK, 0.3)
    c.part(
        union(
            stroke([(50, 34), (50, 38)], 1, curved=False),
            stroke([(45.5, 38), (48, 40.5), (50, 38), (52, 40.5), (54.5, 38)], 1),
        ),
        INK,
        0,
    )
    for side in (-1, 1):
        c.part(ellipse(50 + side * 8.5, 26.5, 2.4, 2.4), eye, 0.2)
    if r.random() < 0.5:
        bow = r.choice(((200, 40, 50), (50, 90, 180), (250, 200, 70)))
        c.part(
            union(
                polygon([(50, 50), (38, 44), (38, 56)]),
                polygon([(50, 50), (62, 44), (62, 56)]),
                ellipse(50, 50, 3, 3),
            ),
            bow,
            0.9,
        )


def ball(c: Canvas, r: random.Random) -> None:
    """A play ball, gored like a beach ball, or patterned."""
    size = r.uniform(35, 41)
    disc = ellipse(50, 50, size, size)
    c.body(disc, 1.4)
    if c.paint.pattern == "plain":
        turn = r.uniform(0, 1.2)
        px, py = 50 - size * 0.25, 50 - size * 0.35
        for k in range(3):
            start = turn + k * 2.094
            spread = 0.42
            gore = [(px, py)]
            for step in range(7):
                angle = start - spread + 2 * spread * step / 6
                gore.append((50 + 1.2 * size * math.cos(angle), 50 + 1.2 * size * math.sin(angle)))
            c.part(
                within(polygon(gore), disc),
                WHITE if luminance(c.paint.colour) < 215 else mix(c.paint.colour, (150, 160, 176), 0.55),
                0.9,
            )
        c.part(ellipse(px, py, 4.5, 4), c.dark, 0.5)
    c.gloss(ellipse(50 - size * 0.38, 50 - size * 0.45, size * 0.2, size * 0.14), 0.55)


def kite(c: Canvas, r: random.Random) -> None:
    """A diamond with cross spars and a tail of bows."""
    shoulder, wide = r.uniform(26, 31), r.uniform(25, 30)
    tail = [(56, 66), (64, 74), (56, 82), (62, 92)]
    c.part(stroke(tail, 1.4), INK, 0.2)
    for x, y in tail[1:]:
        c.part(
            union(
                polygon([(x, y), (x - 6, y - 3.5), (x - 6, y + 3.5)]),
                polygon([(x, y), (x + 6, y - 3.5), (x + 6, y + 3.5)]),
            ),
            c.dark,
            0.7,
        )
    top, low, left, right = (50, 5), (54, 68), (51 - wide, shoulder + 2), (51 + wide, shoulder)
    diamond = polygon([top, right, low, left])
    c.body(diamond, 1)
    if c.paint.pattern == "plain":
        c.part(within(polygon([top, right, (51, shoulder + 1)]), diamond), c.pale, 0.3)
        c.part(within(polygon([low, left, (51, shoulder + 1)]), diamond), c.dark, 0.3)
    c.seam([top, low], 1.3, 0.55, curved=False)
    c.seam([left, right], 1.3, 0.55, curved=False)


def toy_car(c: Canvas, r: random.Random) -> None:
    """A round little car from the side."""
    roof = r.uniform(28, 34)
    van = r.random() < 0.3
    rear = 12 if van else 26
    cabin = blob(
        [
            (rear, 58),
            (rear, 58),
            (rear + 4, roof + 3),
            (rear + 10, roof),
            (58, roof),
            (66, roof + 4),
            (76, 56),
            (76, 58),
        ]
    )
    c.body(cabin, 1.3)
    c.body(
        blob([(6, 56), (10, 51), (50, 50), (80, 53), (93, 58), (95, 68), (92, 74), (50, 75), (9, 74), (5, 68)]),
        1.4,
    )
    c.part(polygon([(rear + 6, 51), (rear + 9, roof + 6), (46, roof + 6), (46, 51)]), GLASS, 0.8)
    c.part(polygon([(50, 51), (50, roof + 6), (59, roof + 6), (69, 51)]), GLASS, 0.8)
    c.seam([(48, 52), (48, 73)], 1, 0.4, curved=False)
    c.part(ellipse(91.5, 61, 3, 3.4), (255, 236, 160), 0.5)
    c.part(box(4.5, 60, 8, 65, 1), (190, 40, 40), 0.4)
    hub = STEEL if r.random() < 0.6 else (250, 210, 80)
    for x in (26, 74):
        c.part(ellipse(x, 75, 11, 11), INK, 0.8)
        c.part(ellipse(x, 75, 5.5, 5.5), hub, 0.7)


def rubber_duck(c: Canvas, r: random.Random) -> None:
    """A bath duck facing right, with a beak."""
    head = r.uniform(16, 19)
    beak = (
        (240, 130, 40)
        if not (c.paint.colour[0] > 225 and c.paint.colour[2] < 80 and c.paint.colour[1] < 160)
        else (250, 210, 70)
    )
    c.part(blob([(74, 30), (92, 33), (95, 38), (90, 43), (74, 43)]), beak, 1)
    c.body(
        blob(
            [
                (8, 48),
                (20, 58),
                (36, 54),
                (50, 48),
                (70, 50),
                (84, 62),
                (80, 80),
                (62, 90),
                (36, 90),
                (16, 80),
                (8, 64),
            ]
        ),
        1.5,
    )
    c.body(ellipse(63, 33, head, head), 1.5)
    c.body(blob([(26, 64), (40, 60), (54, 66), (52, 76), (38, 80), (26, 74), (20, 66)]), 1.7)
    c.seam([(75, 38.5), (90, 39)], 0.9, 0.3)
    dark_body = luminance(c.paint.colour) < 60
    c.part(ellipse(68, 27, 4, 4.6), WHITE, 0.4)
    c.part(ellipse(69, 27.5, 2.2, 2.8), INK if not dark_body else (20, 20, 24), 0)
    c.gloss(ellipse(55, 24, 4, 3), 0.4)
