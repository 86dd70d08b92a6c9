"""Photos that the demo shop has never seen, drawn to order."""

from __future__ import annotations

import io

from demo.shop.assortment import assort, picture_of

# Another seed than the shop's: other shapes, brands, backgrounds and light.
_SEED = 20_000
_OFFERS = 4_000


def photo(article: str, colour: str, pattern: str) -> bytes:
    """A JPEG of one thing.

    Args:
        article, colour, pattern: as in the shop's columns of these names.

    Raises:
        LookupError: no such thing in the assortment.
    """
    for offer in assort(products=_OFFERS, seed=_SEED):
        style = offer.style
        if (style.article.name, style.colour, style.pattern) == (article, colour, pattern):
            buffer = io.BytesIO()
            picture_of(offer).save(buffer, "JPEG", quality=88)
            return buffer.getvalue()
    raise LookupError(f"no {colour} {pattern} {article} in the assortment")
