"""Text of others, made safe to show: nothing in it steers a terminal, reorders a line or fills the screen."""

from __future__ import annotations

MAX_CHARACTERS = 2_000

_CUT = " [...] "
_TAIL = 700  # what to do next stands at the end of an error


def printable(text: str) -> str:
    """Return a text without invisible characters.

    Line breaks, tabs and unusual spaces become a space. Other control characters, among them those that reorder text,
    become their escape, as in `repr`.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c.isspace() else repr(c)[1:-1] for c in text)


def short(text: str) -> str:
    """Return the printable text, without its middle if it has more than `MAX_CHARACTERS`."""
    if len(text) > 2 * MAX_CHARACTERS:  # escape no more of a huge text than can be shown
        text = text[:MAX_CHARACTERS] + text[-MAX_CHARACTERS:]
    text = printable(text)
    if len(text) <= MAX_CHARACTERS:
        return text
    return text[: MAX_CHARACTERS - len(_CUT) - _TAIL] + _CUT + text[-_TAIL:]
