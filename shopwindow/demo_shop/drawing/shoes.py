"""Shoes: side views with the toe to the right; sandals from above."""

from __future__ import annotations

import random

from shopwindow.demo_shop.drawing.canvas import (
    CREAM,
    GOLD,
    INK,
    LEATHER,
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


def sneaker(c: Canvas, r: random.Random) -> None:
    """Thick sole, laces, a toe cap; low or high top."""
    rise = r.choice((0, 0, 12))
    sole = r.choice((WHITE, WHITE, CREAM, (60, 60, 64)))
    collar = 40 - rise
    upper = blob(
        [
            (9, 70),
            (9, 70),
            (9, 56),
            (12, collar),
            (12, collar),
            (22, collar + 5),
            (33, collar + 1),
            (38, collar - 5),
            (43, collar - 4),
            (54, 49 - rise * 0.3),
            (66, 55),
            (82, 59),
            (91, 66),
            (92, 71),
            (92, 71),
        ]
    )
    c.body(upper, 1.1)
    c.part(within(ellipse(90, 71, 15, 14), upper), sole if sole != (60, 60, 64) else c.dark, 0.8)
    c.part(within(box(8, 54, 19, 72, 3), upper), c.dark, 0.7)
    c.part(blob([(8, 68), (50, 70), (93, 68), (95, 73), (92, 79), (50, 80), (10, 80), (7, 75)]), sole, 1)
    c.seam([(8, 75.5), (50, 77), (93, 75)], 0.8, 0.35)
    lace = WHITE if sum(c.paint.colour) < 620 else (120, 124, 130)
    for k in range(4 if rise == 0 else 5):
        x, y = 63 - k * 6.2, 53.5 - k * (3.6 if rise == 0 else 4.6)
        c.part(stroke([(x - 3.5, y + 5.5), (x + 1.8, y - 0.5)], 2, curved=False), lace, 0.3)
    mark = c.dark if sum(c.paint.colour) > 560 else WHITE
    if r.random() < 0.6:
        for k in range(r.choice((1, 2, 3))):
            c.part(stroke([(34 + k * 5.5, 67), (43 + k * 5.5, 58)], 2, curved=False), mark, 0.2)
    else:
        c.part(ellipse(24, collar + 13, 3.6, 3.6), mark, 0.3)


def boot(c: Canvas, r: random.Random) -> None:
    """Ankle boot to knee boot, laced or with elastic sides."""
    top = r.uniform(10, 34)
    heel = r.uniform(4, 9)
    width = r.uniform(26, 31)
    upper = blob(
        [
            (20, top),
            (20, top),
            (20 + width, top),
            (20 + width, top),
            (20 + width, 46),
            (56, 57),
            (74, 62),
            (86, 70),
            (88, 80),
            (88, 80),
            (20, 80),
            (20, 80),
            (19, 60),
        ]
    )
    c.body(upper, 1.2)
    sole = r.choice((INK, INK, LEATHER)) if sum(c.paint.colour) > 160 else (96, 70, 48)
    c.part(union(box(19, 79, 89, 83.5, 1.5), box(19, 79, 41, 83.5 + heel, 1)), sole, 0.6)
    kind = r.random()
    if kind < 0.5:
        lace = CREAM if sum(c.paint.colour) < 560 else INK
        steps = int((56 - top) / 6)
        for k in range(steps):
            y = top + 4 + k * 6
            c.part(stroke([(20 + width - 9, y + 2), (20 + width - 1.5, y)], 1.5, curved=False), lace, 0.2)
        c.seam([(20 + width - 11, top + 1), (20 + width - 11, 55)], 1, 0.35, curved=False)
    elif kind < 0.8:
        elastic = within(polygon([(29, top), (41, top), (38, 60), (33, 60)]), upper)
        c.part(elastic, c.dark, 0.8)
    else:
        c.part(box(19, 40, 20 + width + 1, 44, 1), c.dark, 0.5)
        c.part(box(36, 38.5, 43, 45.5, 1), GOLD, 0.4)
    c.seam([(20, 66), (40, 66), (54, 61), (58, 79)], 0.9, 0.35)
    c.part(within(box(18, top - 1, 60, top + 3.5), upper), c.dark, 0.6)


def sandal(c: Canvas, r: random.Random) -> None:
    """A pair from above: toe-post or two broad straps."""
    slides = r.random() < 0.5
    length = r.uniform(0, 4)
    for side in (-1, 1):
        x = 50 + side * 21

        def at(dx: float, y: float, x: float = x, side: int = side) -> tuple[float, float]:
            return (x + side * dx, y)

        sole = blob(
            [
                at(-7, 12 - length),
                at(5, 10 - length),
                at(15, 24),
                at(14, 42),
                at(9, 58),
                at(11, 76),
                at(5, 90),
                at(-6, 91),
                at(-13, 80),
                at(-11, 58),
                at(-15, 36),
                at(-14, 22),
            ]
        )
        c.part(sole, mix(c.dark, (40, 30, 24), 0.55), 0.6)
        inner = blob(
            [
                at(-6, 14.5 - length),
                at(4, 13 - length),
                at(12.5, 25),
                at(11.5, 42),
                at(6.5, 58),
                at(8.5, 76),
                at(4, 87),
                at(-5, 88),
                at(-10.5, 79),
                at(-8.5, 58),
                at(-12.5, 36),
                at(-11.5, 23),
            ]
        )
        c.body(inner, 0.8)
        strap = c.dark
        if slides:
            for y in (32, 47):
                band = stroke([at(-14.5, y + 3), at(0, y - 3), at(14, y + 2)], 8.5)
                c.part(band, strap, 1.3)
                c.part(box(x + side * 9 - 2.5, y - 3, x + side * 9 + 2.5, y + 3, 1), GOLD, 0.4)
            c.part(stroke([at(-11, 70), at(0, 66), at(10, 70)], 5), strap, 1.2)
        else:
            post = at(-3, 24)
            c.part(
                union(stroke([post, at(5, 32), at(12, 50)], 5), stroke([post, at(-8, 33), at(-11, 52)], 5)),
                strap,
                1.3,
            )
            c.part(ellipse(post[0], post[1], 3, 3), strap, 0.8)


def high_heel(c: Canvas, r: random.Random) -> None:
    """A court shoe with a heel, seen from the side."""
    rise = r.uniform(24, 38)
    back = 80 - rise
    block = r.random() < 0.3
    heel_width = 8 if block else 3.2
    top = smooth([(13, back - 13), (20, back - 5), (36, back + 6), (56, 66), (68, 66), (72, 63)], closed=False)
    toe = smooth([(72, 63), (82, 68), (93, 77), (90, 81), (70, 81)], closed=False)
    under = smooth(
        [
            (70, 81),
            (58, 78),
            (44, back + 18),
            (30, back + 12),
            (22, back + 11),
            (12, back + 6),
            (13, back - 13),
        ],
        closed=False,
    )
    heel = polygon(
        [(12, back + 2), (26, back + 9), (14 + heel_width + 3, 68), (14 + heel_width, 84), (14, 84), (13, 66)]
    )
    c.part(heel, c.dark, 1)
    shoe = polygon(top + toe + under)
    c.part(
        union(stroke([(21, back + 11), (32, back + 13), (45, back + 19), (58, 79), (70, 82), (89, 82)], 2.6)),
        mix(c.dark, (20, 16, 16), 0.5),
        0.3,
    )
    c.body(shoe, 1.1)
    c.part(
        within(
            without(
                shoe,
                polygon(
                    smooth(
                        [
                            (13, back - 11),
                            (20, back - 2.6),
                            (36, back + 8.5),
                            (56, 68.5),
                            (72, 66),
                            (96, 90),
                            (0, 90),
                        ]
                    )
                ),
            ),
            shoe,
        ),
        c.pale,
        0.2,
    )
    c.part(box(13.5, 82.5, 14 + heel_width + 0.5, 85.5), INK, 0.2)
    if r.random() < 0.35:
        c.part(
            union(ring(25.5, back - 11, 12.5, 5, 2.4), stroke([(13.8, back - 12), (14.2, back - 5)], 2.6)),
            c.dark,
            0.5,
        )
    elif r.random() < 0.4:
        c.part(ellipse(72, 67, 3.2, 2.6), GOLD, 0.4)
