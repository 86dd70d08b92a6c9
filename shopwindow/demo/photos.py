"""Photos of things that are not in the demo shop."""

from __future__ import annotations

import io

from shopwindow.demo_shop.articles import ARTICLES
from shopwindow.demo_shop.assortment import Offer, Style, picture_of


def photo(article: str, colour: str, pattern: str) -> bytes:
    """Draw a JPEG of one article. Its shape, background and light come from a key that no product of the shop has.

    Args:
        article, colour, pattern: as in the shop's columns of these names.
    """
    key = f"photo/{article}/{colour}/{pattern}"
    style = Style(key=key, article=ARTICLES[article], colour=colour, pattern=pattern, brand="", price=1.0)
    offer = Offer(product_id=0, key=key, group=0, style=style, brand="", supplier="", price=1.0, stock=1)
    buffer = io.BytesIO()
    picture_of(offer).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()
