"""Electronics; the casing has the colour."""

from __future__ import annotations

import random

from shopwindow.demo_shop.drawing.canvas import (
    INK,
    STEEL,
    Canvas,
    blob,
    box,
    ellipse,
    mix,
    polygon,
    ring,
    stroke,
    union,
    within,
)

SCREENS = ((70, 130, 200), (120, 90, 170), (60, 150, 140), (220, 140, 90))


def headphones(c: Canvas, r: random.Random) -> None:
    """Over-ear headphones from the front."""
    top, thick = r.uniform(10, 15), r.uniform(6, 8.5)
    c.body(stroke([(20, 64), (19, 42), (30, top + 9), (50, top), (70, top + 9), (81, 42), (80, 64)], thick), 1.2)
    c.part(within(stroke([(33, top + 9), (50, top + 3.2), (67, top + 9)], 3.5), c.alpha), c.dark, 0.4)
    tall = r.uniform(16, 19)
    for side in (-1, 1):
        x = 50 + side * 30
        c.part(
            box(x - side * 7 - 6, 66 - tall + 2, x - side * 7 + 6, 66 + tall - 2, 6),
            INK if sum(c.paint.colour) > 160 else (96, 98, 104),
            1,
        )
        c.body(box(x - 7.5 + side * 3, 66 - tall, x + 7.5 + side * 3, 66 + tall, 7), 1.5)
        c.gloss(stroke([(x + side * 3 - 2.5, 58), (x + side * 3 - 2.5, 72)], 2, curved=False), 0.4)


def phone(c: Canvas, r: random.Random) -> None:
    """Back and front of a mobile phone, overlapping."""
    c.body(box(16, 7, 60, 93, 7), 0.9)
    lenses = r.choice((1, 2, 3))
    c.part(box(20, 11, 36, 16 + 10 * lenses, 5), c.dark, 0.8)
    for k in range(lenses):
        c.part(ellipse(28, 18.5 + 10 * k, 4.4, 4.4), INK, 0.6)
        c.part(ellipse(27, 17.5 + 10 * k, 1.3, 1.3), (130, 150, 190), 0)
    c.part(box(47, 19, 88, 97, 7), c.paint.colour, 1.2)
    c.part(box(49, 21, 86, 95, 5.5), (24, 24, 30), 0.3)
    glow = r.choice(SCREENS)
    c.part(box(51, 23.5, 84, 92.5, 4), glow, 0.4)
    c.part(ellipse(67.5, 27, 1.8, 1.8), INK, 0)
    c.part(
        within(blob([(50, 70), (62, 60), (74, 66), (86, 56), (86, 95), (50, 95)]), box(51, 23.5, 84, 92.5, 4)),
        mix(glow, (20, 20, 60), 0.4),
        0.3,
    )
    for k in range(4):
        c.part(box(53.5 + k * 7.3, 83, 58.5 + k * 7.3, 88.5, 1.4), (240, 240, 244), 0.1)
    c.part(box(56, 36, 79, 40, 1), (245, 246, 250), 0)


def camera(c: Canvas, r: random.Random) -> None:
    """A compact system camera with a big lens."""
    bump = r.random() < 0.6
    if bump:
        c.part(polygon([(36, 32), (41, 20), (59, 20), (64, 32)]), c.dark, 1)
    else:
        c.part(box(20, 24, 34, 33, 2), c.dark, 0.8)
    c.part(union(box(70, 26, 82, 33, 2), box(18, 28, 25, 33, 1)), STEEL, 0.8)
    case = box(9, 30, 91, 80, 6)
    c.body(case, 1.3)
    c.part(within(box(9, 30, 91, 38), case), r.choice((STEEL, c.dark)), 0.7)
    size = r.uniform(19, 22)
    c.part(ellipse(50, 57, size, size), (58, 58, 64), 1.2)
    c.part(ring(50, 57, size - 2.5, size - 2.5, 3), STEEL, 0.8)
    c.part(ellipse(50, 57, size - 7, size - 7), (26, 28, 40), 0.7)
    c.part(ellipse(50, 57, size - 12.5, size - 12.5), (62, 70, 120), 0.7)
    c.gloss(ellipse(45, 51, 4, 3), 0.8)
    c.part(box(76, 40.5, 86, 46, 1), (250, 240, 200), 0.5)


def laptop(c: Canvas, r: random.Random) -> None:
    """Open, the screen above, the keyboard deck below."""
    top, bezel = r.uniform(13, 18), r.uniform(4, 5.5)
    lid = box(16, top, 84, 64, 3)
    c.body(lid, 0.8)
    screen = box(16 + bezel, top + bezel - 0.5, 84 - bezel, 60, 1)
    glow = r.choice(SCREENS)
    c.part(screen, glow, 0.4)
    c.part(
        within(blob([(16, 52), (34, 40), (50, 50), (68, 36), (90, 48), (90, 70), (16, 70)]), screen),
        mix(glow, (20, 20, 60), 0.4),
        0.3,
    )
    c.part(box(26, top + 12, 44, top + 15, 1), (245, 246, 250), 0)
    c.body(polygon([(16, 64), (84, 64), (96, 86), (4, 86)]), 0.9)
    c.part(polygon([(4, 86), (96, 86), (94, 90), (6, 90)]), c.dark, 0.6)
    keys = (44, 44, 50) if sum(c.paint.colour) > 200 else (120, 122, 128)
    for row in range(4):
        y = 66.2 + row * 3.1
        spread = 27.5 + row * 2.6
        for k in range(11):
            x = 50 - spread + k * 2 * spread / 11
            c.part(box(x, y, x + 2 * spread / 11 - 1, y + 2.2, 0.4), keys, 0)
    c.part(polygon([(40, 79.8), (60, 79.8), (61.5, 84.8), (38.5, 84.8)]), c.dark, 0.5)
