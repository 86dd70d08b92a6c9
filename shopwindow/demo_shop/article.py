"""What an article is, and the sets of patterns and audiences that several share."""

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
        name: Singular, as in the catalogue's article column.
        plural: As shoppers type it.
        category: The catalogue's category column.
        draw: Fills a canvas; the generator it is given decides the shape, so a seed stands for a style.
        synonyms: Other names of the same thing, never a name of another article; may be empty.
        prices: Lowest and highest for a brand in the middle of the market.
        patterns: Which patterns it comes in; always contains plain.
        materials: For titles.
        styles: Words sellers add in titles.
        audiences: For titles; empty where nobody would say it.
        period: Repeat of patterns on it, in drawing units.
        popularity: Weight in the assortment.
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
