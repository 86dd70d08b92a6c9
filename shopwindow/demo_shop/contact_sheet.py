"""One picture of everything: each article in several looks, to judge the drawings by eye."""

from __future__ import annotations

from PIL import Image

from shopwindow.demo_shop.articles import ARTICLES
from shopwindow.demo_shop.assortment import Offer, Style, picture_of
from shopwindow.demo_shop.drawing.canvas import IMAGE_SIZE
from shopwindow.demo_shop.vocabulary import COLOURS


def contact_sheet(*, seed: int, looks: int = 6, columns: int = 18) -> Image.Image:
    """Draw `looks` styles of every article side by side, going through patterns and colours.

    Args:
        seed: As for the catalogue.
        looks: Pictures per article.
        columns: Pictures in a row.

    Returns:
        An RGB image.
    """
    pictures = []
    for number, article in enumerate(ARTICLES.values()):
        for look in range(looks):
            key = f"{seed}/sheet/{article.name}/{look}"
            style = Style(
                key=key,
                article=article,
                colour=list(COLOURS)[(number * looks + look * 5) % len(COLOURS)],
                pattern=article.patterns[look % len(article.patterns)],
                brand="",
                price=1.0,
            )
            pictures.append(
                picture_of(
                    Offer(product_id=0, key=key, group=0, style=style, brand="", supplier="", price=1.0, stock=1)
                )
            )
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * IMAGE_SIZE, rows * IMAGE_SIZE), (255, 255, 255))
    for place, picture in enumerate(pictures):
        sheet.paste(picture, (place % columns * IMAGE_SIZE, place // columns * IMAGE_SIZE))
    return sheet
