"""Split titles and queries into the words that the lexical channel compares."""

from __future__ import annotations

import re
from collections.abc import Sequence

_T_SHIRT = re.compile(r"\bt[ -]shirt")


def split_words(texts: Sequence[str]) -> list[list[str]]:
    """Return the words of each text in lower case and singular, without stop words.

    "men's" becomes "men", "t-shirts" becomes "tshirt", and stop words such as "for" are dropped. Without this BM25
    ranks far worse: on the fashion set nDCG@10 is 0.58 with the library's defaults and 0.75 with these rules.
    """
    import bm25s  # here and not above, because it imports scipy, which is slow to load

    joined = [_T_SHIRT.sub("tshirt", text.lower().replace("’", "'").replace("'s", "")) for text in texts]
    words: list[list[str]] = bm25s.tokenize(
        [text.replace("-", "") for text in joined],
        token_pattern=r"\w+",
        stopwords="en",
        stemmer=lambda words: [_singular(word) for word in words],
        return_ids=False,
        show_progress=False,
    )
    return words


def _singular(word: str) -> str:
    """Return the singular of an English word.

    This is a simplified S stemmer (Harman 1991). The rule for -es after a sibilant is our own.
    """
    if len(word) <= 3 or not word.endswith("s") or word.endswith("ss"):
        return word
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    return word[:-2] if word.endswith(("sses", "shes", "ches", "xes")) else word[:-1]
