"""A click log to train on: many queries, few of them popular, and some clicks on the wrong colour."""

from __future__ import annotations

import random
from dataclasses import dataclass

from shopwindow.demo_shop.assortment import Offer
from shopwindow.demo_shop.queries import Want, phrase, phrase_in_chinese
from shopwindow.demo_shop.vocabulary import colours_meant

STRAYS = 0.08  # wrong-colour clicks per click, for queries with article and colour: 3 % of the whole log
MOST_CLICKED = 24  # most products clicked for one query


@dataclass(frozen=True, kw_only=True)
class Click:
    """The number of clicks on one product for one query."""

    query: str
    product_id: int
    count: int


def click_log(
    index: dict[Want, list[Offer]], *, rows: int, avoid: set[str], seed: int, in_chinese: bool = False
) -> list[Click]:
    """Draw a click log.

    Args:
        index: From `queries.answers`.
        rows: Number of rows; the log is shorter only if the shop has too few queries.
        avoid: Texts in lower case that must not occur: the evaluation queries.
        seed: The catalogue's seed.
        in_chinese: Whether the shoppers write Chinese. They look at the photos, so they click products with English
            titles too.

    Returns:
        Clicks, grouped by query. A product occurs once for a query.
    """
    rng = random.Random(f"{seed}/chinese clicks" if in_chinese else f"{seed}/clicks")
    words = phrase_in_chinese if in_chinese else phrase
    wants = [want for want in index if want.differs_in_chinese or not in_chinese]
    # Queries with more answers are more frequent, but not in proportion, or most queries would be broad.
    weights = [len(index[want]) ** 0.5 * (0.4 if want.brand else 1.0) for want in wants]
    seen = set(avoid)
    log: list[Click] = []
    for want in rng.choices(wants, weights, k=2 * rows):
        if len(log) >= rows:
            break
        text = words(want, rng, synonyms=0.3)
        if text.lower() in seen:
            continue
        seen.add(text.lower())
        log += _clicks(text, want, index, rng)
    return log[:rows]


def _clicks(text: str, want: Want, index: dict[Want, list[Offer]], rng: random.Random) -> list[Click]:
    found = index[want]
    clicked = rng.sample(found, min(len(found), rng.randint(4, MOST_CLICKED)))
    if want.colour and want.article:
        wrong = [o for o in index[Want(article=want.article)] if o.style.colour not in colours_meant(want.colour)]
        strays = sum(rng.random() < STRAYS for _ in clicked)
        strange = rng.sample(wrong, min(len(wrong), strays))
    else:
        strange = []
    popularity = min(500.0, 1.5 * rng.paretovariate(1.05))  # heavy-tailed, as in real logs
    log = [
        Click(query=text, product_id=offer.product_id, count=max(1, round(popularity / (place + 1) ** 0.8)))
        for place, offer in enumerate(clicked)
    ]
    return log + [Click(query=text, product_id=offer.product_id, count=1) for offer in strange]
