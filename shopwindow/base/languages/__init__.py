"""Words of each language as data: a folder for each language, named by its code, with a text file for each kind.

- `stop_words.txt`: words that searches by words leave out, any number a line. English as in Lucene's EnglishAnalyzer.
- `colours.txt`: colour words, any number a line. Training and evaluation remove them from titles.
- `plurals.txt`: plurals that no rule finds, a plural and its singular a line.
- `columns.txt`: names that shops give columns, without spaces and signs: `product_id` or `title` and names, the most
  telling first; `photo`, `photo_before` and `photo_after`, whose names are joined, such as product + image + url.

All words are in lower case. All languages count together, so what is a stop word in one must not be a useful word in
another. A language needs only the files that help it.
"""

from __future__ import annotations

from pathlib import Path

# The ideographs that BERT's tokenisers set apart, so that each is a word of its own.
HAN = (
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df\U0002a700-\U0002b73f\U0002b740-\U0002b81f"
    "\U0002b820-\U0002ceaf\U0002f800-\U0002fa1f"
)
"""Chinese characters, as ranges for a set in a regular expression."""


def _texts(name: str) -> list[str]:
    return [file.read_text(encoding="utf-8") for file in sorted(Path(__file__).parent.glob(f"*/{name}.txt"))]


STOP_WORDS = frozenset(word for text in _texts("stop_words") for word in text.split())
COLOUR_WORDS = frozenset(word for text in _texts("colours") for word in text.split())
PLURALS: dict[str, str] = {
    plural: singular for text in _texts("plurals") for plural, singular in map(str.split, text.splitlines())
}
"""Plural -> singular."""


def _column_names() -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for text in _texts("columns"):
        of_language: dict[str, list[str]] = {}
        for use, *names in map(str.split, text.splitlines()):
            of_language.setdefault(use, []).extend(names)
        for use, names in of_language.items():
            ranked = found.setdefault(use, {})
            for rank, name in enumerate(names):
                ranked[name] = min(rank, ranked.get(name, rank))
    return found


COLUMN_NAMES = _column_names()
"""What a column may be -> the names that say so, each with its rank in its language, the most telling one 0."""
