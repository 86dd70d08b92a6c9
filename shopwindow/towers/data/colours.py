"""Colour words: what a photo tells better than a title."""

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
SHORTEST = 3  # letters: values such as "NA" are no colour


def colour_words(values: Collection[str | None] = ()) -> frozenset[str]:
    """The common colour words, and every word of the values of a colour column, in lower case."""
    words = {word for value in values if value for word in re.findall(r"[^\W\d_]+", value.lower())}
    return COLOUR_WORDS | {word for word in words if len(word) >= SHORTEST}


def whole_words(words: Collection[str]) -> re.Pattern[str]:
    """Matches each of these words where it stands alone, in any case."""
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, sorted(words)))})\b", re.IGNORECASE)


def without_words(titles: Sequence[str], words: Collection[str]) -> list[str]:
    """The titles without these words, whole words of any case."""
    pattern = whole_words(words)
    return [" ".join(pattern.sub(" ", title).split()) for title in titles]
