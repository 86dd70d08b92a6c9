"""Colour words, which training and evaluation remove from titles so that the photo has to show the colour."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from shopwindow.base.languages import COLOUR_WORDS, HAN

SHORTEST = 3  # letters; values such as "NA" are not colours
SHORTEST_IN_CHINESE = 2
_CHINESE = re.compile(rf"[{HAN}]+")
_LETTER = rf"[^\W{HAN}]"  # of a word that ends at a space or a Chinese character


def colour_words(values: Collection[str | None] = ()) -> frozenset[str]:
    """Return the common colour words and every word in the values of a colour column, in lower case."""
    words = {word for value in values if value for word in re.findall(r"[^\W\d_]+", value.lower())}
    return COLOUR_WORDS | {word for word in words if len(word) >= _shortest(word)}


def _shortest(word: str) -> int:
    return SHORTEST_IN_CHINESE if _CHINESE.fullmatch(word) else SHORTEST


def whole_words(words: Collection[str]) -> re.Pattern[str]:
    """Return a pattern that matches these words, in any case: Chinese ones anywhere, others only as whole words."""
    longest_first = sorted(words, key=lambda word: (-len(word), word))  # 粉红色 ends in 红色
    chinese = [re.escape(word) for word in longest_first if _CHINESE.fullmatch(word)]
    others = [re.escape(word) for word in longest_first if not _CHINESE.fullmatch(word)]
    kinds = [rf"(?<!{_LETTER})(?:{'|'.join(others)})(?!{_LETTER})"] if others else []
    return re.compile("|".join([*kinds, *chinese]), re.IGNORECASE)


def without_words(titles: Sequence[str], words: Collection[str]) -> list[str]:
    """Return the titles without these words, which `whole_words` finds."""
    pattern = whole_words(words)
    return [" ".join(pattern.sub(" ", title).split()) for title in titles]
