"""The words of the shop: colours and patterns with their synonyms, invented brands and suppliers."""

from __future__ import annotations

import re
from collections.abc import Collection

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (204, 34, 40),
    "blue": (44, 104, 208),
    "navy blue": (30, 38, 86),
    "green": (44, 140, 70),
    "yellow": (246, 206, 48),
    "orange": (240, 124, 28),
    "pink": (244, 146, 182),
    "purple": (120, 62, 162),
    "brown": (114, 72, 42),
    "black": (34, 34, 38),
    "white": (243, 243, 241),
    "grey": (140, 143, 148),
    "beige": (216, 194, 156),
}
"""Colour name -> its RGB in drawings, before jitter."""

COLOUR_SYNONYMS: dict[str, tuple[str, ...]] = {
    "red": ("scarlet", "crimson"),
    "blue": ("cobalt",),
    "navy blue": ("navy", "dark blue"),
    "green": ("emerald",),
    "yellow": ("lemon yellow",),
    "orange": ("tangerine",),
    "pink": ("rose pink",),
    "purple": ("violet",),
    "brown": ("chocolate brown",),
    "black": ("jet black",),
    "white": ("snow white",),
    "grey": ("gray",),
    "beige": ("sand", "cream"),
}

PATTERNS: tuple[str, ...] = ("plain", "striped", "dotted", "checked", "floral")

PATTERN_SYNONYMS: dict[str, tuple[str, ...]] = {
    "plain": ("solid",),
    "striped": ("stripy", "stripes"),
    "dotted": ("polka dot", "spotted"),
    "checked": ("plaid", "tartan", "gingham"),
    "floral": ("flowery", "flower print"),
}

PATTERN_TAILS: dict[str, str] = {
    "striped": "with stripes",
    "dotted": "with polka dots",
    "checked": "with checks",
    "floral": "with flowers",
}
"""Pattern -> how shoppers name it after the article."""

CATEGORY_WORDS: dict[str, str] = {
    "clothing": "clothes",
    "shoes": "footwear",
    "bags": "bags",
    "accessories": "accessories",
    "kitchen": "kitchenware",
    "furniture": "furniture",
    "home": "home decor",
    "electronics": "electronics",
    "toys": "toys",
}
"""Category -> how shoppers name it."""

BRANDS: dict[str, float] = {
    "Nordvale": 1.15,
    "Kestrel Lane": 1.25,
    "Ombrava": 0.85,
    "Tarnwick": 1.0,
    "Lumisol": 0.9,
    "Quillfern": 1.05,
    "Vardelle": 1.6,
    "Pellora": 1.1,
    "Mosswick": 0.8,
    "Zephyrine": 1.4,
    "Harbrook": 1.0,
    "Oaklume": 1.2,
    "Tindrel": 0.75,
    "Corvale": 0.95,
    "Belquist": 1.3,
    "Fennmark": 0.9,
    "Solvanto": 1.5,
    "Marnique": 1.75,
}
"""Brand -> price level; 1 is the middle of the market."""

SUPPLIERS: tuple[str, ...] = (
    "Altmere Trading",
    "Baysworth Goods",
    "Calder & Finch",
    "Dunmarrow Direct",
    "Elmsgate Wholesale",
    "Farrowick Outlet",
    "Gladstow Imports",
    "Hollinbrook Stores",
    "Ivermoor Supply",
    "Jarlstad Handel",
    "Kettlebury Shop",
    "Larkstone Depot",
    "Merriton Market",
    "Norwyck Bazaar",
    "Orchardel Retail",
    "Pinewhit Warehouse",
    "Quayside Parcel Co",
    "Rosmarrow House",
    "Saltern Street",
    "Thistlecote",
    "Upperfold Trade",
    "Venlowe Brothers",
    "Westerhaven",
    "Yarrowby Mail Order",
    "Zellmarch",
)


def colour_words(colour: str) -> tuple[str, ...]:
    """Return all words for a colour, the catalogue's first."""
    return (colour, *COLOUR_SYNONYMS[colour])


def pattern_words(pattern: str) -> tuple[str, ...]:
    """Return all words for a pattern, the catalogue's first."""
    return (pattern, *PATTERN_SYNONYMS[pattern])


def colours_meant(colour: str) -> frozenset[str]:
    """Return the catalogue's colours that match a query for `colour`. A query for blue also matches navy blue."""
    return frozenset({"blue", "navy blue"}) if colour == "blue" else frozenset({colour})


def named(text: str, words: Collection[str]) -> list[str]:
    """Return those of `words` that are in `text` as whole words in any case, longest first: "Sandal" is not "sand"."""
    longest_first = sorted(words, key=lambda word: (-len(word), word))
    return re.findall(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)", text.lower())
