"""Split titles and queries into the words that the lexical channel compares."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shopwindow.base.languages import HAN, PLURALS, STOP_WORDS
from shopwindow.retrieval.embedding.folding import CharacterTable, fold
from shopwindow.retrieval.errors import IndexUnfit, Unfit

WORDS_FILE = "words.json"  # in the folder of the lexical channel
_FORMAT = 2
_T_SHIRT = re.compile(r"\bt[ -]shirt")
_CHINESE = re.compile(f"[{HAN}]")
# Han, kana and Hangul, which are written with few spaces or none; as in Lucene's CJKBigramFilter.
UNSPACED = re.compile(
    "[\u1100-\u11ff\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3038-\u303c\u3041-\u30ff\u3105-\u318e\u31a0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97c\uac00-\ud7fb\uf900-\ufaff\U0001aff0-\U0001b16f\U00020000-\U0003ffff]+"
)


@dataclass(frozen=True)
class WordSplitter:
    """Splits texts into words in lower case and singular, without stop words.

    "men's" becomes "men", "t-shirts" becomes "tshirt", and stop words such as "for" are dropped. Without this BM25
    ranks far worse: on the fashion set nDCG@10 is 0.58 with the library's defaults and 0.75 with these rules.

    Chinese, Japanese and Korean text has no spaces to split at. A title gives each of its characters and each pair of
    neighbours. A query gives the pairs and the Chinese characters. So 球鞋 also finds 运动鞋, below titles with 球鞋. A
    single kana or Hangul says too little, so queries give it only where it stands alone. This needs no dictionary, and
    so knows the names of new brands. Nie et al. 2000, "On the use of words and n-grams for Chinese information
    retrieval", found characters with pairs as good as the words of a dictionary. `python -m
    shopwindow_loadtests.word_splitting` compares the ways.

    Args:
        stop_words: words that are not compared, in lower case.
        plurals: plural -> singular, of words that no rule finds.
        query_characters: whether queries give the Chinese characters too. Indexes of earlier versions give only pairs.
    """

    stop_words: frozenset[str] = STOP_WORDS
    plurals: Mapping[str, str] = field(default_factory=lambda: PLURALS)
    query_characters: bool = True

    @classmethod
    def from_file(cls, file: Path) -> WordSplitter:
        """Return a splitter with the stop words of a text file, which has any number of words a line.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is not UTF-8.
        """
        try:
            return cls(frozenset(_words(fold(file.read_text(encoding="utf-8")))))
        except UnicodeDecodeError as error:
            raise ValueError(f"stop words: {file} must be UTF-8: {error}") from None

    @classmethod
    def read(cls, folder: Path) -> WordSplitter:
        """Return the splitter that split the titles of a stored lexical channel; the usual one if it does not say.

        Format 1 had no plurals and no characters in queries. Such an index is searched as it was built.

        Raises:
            IndexUnfit: the file is unreadable, or this version does not know its format.
        """
        file = folder / WORDS_FILE
        if not file.exists():
            return cls()
        try:
            fields = json.loads(file.read_text(encoding="utf-8"))
            found, stop_words = fields["format"], frozenset(fields["stop_words"])
            early = found == 1
            plurals = {} if early else {str(word): str(singular) for word, singular in fields["plurals"].items()}
            query_characters = not early and bool(fields["query_characters"])
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise IndexUnfit(f"{file}: {error!r}", kind=Unfit.UNREADABLE) from error
        if found not in (1, _FORMAT):
            raise IndexUnfit(
                f"{file}: format {found!r}, this version reads formats 1 and {_FORMAT}", kind=Unfit.UNREADABLE
            )
        return cls(stop_words, plurals, query_characters)

    def write(self, folder: Path) -> None:
        """Write what `read` reads."""
        fields = {
            "format": _FORMAT,
            "stop_words": sorted(self.stop_words),
            "plurals": dict(self.plurals),
            "query_characters": self.query_characters,
        }
        (folder / WORDS_FILE).write_text(json.dumps(fields, ensure_ascii=False) + "\n", encoding="utf-8")

    def title(self, text: str) -> list[str]:
        """Return the words of a title that `fold` has folded."""
        return self._split(text, characters=UNSPACED)

    def query(self, text: str) -> list[str]:
        """Return the words of a query that `fold` has folded."""
        return self._split(text, characters=_CHINESE if self.query_characters else None)

    def _split(self, text: str, *, characters: re.Pattern[str] | None) -> list[str]:
        words = _words(text)
        if not text.isascii():
            words = [part for word in words for part in _parts(word, characters)]
        return [self.plurals.get(word) or _singular(word) for word in words if word not in self.stop_words]


def _words(text: str) -> list[str]:
    # In lower case İ is an i and a dot above it.
    text = _T_SHIRT.sub("tshirt", text.lower().replace("i̇", "i").replace("'s", ""))
    return text.replace("-", "").translate(_WORD_CHARACTERS).split()


def _word_character(character: str) -> str:
    """Return the character if it is part of a word: a letter, a digit, or a mark such as an accent or a vowel sign."""
    return character if character == "_" or unicodedata.category(character)[0] in "LNM" else " "


_WORD_CHARACTERS = CharacterTable(_word_character)


def _parts(word: str, characters: re.Pattern[str] | None) -> list[str]:
    """Return a word, or, where it has letters of a script without spaces, the pairs of them and the rest.

    Args:
        word: without spaces.
        characters: those that also count alone. A letter without neighbours of its script always does.
    """
    parts, end = [], 0
    for run in UNSPACED.finditer(word):
        parts.append(word[end : run.start()])
        end = run.end()
        letters = run[0]
        parts += [letters[at : at + 2] for at in range(len(letters) - 1)]
        parts += [letter for letter in letters if len(letters) == 1 or (characters and characters.match(letter))]
    return [part for part in [*parts, word[end:]] if part]


def _singular(word: str) -> str:
    """Return the singular of an English word.

    This is a simplified S stemmer (Harman 1991). The rule for -es after a sibilant is our own.
    """
    if len(word) <= 3 or not word.endswith("s") or word.endswith("ss"):
        return word
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    return word[:-2] if word.endswith(("sses", "shes", "ches", "xes")) else word[:-1]
