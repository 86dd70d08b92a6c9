"""The class `Article`, and sets of patterns and audiences that several articles share."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from shopwindow.demo_shop.drawing.canvas import Canvas
from shopwindow.demo_shop.vocabulary import PATTERNS

ALL = PATTERNS
PLAIN = ("plain",)
WOVEN = ("plain", "striped", "checked")
PRINTED = ("plain", "striped", "dotted", "floral")
ADULTS_AND_KIDS = ("Women's", "Men's", "Kids'")
WOMEN = ("Women's", "Girls'")
MEN = ("Men's",)


@dataclass(frozen=True, kw_only=True)
class Article:
    """One kind of product.

    Attributes:
        name: Singular, as in the column `article` of the catalogue.
        plural: As shoppers type it.
        category: As in the column `category` of the catalogue.
        draw: Function that draws the article on a canvas. Its generator decides the shape, so one seed is one style.
        synonyms: Other names of the article; no other article has one of these names. May be empty.
        prices: Lowest and highest price of a brand in the middle of the market.
        patterns: The patterns that the article comes in; always includes plain.
        materials: Materials that titles name.
        styles: Words that sellers add in titles.
        audiences: Audiences that titles name; empty if titles name none.
        period: Distance after which a pattern repeats, in drawing units.
        popularity: Weight of the article in the assortment.
    """

    name: str
    plural: str
    category: str
    draw: Callable[[Canvas, random.Random], None]
    synonyms: tuple[str, ...]
    prices: tuple[float, float]
    patterns: tuple[str, ...] = PLAIN
    materials: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    audiences: tuple[str, ...] = ()
    period: float = 10.0
    popularity: float = 1.0
