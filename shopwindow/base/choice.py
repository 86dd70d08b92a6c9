"""Settings that name one of a few choices."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

Kind = TypeVar("Kind", bound=StrEnum)


def choice(kind: type[Kind], variable: str, text: str) -> Kind:
    """Return the choice that the text of an environment variable names, in upper or lower case.

    Raises:
        ValueError: it names none. The message names the variable and the choices.
    """
    try:
        return kind(text.strip().lower())
    except ValueError:
        raise ValueError(f"{variable}: must be one of {', '.join(kind)}, got {text!r}") from None
