"""Split texts into words for training, also those that are written without spaces."""

from __future__ import annotations

import re

from shopwindow.base.languages import HAN

_WORD = re.compile(rf"[{HAN}]|[^\s{HAN}]+")


def split_words(text: str) -> list[str]:
    """Return what stands between spaces, and each Chinese character as a word of its own.

    For a tokeniser of `train_tokenizer`, the words joined by spaces are the same text.
    """
    return _WORD.findall(text)
