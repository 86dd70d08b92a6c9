"""Titles as sellers write them. Some leave out the colour or the pattern, so that only the photo shows it."""

from __future__ import annotations

import random

from shopwindow.demo_shop.assortment import Offer
from shopwindow.demo_shop.vocabulary import COLOUR_SYNONYMS, PATTERN_SYNONYMS

LEAVE_OUT_COLOUR = 0.30
LEAVE_OUT_PATTERN = 0.30
NAME_PLAIN = 0.10  # few sellers write that something is plain
USE_SYNONYM = 0.12


def _capitalised(text: str) -> str:
    return " ".join(word[:1].upper() + word[1:] for word in text.split())


def _colour(colour: str, rng: random.Random) -> str:
    if rng.random() < LEAVE_OUT_COLOUR:
        return ""
    return _capitalised(rng.choice(COLOUR_SYNONYMS[colour]) if rng.random() < 0.12 else colour)


def _pattern(pattern: str, rng: random.Random) -> str:
    if pattern == "plain":
        return "Plain" if rng.random() < NAME_PLAIN else ""
    if rng.random() < LEAVE_OUT_PATTERN:
        return ""
    return _capitalised(rng.choice(PATTERN_SYNONYMS[pattern]) if rng.random() < 0.25 else pattern)


def title_of(offer: Offer) -> str:
    """Return the seller's title of an offer, such as "Nordvale Women's Red Striped Summer Dress, Cotton"."""
    rng = random.Random(f"{offer.key}/title")
    article = offer.style.article
    name = article.name
    if article.synonyms and rng.random() < USE_SYNONYM:
        name = rng.choice(article.synonyms)
    elif article.category == "shoes":
        name = article.plural
    # The audience belongs to the design, so all sellers of a style name the same one, or none.
    audience = random.Random(f"{offer.style.key}/audience").choice(article.audiences or ("",))
    audience = audience if rng.random() < 0.75 else ""
    colour, pattern = _colour(offer.style.colour, rng), _pattern(offer.style.pattern, rng)
    style = rng.choice(article.styles) if rng.random() < 0.75 else ""
    material = rng.choice(article.materials) if rng.random() < 0.6 else ""
    name = _capitalised(name)

    shape = rng.random()
    parts: tuple[str, ...]
    tail: tuple[str, ...]
    if shape < 0.55:
        parts, tail = (offer.brand, audience, colour, pattern, style, name), (material,)
    elif shape < 0.8:
        parts, tail = (offer.brand, audience, pattern, name), (style, material, colour)
    else:
        parts, tail = (audience, style, material, name, "by", offer.brand), (colour, pattern)
    head = " ".join(part for part in parts if part)
    return ", ".join([head, *(part for part in tail if part)])
