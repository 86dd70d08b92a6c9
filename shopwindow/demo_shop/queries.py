"""Evaluation queries: what shoppers want, their words for it, and the products that answer it."""

from __future__ import annotations

import random
from dataclasses import dataclass

from shopwindow.demo_shop import chinese
from shopwindow.demo_shop.articles import ARTICLES
from shopwindow.demo_shop.assortment import Offer
from shopwindow.demo_shop.vocabulary import (
    CATEGORY_WORDS,
    COLOUR_SYNONYMS,
    PATTERN_SYNONYMS,
    PATTERN_TAILS,
    colour_words,
    colours_meant,
    named,
    pattern_words,
)

KINDS: dict[str, float] = {"attribute": 0.34, "synonym": 0.26, "visual": 0.25, "brand": 0.15}
"""Kind of English query -> its share."""

CHINESE = "chinese"
"""Kind of the queries in Chinese."""

MIN_RELEVANT = 3
MAX_RELEVANT = 150  # a query with more answers does not tell models apart


@dataclass(frozen=True, kw_only=True)
class Want:
    """The attributes that a shopper names; None if any value will do."""

    article: str | None = None
    category: str | None = None
    colour: str | None = None
    pattern: str | None = None
    brand: str | None = None

    @property
    def differs_in_chinese(self) -> bool:
        """Whether a shopper writes it in another way in Chinese. A brand alone is the same in both languages."""
        return bool(self.article or self.category)


@dataclass(frozen=True, kw_only=True)
class Query:
    """One evaluation query with the ids of all products that answer it."""

    query_id: int
    text: str
    kind: str
    relevant: tuple[int, ...]


def _wants(offer: Offer) -> list[Want]:
    article, brand = offer.style.article, offer.brand
    colours = [offer.style.colour, *(["blue"] if offer.style.colour == "navy blue" else [])]
    worth_saying = len(article.patterns) > 1  # nobody asks for a plain laptop
    pattern = offer.style.pattern if worth_saying else None
    wants = [Want(article=article.name), Want(brand=brand), Want(brand=brand, article=article.name)]
    wants.append(Want(brand=brand, category=article.category))
    if pattern:
        wants += [
            Want(article=article.name, pattern=pattern),
            Want(brand=brand, article=article.name, pattern=pattern),
        ]
        if pattern != "plain":
            wants.append(Want(category=article.category, pattern=pattern))
    for colour in colours:
        wants += [
            Want(article=article.name, colour=colour),
            Want(category=article.category, colour=colour),
            Want(brand=brand, article=article.name, colour=colour),
            Want(brand=brand, category=article.category, colour=colour),
        ]
        if pattern:
            wants.append(Want(article=article.name, colour=colour, pattern=pattern))
            if pattern != "plain":
                wants.append(Want(category=article.category, colour=colour, pattern=pattern))
    return wants


def answers(offers: list[Offer]) -> dict[Want, list[Offer]]:
    """Return everything that a shopper can ask for, with the offers that answer it."""
    index: dict[Want, list[Offer]] = {}
    for offer in offers:
        for want in _wants(offer):
            index.setdefault(want, []).append(offer)
    return index


def phrase(want: Want, rng: random.Random, synonyms: float) -> str:
    """Return a want in the words of a shopper.

    Args:
        want: The attributes to name.
        rng: Decides on the words and their order.
        synonyms: Probability that an attribute gets another word than the catalogue's.
    """

    def word(name: str, others: tuple[str, ...]) -> str:
        return rng.choice(others) if others and rng.random() < synonyms else name

    thing = ""
    if want.article:
        article = ARTICLES[want.article]
        name = article.plural if rng.random() < 0.35 else article.name
        thing = word(name, article.synonyms)
    elif want.category:
        thing = CATEGORY_WORDS[want.category]
    colour = word(want.colour, COLOUR_SYNONYMS[want.colour]) if want.colour else ""
    pattern = word(want.pattern, PATTERN_SYNONYMS[want.pattern]) if want.pattern else ""
    brand = want.brand or ""
    brand = brand.lower() if rng.random() < 0.5 else brand

    order = rng.random()
    if order < 0.15 and want.pattern in PATTERN_TAILS and thing:
        parts = (brand, colour, thing, PATTERN_TAILS[want.pattern])
    elif order < 0.3:
        parts = (brand, pattern, colour, thing)
    elif order < 0.4:
        parts = (thing, brand, colour, pattern)
    else:
        parts = (brand, colour, pattern, thing)
    return " ".join(part for part in parts if part)


def phrase_in_chinese(want: Want, rng: random.Random, synonyms: float) -> str:
    """Return a want in Chinese, such as "红色碎花连衣裙"; the arguments are those of `phrase`."""

    def word(words: tuple[str, ...]) -> str:
        usual, *others = words
        return rng.choice(others) if others and rng.random() < synonyms else usual

    thing = ""
    if want.article:
        thing = word(chinese.ARTICLES[want.article])
    elif want.category:
        thing = chinese.CATEGORIES[want.category]
    colour = word(chinese.COLOURS[want.colour]) if want.colour else ""
    pattern = word(chinese.PATTERNS[want.pattern]) if want.pattern else ""
    brand = want.brand or ""
    brand = brand.lower() if rng.random() < 0.5 else brand

    order = rng.random()
    if order < 0.15:
        parts = (brand, pattern, colour, thing)
    elif order < 0.3:
        parts = (thing, brand, colour, pattern)
    else:
        parts = (brand, colour, pattern, thing)
    between = " " if rng.random() < 0.2 else ""
    return between.join(part for part in parts if part)


def states(title: str, want: Want) -> bool:
    """Return whether a title names the colour and the pattern of a want. The pattern plain needs no word."""
    colours = [] if want.colour is None else sorted(colours_meant(want.colour))
    colour = not colours or any(
        named(title, colour_words(c)) or any(word in title for word in chinese.COLOURS[c]) for c in colours
    )
    pattern = want.pattern in (None, "plain") or (
        bool(named(title, pattern_words(want.pattern))) or any(word in title for word in chinese.PATTERNS[want.pattern])
    )
    return colour and pattern


def _suits(kind: str, want: Want, found: list[Offer], titles: dict[int, str]) -> bool:
    if kind == "brand":
        return want.brand is not None
    if want.brand is not None:
        return False
    if kind == "synonym":
        return want.article is not None and bool(ARTICLES[want.article].synonyms or want.colour or want.pattern)
    if want.colour is None and want.pattern is None:
        return False
    if kind == "visual":
        silent = sum(not states(titles[offer.product_id], want) for offer in found)
        return 2 * silent >= len(found)
    return True


def evaluation_queries(index: dict[Want, list[Offer]], titles: dict[int, str], *, count: int, seed: int) -> list[Query]:
    """Choose queries of every kind that have enough answers.

    The kinds: `attribute` uses the catalogue's words. `synonym` uses at least one other word. `visual` names a colour
    or a pattern that at least half of the relevant titles leave out. `brand` names a brand.

    Args:
        index: From `answers`.
        titles: Product id -> title.
        count: Number of queries; there are fewer only if the shop is too small.
        seed: The catalogue's seed.

    Returns:
        The queries; no two have the same text.
    """
    rng = random.Random(f"{seed}/queries")
    askable = [(want, found) for want, found in index.items() if MIN_RELEVANT <= len(found) <= MAX_RELEVANT]
    rng.shuffle(askable)
    quotas = {kind: round(count * share) for kind, share in KINDS.items()}
    quotas["attribute"] += count - sum(quotas.values())
    taken: set[str] = set()
    asked: set[Want] = set()
    chosen: list[tuple[str, str, list[Offer]]] = []
    for repeat in (False, True):  # a small shop may need to ask for the same thing in other words
        for kind in ("visual", "brand", "synonym", "attribute"):
            for want, found in askable:
                if quotas[kind] == 0:
                    break
                if (want in asked and not repeat) or not _suits(kind, want, found, titles):
                    continue
                text = phrase(want, rng, synonyms=0.7 if kind == "synonym" else 0.0)
                if text.lower() in taken or (kind == "synonym" and not _has_synonym(text, want)):
                    continue
                taken.add(text.lower())
                asked.add(want)
                quotas[kind] -= 1
                chosen.append((text, kind, found))
    rng.shuffle(chosen)
    return [
        Query(query_id=number, text=text, kind=kind, relevant=tuple(sorted(offer.product_id for offer in found)))
        for number, (text, kind, found) in enumerate(chosen, start=1)
    ]


def chinese_queries(index: dict[Want, list[Offer]], *, count: int, first_id: int, seed: int) -> list[Query]:
    """Choose queries in Chinese, of the kind CHINESE. All products that fit answer them, in whatever language.

    Args:
        index: From `answers`.
        count: Number of queries; there are fewer only if the shop is too small.
        first_id: Id of the first query.
        seed: The catalogue's seed.

    Returns:
        The queries; no two have the same text. Each has at least MIN_RELEVANT answers with a Chinese title.
    """
    rng = random.Random(f"{seed}/chinese queries")
    askable = [
        (want, found)
        for want, found in index.items()
        if len(found) <= MAX_RELEVANT
        and want.differs_in_chinese
        and sum(offer.supplier in chinese.SUPPLIERS for offer in found) >= MIN_RELEVANT
    ]
    rng.shuffle(askable)
    chosen: dict[str, list[Offer]] = {}
    for want, found in askable:
        if len(chosen) == count:
            break
        chosen.setdefault(phrase_in_chinese(want, rng, synonyms=0.3), found)
    return [
        Query(query_id=number, text=text, kind=CHINESE, relevant=tuple(sorted(offer.product_id for offer in found)))
        for number, (text, found) in enumerate(chosen.items(), start=first_id)
    ]


def _has_synonym(text: str, want: Want) -> bool:
    """Return whether a text has a synonym. "clock" alone is one, but not as a part of "wall clock"."""
    own: set[str] = set()
    others: set[str] = set()
    if want.article:
        article = ARTICLES[want.article]
        own |= {article.name, article.plural}
        others |= {*article.synonyms}
    if want.colour:
        own.add(want.colour)
        others |= {*COLOUR_SYNONYMS[want.colour]}
    if want.pattern:
        own.add(want.pattern)
        others |= {*PATTERN_SYNONYMS[want.pattern]}
    return any(word in others for word in named(text, own | others))
