"""Fold texts: different ways to write the same words become one, before the towers and BM25 read them.

Every title and every query is folded once, where it enters: in `clean_text`, in `LexicalIndex.build` and in
`content_hash`. Case and accents stay, because some tokenisers tell them apart.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from html import unescape
from html.entities import html5

# Raised when texts fold differently from before. Builds of another version are not continued.
FOLDING = 1

# What NFKC leaves apart, or would join to a word. The choice of characters follows Lucene's ASCIIFoldingFilter.
_WRITTEN_AS = {
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2043\u2212\u207b\u208b", "-"),
    **dict.fromkeys("\u2014\u2015\u2e3a\u2e3b", " - "),  # em dashes stand between words, hyphens inside one
    **dict.fromkeys("‘’‚‛′‵´ʻʼ❛❜", "'"),
    **dict.fromkeys("“”„‟″‶❝❞", '"'),
    **dict.fromkeys("\u2044\u2215", "/"),
    "\u301c": "~",  # in its place Windows writes the full-width tilde
    **dict.fromkeys("™℠®©", " "),  # NFKC would make "nikeTM" of the first
    **dict.fromkeys("\u2800\ufffc\ufffd", " "),  # a blank Braille cell, and what stands for something lost
}
# The default-ignorable characters of Unicode that are not in the category of format characters.
_IGNORED = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]")
_SPACES = frozenset(("Zs", "Zl", "Zp", "Cc", "Co"))  # of each kind: control and private characters say nothing either

# With its semicolon. Without it "pens&notes" would hold a sign for "not". Some feeds escape an escaped text again.
_ENTITY = re.compile(r"&(?:(?:amp|#0*38|#[xX]0*26);)*(#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")
_INLINE = (
    "a abbr acronym b bdi bdo big cite code del dfn em font i ins kbd mark q s samp small span strike strong sub sup "
    "time tt u var wbr"
)
_BREAKING = (
    "address article aside audio blockquote body br button caption center col colgroup dd details div dl dt fieldset "
    "figcaption figure footer form h1 h2 h3 h4 h5 h6 head header hr html iframe img input label legend li link main "
    "meta nav noscript ol option p picture pre script section select source style summary svg table tbody td textarea "
    "tfoot th thead title tr ul video"
)
_NAMES = "|".join(f"{_INLINE} {_BREAKING}".split())
_ATTRIBUTE = r"""\s+[\w:.-]+\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'<>]+)"""
_TAG = re.compile(rf"<!--(?>[^>]*)(?<=--)>|</?({_NAMES})(?:{_ATTRIBUTE})*\s*/?>", re.IGNORECASE)
_MARKUP = re.compile(rf"{_ENTITY.pattern}|<[a-zA-Z/!]")


class CharacterTable(dict[int, str]):
    """A table for `str.translate` that computes an entry when it is first needed.

    Args:
        entry: returns what a character becomes.
    """

    _KEPT = 2**16  # entries; there are a million characters, and callers choose which

    def __init__(self, entry: Callable[[str], str]) -> None:
        self._entry = entry

    def __missing__(self, code: int) -> str:
        text = self._entry(chr(code))
        if len(self) < self._KEPT:
            self[code] = text
        return text


def fold(text: str) -> str:
    """Return a text with one way to write its words. Plain ASCII stays as it is.

    Characters become those of Unicode's normal form NFKC: full-width and half-width letters, ligatures and composed
    accents. Hyphens, apostrophes, quotation marks and spaces become those of ASCII. Invisible characters are dropped:
    soft hyphens, zero-width spaces and joiners, marks of direction, variation selectors. Control characters, and signs
    such as ™, become spaces. HTML entities become their characters and HTML tags are dropped; `size < 5 > 3` has none.

    Args:
        text: valid Unicode, without half surrogate pairs.
    """
    if text.isascii() and text.isprintable() and not (("&" in text or "<" in text) and _MARKUP.search(text)):
        return text
    text = _fold_characters(text)
    if "&" in text or "<" in text:
        text = _fold_characters(_TAG.sub(_without_tag, _ENTITY.sub(_character, text)))
    return " ".join(text.split())


def without_markup(text: str) -> str:
    """Return a text as a browser shows it: HTML entities become their characters, and tags are dropped."""
    return " ".join(_TAG.sub(_without_tag, _ENTITY.sub(_character, text)).split()) if _MARKUP.search(text) else text


def _fold_characters(text: str) -> str:
    # NFC of the NFKC of each character is the NFKC of the text.
    return unicodedata.normalize("NFC", text.translate(_FOLDED))


def _fold_character(character: str) -> str:
    if (written := _WRITTEN_AS.get(character)) is not None:
        return written
    category = unicodedata.category(character)
    if category == "Cf" or _IGNORED.match(character):
        return ""
    if category in _SPACES:
        return " "
    normal = unicodedata.normalize("NFKC", character)
    if normal == character:
        return character
    folded = normal.translate(_FOLDED)
    return f" {folded}" if "\u2044" in normal else folded  # 1½ is 1 1/2, not 11/2


_FOLDED = CharacterTable(_fold_character)


def _character(entity: re.Match[str]) -> str:
    name = entity[1]
    return unescape(f"&{name};") if name.startswith("#") or f"{name};" in html5 else entity[0]


def _without_tag(tag: re.Match[str]) -> str:
    name = tag[1]
    return "" if name is None or name.lower() in _INLINE_NAMES else " "


_INLINE_NAMES = frozenset(_INLINE.split())
