"""What the shop sells: styles, the offers of each style, and a photo of each offer."""

from __future__ import annotations

import random
from dataclasses import dataclass

from PIL import Image

from shopwindow.demo_shop.articles import ARTICLES, Article
from shopwindow.demo_shop.drawing.canvas import RGB, Canvas, Paint, Shot, luminance, mix, photograph
from shopwindow.demo_shop.vocabulary import BRANDS, COLOURS, SUPPLIERS

GROUPS_PER_PRODUCT = 430 / 3600  # number of styles that several suppliers offer
DUPLICATES_PER_PRODUCT = 60 / 3600  # number of styles that one supplier lists twice
CONTRASTS: tuple[RGB, ...] = (
    (246, 246, 242),
    (246, 246, 242),
    (246, 246, 242),
    (34, 38, 74),
    (36, 36, 40),
    (250, 214, 84),
    (214, 52, 56),
    (246, 168, 190),
)


@dataclass(frozen=True, kw_only=True)
class Style:
    """One design: everything but the photograph, the title and the offer.

    Attributes:
        key: Text that seeds the drawing's shape.
        brand: The brand of the design.
        price: Middle of the prices of its offers.
    """

    key: str
    article: Article
    colour: str
    pattern: str
    brand: str
    price: float


@dataclass(frozen=True, kw_only=True)
class Offer:
    """One product: a style that one supplier sells.

    Attributes:
        product_id: As in the catalogue.
        key: Text that seeds the photo and the title.
        group: Number of the style; all offers of a style have the same number.
    """

    product_id: int
    key: str
    group: int
    style: Style
    brand: str
    supplier: str
    price: float
    stock: int


def draw_style(seed: int, number: int) -> Style:
    """Return the style with this number. The same seed gives the same style."""
    key = f"{seed}/style/{number}"
    rng = random.Random(key)
    article = rng.choices(list(ARTICLES.values()), [a.popularity for a in ARTICLES.values()])[0]
    # Each article prefers a few colours, so that a query for article and colour has several answers.
    favourites = random.Random(f"{seed}/colours/{article.name}").sample(list(COLOURS), 4)
    colour = rng.choices(list(COLOURS), [2.5 if name in favourites else 1.0 for name in COLOURS])[0]
    weights = [2.0 if pattern == "plain" else 1.0 for pattern in article.patterns]
    pattern = rng.choices(article.patterns, weights)[0]
    brand = rng.choice(list(BRANDS))
    low, high = article.prices
    price = low * (high / low) ** rng.betavariate(2, 2.6) * BRANDS[brand]
    return Style(key=key, article=article, colour=colour, pattern=pattern, brand=brand, price=price)


def _shelf_price(price: float, rng: random.Random) -> float:
    whole = max(1, int(price))
    return round(whole + rng.choice((0.99, 0.99, 0.95, 0.90, 0.50, 0.00, 0.49)), 2)


def assort(*, products: int, seed: int) -> list[Offer]:
    """Choose `products` offers; the order of their styles is random.

    Returns:
        The offers, by ascending product id.
    """
    rng = random.Random(f"{seed}/assortment")
    sizes = [rng.choices((2, 3, 4), (0.5, 0.33, 0.17))[0] for _ in range(round(products * GROUPS_PER_PRODUCT))]
    duplicates = round(products * DUPLICATES_PER_PRODUCT)
    singles = products - sum(sizes) - 2 * duplicates
    drafts: list[tuple[int, str, bool]] = []  # style number, supplier, first of its style
    for number, size in enumerate([*sizes, *[2] * duplicates, *[1] * singles]):
        shared = number < len(sizes)
        suppliers = rng.sample(SUPPLIERS, size) if shared else [rng.choice(SUPPLIERS)] * size
        drafts += [(number, supplier, place == 0) for place, supplier in enumerate(suppliers)]
    rng.shuffle(drafts)

    styles = {number: draw_style(seed, number) for number in {draft[0] for draft in drafts}}
    offers, product_id = [], 100_000
    for number, supplier, first in drafts:
        style = styles[number]
        product_id += rng.randint(1, 9)
        relabelled = not first and number < len(sizes) and rng.random() < 0.4
        offers.append(
            Offer(
                product_id=product_id,
                key=f"{seed}/offer/{product_id}",
                group=number,
                style=style,
                brand=rng.choice(list(BRANDS)) if relabelled else style.brand,
                supplier=supplier,
                price=_shelf_price(style.price * rng.uniform(0.9, 1.1), rng),
                stock=0 if rng.random() < 0.08 else min(500, 1 + int(rng.expovariate(1 / 40))),
            )
        )
    return offers


# ---------------------------------------------------------------- photographs


def _jitter(colour: RGB, rng: random.Random, amount: int) -> RGB:
    lift = rng.uniform(-amount, amount)
    red, green, blue = (min(255, max(0, round(part + lift + rng.uniform(-3, 3)))) for part in colour)
    return red, green, blue


def paint_of(style: Style) -> Paint:
    """Return the colour and the pattern of a style."""
    rng = random.Random(f"{style.key}/paint")
    colour = _jitter(COLOURS[style.colour], rng, 9)
    visible = [c for c in CONTRASTS if abs(luminance(c) - luminance(colour)) > 75]
    return Paint(
        colour=colour,
        contrast=rng.choice(visible),
        pattern=style.pattern,
        period=style.article.period * rng.uniform(0.85, 1.3),
        angle=_pattern_angle(style.pattern, rng),
        seed=f"{style.key}/flowers",
    )


def _pattern_angle(pattern: str, rng: random.Random) -> float:
    if pattern == "striped":
        return rng.choice((0, 0, 90, 90, 45, -45))
    if pattern == "checked":
        return rng.choice((0, 0, 45))
    return rng.uniform(-20, 20)


def _exposure(rng: random.Random) -> tuple[float, float, float]:
    level, warmth = rng.uniform(0.95, 1.05), rng.uniform(-0.015, 0.015)
    return level * (1 + warmth), level, level * (1 - warmth)


def shot_of(offer: Offer) -> Shot:
    """Return how an offer was photographed."""
    rng = random.Random(f"{offer.key}/shot")
    kinds = (
        ((250, 250, 250), (240, 240, 241)),
        ((236, 238, 241), (219, 222, 227)),
        ((247, 242, 233), (232, 224, 211)),
        ((233, 240, 246), (214, 224, 233)),
        ((240, 246, 238), (222, 231, 220)),
        ((249, 238, 238), (236, 220, 222)),
    )
    top, bottom = rng.choices(kinds, (4, 3, 2, 1, 1, 1))[0]
    if luminance(COLOURS[offer.style.colour]) > 180 and rng.random() < 0.75:
        # Pale articles need a darker background to stand out.
        top, bottom = mix(top, (0, 0, 0), 0.09), mix(bottom, (0, 0, 0), 0.11)
    return Shot(
        top=top,
        bottom=bottom,
        horizon=rng.uniform(66, 80) if rng.random() < 0.25 else None,
        rotation=rng.gauss(0, 2.2),
        scale=rng.uniform(0.86, 1.0),
        shift=(rng.uniform(-2.5, 2.5), rng.uniform(-2.5, 2.5)),
        light=rng.choice((-1, 1)) * rng.uniform(0.3, 1.0),
        exposure=_exposure(rng),
        shadow=rng.uniform(0.2, 0.42),
    )


def picture_of(offer: Offer) -> Image.Image:
    """Return the photo of an offer, an RGB image."""
    shot = shot_of(offer)
    canvas = Canvas(paint_of(offer.style), shot.light)
    offer.style.article.draw(canvas, random.Random(f"{offer.style.key}/shape"))
    return photograph(canvas, shot)
