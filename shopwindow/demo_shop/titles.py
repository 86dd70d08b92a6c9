"""Titles as sellers write them. Some leave out the colour or the pattern, so that only the photo shows it."""

from __future__ import annotations

import random
from dataclasses import dataclass

from shopwindow.demo_shop import chinese
from shopwindow.demo_shop.assortment import Offer
from shopwindow.demo_shop.vocabulary import COLOUR_SYNONYMS, PATTERN_SYNONYMS

LEAVE_OUT_COLOUR = 0.30
LEAVE_OUT_PATTERN = 0.30
NAME_PLAIN = 0.10  # few sellers write that something is plain
USE_SYNONYM = 0.12


@dataclass(frozen=True, kw_only=True)
class _Said:
    """What the seller of an offer says of it, in English; "" for what is not said."""

    name: str
    audience: str
    colour: str
    pattern: str
    style: str
    material: str


def title_of(offer: Offer) -> str:
    """Return the seller's title of an offer, such as "Nordvale Women's Red Striped Summer Dress, Cotton".

    The suppliers in `chinese.SUPPLIERS` write Chinese, such as "Nordvale女士红色条纹连衣裙新款纯棉". They say the
    colour and the pattern of the same products as they would in English.
    """
    rng = random.Random(f"{offer.key}/title")
    said = _said(offer, rng)
    if offer.supplier in chinese.SUPPLIERS:
        return _in_chinese(offer, said, random.Random(f"{offer.key}/chinese title"))
    return _in_english(offer, said, rng)


def _said(offer: Offer, rng: random.Random) -> _Said:
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
    return _Said(name=name, audience=audience, colour=colour, pattern=pattern, style=style, material=material)


def _in_english(offer: Offer, said: _Said, rng: random.Random) -> str:
    name, shape = _capitalised(said.name), rng.random()
    parts: tuple[str, ...]
    tail: tuple[str, ...]
    if shape < 0.55:
        parts = (offer.brand, said.audience, said.colour, said.pattern, said.style, name)
        tail = (said.material,)
    elif shape < 0.8:
        parts, tail = (offer.brand, said.audience, said.pattern, name), (said.style, said.material, said.colour)
    else:
        parts = (said.audience, said.style, said.material, name, "by", offer.brand)
        tail = (said.colour, said.pattern)
    head = " ".join(part for part in parts if part)
    return ", ".join([head, *(part for part in tail if part)])


def _in_chinese(offer: Offer, said: _Said, rng: random.Random) -> str:
    """Return a title without spaces between its words, as sellers at Taobao write them."""
    colour = _usual_or(chinese.COLOURS[offer.style.colour], rng) if said.colour else ""
    pattern = _usual_or(chinese.PATTERNS[offer.style.pattern], rng) if said.pattern else ""
    name = _usual_or(chinese.ARTICLES[offer.style.article.name], rng)
    audience = chinese.AUDIENCES[said.audience] if said.audience else ""
    material = chinese.MATERIALS.get(said.material, said.material.replace(" ", ""))
    first, second = rng.sample(chinese.SELLERS_WORDS, 2)
    second = second if rng.random() < 0.5 else ""
    shape = rng.random()
    if shape < 0.55:
        parts = (offer.brand, first, audience, colour, pattern, name, material, second)
    elif shape < 0.8:
        parts = (first, audience, material, pattern, name, offer.brand, second, colour)
    else:
        parts = (offer.brand, audience, name, first, colour, pattern, material, second)
    return "".join(parts)


def _usual_or(words: tuple[str, ...], rng: random.Random) -> str:
    """Return the usual word, or now and then another."""
    usual, *others = words
    return rng.choice(others) if others and rng.random() < USE_SYNONYM else usual


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
