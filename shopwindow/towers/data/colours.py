"""Colour words, which training and evaluation remove from titles so that the photo has to show the colour."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

COLOUR_WORDS = frozenset(
    re.findall(
        r"\w+",
        """
        beige black blue bronze brown burgundy charcoal chocolate cobalt coffee copper coral cream crimson emerald
        fuchsia gold golden gray green grey indigo ivory khaki lavender lemon lilac lime magenta maroon mauve mint
        multi multicolor multicolored multicolour multicoloured mustard navy olive orange peach pink purple red rose
        rust sand scarlet silver tan tangerine teal turquoise violet white yellow
        """,
    )
)
SHORTEST = 3  # letters; values such as "NA" are not colours


def colour_words(values: Collection[str | None] = ()) -> frozenset[str]:
    """Return the common colour words and every word in the values of a colour column, in lower case."""
    words = {word for value in values if value for word in re.findall(r"[^\W\d_]+", value.lower())}
    return COLOUR_WORDS | {word for word in words if len(word) >= SHORTEST}


def whole_words(words: Collection[str]) -> re.Pattern[str]:
    """Return a pattern that matches these words as whole words, in any case."""
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, sorted(words)))})\b", re.IGNORECASE)


def without_words(titles: Sequence[str], words: Collection[str]) -> list[str]:
    """Return the titles without these words. Only whole words are removed, in any case."""
    pattern = whole_words(words)
    return [" ".join(pattern.sub(" ", title).split()) for title in titles]
