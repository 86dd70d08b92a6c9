"""One picture of all articles, each in several looks, to judge the drawings by eye."""

from __future__ import annotations

from PIL import Image

from shopwindow.demo_shop.articles import ARTICLES
from shopwindow.demo_shop.assortment import Offer, Style, picture_of
from shopwindow.demo_shop.drawing.canvas import IMAGE_SIZE
from shopwindow.demo_shop.vocabulary import COLOURS

LOOKS = 6  # pictures of each article
COLUMNS = 18  # pictures in a row


def contact_sheet(*, seed: int) -> Image.Image:
    """Draw several styles of every article side by side, with different patterns and colours.

    Args:
        seed: The catalogue's seed.

    Returns:
        An RGB image.
    """
    pictures = []
    for number, article in enumerate(ARTICLES.values()):
        for look in range(LOOKS):
            key = f"{seed}/sheet/{article.name}/{look}"
            style = Style(
                key=key,
                article=article,
                colour=list(COLOURS)[(number * LOOKS + look * 5) % len(COLOURS)],
                pattern=article.patterns[look % len(article.patterns)],
                brand="",
                price=1.0,
            )
            pictures.append(
                picture_of(
                    Offer(product_id=0, key=key, group=0, style=style, brand="", supplier="", price=1.0, stock=1)
                )
            )
    rows = -(-len(pictures) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * IMAGE_SIZE, rows * IMAGE_SIZE), (255, 255, 255))
    for place, picture in enumerate(pictures):
        sheet.paste(picture, (place % COLUMNS * IMAGE_SIZE, place // COLUMNS * IMAGE_SIZE))
    return sheet
