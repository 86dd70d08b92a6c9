"""Clothing, laid flat and seen from the front."""

from __future__ import annotations

import random

from shopwindow.demo_shop.drawing.canvas import (
    CREAM,
    GOLD,
    INK,
    STEEL,
    Canvas,
    Point,
    blob,
    box,
    ellipse,
    mirrored,
    polygon,
    smooth,
    stroke,
    union,
    within,
    without,
)


def _top(c: Canvas, reach: float, drop: float, hem: float, flare: float, neck: float, wide: float) -> None:
    """A garment with two sleeves; `reach` and `drop` say where the sleeve ends."""
    cuff = 5.5 if drop > 60 else 8.0
    outline = mirrored(
        [
            (neck, 13),
            (21, 18),
            (21 + reach, drop),
            (21 + reach - cuff * 1.5, drop + cuff * 0.55),
            (wide, 42),
            (wide - 0.5, 62),
            (wide + flare, hem),
        ]
    )
    c.body(polygon(outline))
    for side in (-1, 1):
        c.seam([(50 + side * 20.5, 18), (50 + side * (wide - 1.5), 30), (50 + side * wide, 43)], 0.9, 0.3)


def _collar_hole(c: Canvas, neck: float, depth: float, pointed: bool) -> None:
    """The back of the neck, seen through the opening, with a ribbed edge."""
    if pointed:
        opening = polygon([(50 - neck, 12.5), (50 + neck, 12.5), (50, 13 + depth)])
        edge = stroke([(50 - neck, 12.5), (50, 13 + depth), (50 + neck, 12.5)], 2, curved=False)
    else:
        opening = within(ellipse(50, 12.5, neck, depth), box(0, 12.5, 100, 100))
        edge = within(
            without(ellipse(50, 12.5, neck + 2, depth + 2), ellipse(50, 12.5, neck, depth)),
            box(0, 12, 100, 100),
        )
    c.part(opening, c.dark, 1.2)
    c.part(edge, c.pale if c.paint.pattern == "plain" else c.dark, 0.4)


def t_shirt(c: Canvas, r: random.Random) -> None:
    """Short sleeves, round or V neck."""
    reach, drop = r.uniform(14, 18), r.uniform(36, 43)
    neck = r.uniform(8, 11)
    _top(c, reach, drop, r.uniform(82, 88), r.uniform(-1, 3), neck, r.uniform(20, 23))
    _collar_hole(c, neck, r.uniform(6, 13), r.random() < 0.35)
    if r.random() < 0.3 and c.paint.pattern == "plain":
        c.part(box(57, 38, 66, 48, 1), c.dark, 0.4)


def shirt(c: Canvas, r: random.Random) -> None:
    """Collar, button placket, cuffs."""
    long = r.random() < 0.7
    reach, drop = (r.uniform(15, 18), r.uniform(68, 74)) if long else (r.uniform(13, 16), r.uniform(38, 43))
    hem = r.uniform(84, 89)
    _top(c, reach, drop, hem, r.uniform(0, 3), 9, r.uniform(20, 22))
    c.seam([(48, 22), (48, hem - 1)], 0.8, 0.35, curved=False)
    c.seam([(52.6, 22), (52.6, hem - 1)], 0.8, 0.35, curved=False)
    for k in range(6):
        c.part(ellipse(50.3, 28 + k * (hem - 36) / 5, 1.3, 1.3), CREAM if sum(c.paint.colour) < 500 else INK, 0.3)
    c.part(polygon([(43, 11), (57, 11), (50, 22)]), c.dark, 1)
    for side in (-1, 1):
        collar = [
            (50 + side * 8.5, 9.5),
            (50 + side * 11, 14),
            (50 + side * 9.5, 24),
            (50, 19.5),
            (50 + side * 5, 13),
        ]
        c.part(polygon(collar), c.paint.colour, 1.3)
    if r.random() < 0.6:
        c.part(box(57, 36, 67, 46, 1), c.paint.colour, 1.2)


def jumper(c: Canvas, r: random.Random) -> None:
    """Knitted, long sleeves, ribbed neck, cuffs and hem."""
    reach, drop, hem = r.uniform(15, 19), r.uniform(68, 74), r.uniform(80, 84)
    wide = r.uniform(21, 23)
    _top(c, reach, drop, hem, 0, 9, wide)
    ribbed = c.dark
    c.part(box(50 - wide, hem - 1, 50 + wide, hem + 5, 1.5), ribbed, 0.8)
    for side in (-1, 1):
        end = (50 + side * (21 + reach - 4.5), drop + 2)
        c.part(
            stroke([(end[0] - side * 2.6, end[1] + 1.2), (end[0] + side * 2.6, end[1] - 1.2)], 5, curved=False),
            ribbed,
        )
    if r.random() < 0.4:
        c.part(box(40, 6, 60, 17, 4), ribbed, 1)
        c.seam([(41, 12), (50, 13.5), (59, 12)], 0.7)
    else:
        c.part(ellipse(50, 14, 11, 7), ribbed, 0.8)
        c.part(ellipse(50, 12.6, 7.4, 4.2), (52, 48, 50), 0.6)
    for k in range(-6, 7):
        c.seam([(50 + k * wide / 6.5, hem), (50 + k * wide / 6.5, hem + 4.5)], 0.6, 0.35, curved=False)
    if c.paint.pattern == "plain":
        for k in (-2, -1, 0, 1, 2):
            c.seam([(50 + k * 6 + (-1) ** i * 1.1, 26 + i * 5.5) for i in range(11)], 0.7, 0.22)


def jacket(c: Canvas, r: random.Random) -> None:
    """A zipped jacket or a blazer with lapels."""
    reach, drop, hem = r.uniform(15, 18), r.uniform(70, 75), r.uniform(80, 88)
    _top(c, reach, drop, hem, r.uniform(0, 2), 10, r.uniform(21, 23))
    if r.random() < 0.5:
        c.part(
            polygon([(43, 12), (57, 12), (50, 44)]),
            CREAM if sum(c.paint.colour) < 520 else (90, 96, 110),
            0.6,
        )
        for side in (-1, 1):
            lapel = [
                (50 + side * 7, 10),
                (50 + side * 12, 16),
                (50 + side * 15, 26),
                (50 + side * 11, 28),
                (50, 46),
            ]
            c.part(polygon([*lapel, (50 + side * 5, 26)]), c.dark, 1)
        c.seam([(50, 45), (50.5, hem)], 1.1, 0.6, curved=False)
        for y in (52, 62):
            c.part(ellipse(53.5, y, 1.7, 1.7), INK if sum(c.paint.colour) > 160 else GOLD, 0.4)
        for side in (-1, 1):
            c.seam([(50 + side * 8, 67), (50 + side * 17, 66)], 2.2, 0.4, curved=False)
    else:
        c.part(
            blob([(38, 10), (50, 13), (62, 10), (62, 17), (54, 22), (50, 23), (46, 22), (38, 17)]),
            c.dark,
            1.2,
        )
        c.part(box(49, 18, 51.4, hem), STEEL, 0.4)
        c.part(box(48.6, 26, 51.8, 31, 1), INK, 0.3)
        for side in (-1, 1):
            c.seam([(50 + side * 9, 58), (50 + side * 16, 70)], 1.4, 0.55, curved=False)
        c.part(box(28.5, hem - 4, 48.8, hem + 1, 1), c.dark, 0.6)
        c.part(box(51.6, hem - 4, 71.5, hem + 1, 1), c.dark, 0.6)


def dress(c: Canvas, r: random.Random) -> None:
    """Straps or short sleeves, a waist, a flared skirt."""
    waist, hem = r.uniform(40, 45), r.uniform(80, 94)
    flare, narrow = r.uniform(20, 31), r.uniform(10, 12.5)
    sleeves = r.random() < 0.45
    bust: list[Point] = [(8, 8), (12, 8), (14, 20), (15, 27), (narrow, waist)]
    skirt = [(narrow, waist), (narrow + flare * 0.45, waist + 17), (flare, hem)]
    top = mirrored(bust)
    if sleeves:
        for side in (-1, 1):
            sleeve = [(50 + side * 10, 8), (50 + side * 25, 20), (50 + side * 22, 28), (50 + side * 12, 24)]
            c.body(polygon(sleeve))
    c.body(polygon(top))
    left = smooth([(50 - x, y) for x, y in skirt], closed=False)
    right = smooth([(50 + x, y) for x, y in skirt], closed=False)
    hemline = smooth(
        [
            (50 + flare, hem),
            (50 + flare / 2, hem + 2.6),
            (50, hem + 3.2),
            (50 - flare / 2, hem + 2.6),
            (50 - flare, hem),
        ],
        closed=False,
    )
    c.body(polygon(right + hemline + left[::-1]))
    hole = within(ellipse(50, 7.5, 8, r.uniform(8, 13)), box(0, 0, 100, 60))
    c.image.paste(c.paint.colour, (0, 0), hole)
    c.alpha.paste(0, (0, 0), hole)
    for k in (-0.55, -0.2, 0.2, 0.55):
        c.seam([(50 + k * narrow * 1.3, waist + 5), (50 + k * flare * 1.05, hem + 0.5)], 0.9, 0.22, curved=False)
    belt = c.dark if c.paint.pattern == "plain" else c.paint.contrast if r.random() < 0.4 else c.dark
    c.part(box(50 - narrow - 0.6, waist - 2, 50 + narrow + 0.6, waist + 2, 1), belt, 0.6)


def skirt(c: Canvas, r: random.Random) -> None:
    """A waistband and a flared or straight skirt."""
    hem, flare, waist = r.uniform(72, 88), r.uniform(22, 37), r.uniform(14, 17)
    mid = (flare + waist) / 2 + (2.5 if flare > 28 else 4)
    right = smooth([(50 + waist, 20), (50 + mid, 44), (50 + flare, hem)], closed=False)
    bottom = smooth(
        [
            (50 + flare, hem),
            (50 + flare / 2, hem + 3),
            (50, hem + 4),
            (50 - flare / 2, hem + 3),
            (50 - flare, hem),
        ],
        closed=False,
    )
    left = [(100 - x, y) for x, y in reversed(right)]
    c.body(polygon(right + bottom + left))
    pleats = r.choice((3, 5, 7))
    for k in range(pleats):
        share = (k + 1) / (pleats + 1) * 2 - 1
        c.seam(
            [(50 + share * waist, 25), (50 + share * flare, hem + 2.5 - 2 * abs(share))],
            1.0,
            0.28,
            curved=False,
        )
    c.part(box(50 - waist - 0.5, 15, 50 + waist + 0.5, 22, 1.2), c.dark, 0.7)
    if r.random() < 0.4:
        c.part(ellipse(50, 18.5, 1.7, 1.7), GOLD, 0.4)


def _legs(c: Canvas, waist: float, hem: float, hip: float, ankle: float, spread: float) -> None:
    crotch = 43
    c.body(
        polygon(
            mirrored(
                [
                    (waist, 10),
                    (hip, 34),
                    (spread + ankle, hem),
                    (spread - ankle, hem + 0.8),
                    (1.2, crotch + 4),
                    (0.1, crotch),
                ]
            )
        )
    )
    c.part(box(50 - waist - 0.4, 8, 50 + waist + 0.4, 14, 1), c.dark, 0.6)
    c.seam([(50, 14), (50, crotch)], 0.9, 0.45, curved=False)
    c.seam([(50, 27), (53.5, 25), (54, 14)], 0.8, 0.35)
    for side in (-1, 1):
        c.seam(
            [(50 + side * (waist - 5), 14), (50 + side * (waist - 1), 21), (50 + side * (hip - 2), 24)],
            0.9,
            0.4,
        )
    c.part(ellipse(50, 11, 1.4, 1.4), GOLD, 0.3)


def trousers(c: Canvas, r: random.Random) -> None:
    """Long legs, slim to wide."""
    ankle = r.uniform(5, 10)
    hem = r.uniform(90, 95)
    spread = r.uniform(12, 16)
    _legs(c, r.uniform(14, 16), hem, r.uniform(18, 20), ankle, spread)
    for side in (-1, 1):
        c.seam([(50 + side * 9.5, 46), (50 + side * spread, hem - 1)], 0.7, 0.2, curved=False)


def shorts(c: Canvas, r: random.Random) -> None:
    """Short legs, often a drawstring."""
    hem = r.uniform(60, 70)
    waist = r.uniform(18, 20)
    crotch = r.uniform(44, 48)
    outer, inner = r.uniform(29, 33), r.uniform(3, 5)
    c.body(polygon(mirrored([(waist, 20), (outer - 4, 42), (outer, hem), (inner, hem + 2), (0.6, crotch)])))
    c.part(box(50 - waist - 0.5, 18, 50 + waist + 0.5, 25, 1.2), c.dark, 0.6)
    c.seam([(50, 25), (50, crotch)], 0.9, 0.45, curved=False)
    for side in (-1, 1):
        c.seam([(50 + side * (waist - 3), 25), (50 + side * (waist + 4), 38)], 0.9, 0.4, curved=False)
        c.seam([(50 + side * inner, hem - 2), (50 + side * (outer - 0.5), hem - 4)], 0.7, 0.35, curved=False)
    if r.random() < 0.6:
        c.part(
            union(stroke([(49, 23), (46, 30), (46.5, 36)], 1.2), stroke([(51, 23), (54, 30), (53, 35)], 1.2)),
            CREAM,
            0.2,
        )


def socks(c: Canvas, r: random.Random) -> None:
    """A pair, one behind the other."""
    top, width = r.uniform(12, 30), r.uniform(14, 16.5)
    for dx, dy in ((22, -4), (0, 4)):
        x, y = 20 + dx, top + dy
        foot: list[Point] = [
            (x, y),
            (x, y),
            (x + width, y),
            (x + width, y),
            (x + width, 54 + dy),
            (x + width + 6, 64 + dy),
            (x + 34, 71 + dy),
            (x + 37, 79 + dy),
            (x + 30, 84 + dy),
            (x + 14, 82 + dy),
            (x + 2, 73 + dy),
            (x + 0.5, 60 + dy),
        ]
        shape = blob(foot)
        c.body(shape, 1.2)
        c.part(within(box(x - 1, y - 1, x + width + 1, y + 7), shape), c.dark, 0.7)
        c.part(within(ellipse(x + 36, 78 + dy, 8, 10), shape), c.dark, 0.7)
        c.part(within(ellipse(x + 0, 77 + dy, 8, 8), shape), c.dark, 0.7)
