"""Markdown from Python: tables, and docstrings with their sections."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

_SECTION = re.compile(r"^(Args|Attributes|Returns|Raises|Yields):$")
_ITEM = re.compile(r"^    (\*{0,2}\w+): (.*)$")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table. A `|` in a cell is escaped, and a line break becomes a space."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines) + "\n"


def _cell(text: str) -> str:
    return re.sub(r"\s*\n\s*", " ", text.strip()).replace("|", "\\|")


def prose(text: str) -> str:
    """Return a text whose `<` and `*` show as they are, outside of code."""
    parts = re.split(r"(``.*?``|`[^`]*`)", text)
    return "".join(part if number % 2 else re.sub(r"([<*])", r"\\\1", part) for number, part in enumerate(parts))


def code(text: str) -> str:
    """Return a text as inline code."""
    return f"`` {text} ``" if "`" in text else f"`{text}`"


@dataclass
class Docstring:
    """A docstring, taken apart.

    Attributes:
        text: what stands before the sections.
        items: section -> name -> text, for Args, Attributes and Raises.
        returns: the text of Returns or Yields.
    """

    text: str = ""
    items: dict[str, dict[str, str]] = field(default_factory=dict)
    returns: str = ""


def docstring(thing: object) -> Docstring:
    """Take the docstring of a thing apart; one without a docstring gives an empty one."""
    found = Docstring()
    section, name, before = "", "", []
    for line in (inspect.getdoc(thing) or "").splitlines():
        if match := _SECTION.match(line):
            section, name = match[1], ""
        elif section and line and not line.startswith(" "):
            section = ""  # text goes on after the sections
            before.append(line)
        elif not section:
            before.append(line)
        elif section in ("Returns", "Yields"):
            found.returns = f"{found.returns} {line.strip()}".strip()
        elif match := _ITEM.match(line):
            name = match[1]
            found.items.setdefault(section, {})[name] = match[2]
        elif name and line.strip():
            found.items[section][name] += f" {line.strip()}"
    found.text = "\n".join(before).strip()
    return found
