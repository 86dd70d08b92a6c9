"""What a filter is once read: conditions joined by and/or, in one form for all ways of writing the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

Scalar = str | int | float | bool


@dataclass(frozen=True, order=True)
class Condition:
    """One test on one column.

    Attributes:
        column: its name.
        operator: `eq`, `in`, `lt`, `lte`, `gt`, `gte` or `exists`.
        values: one entry, several for `in`, none for `exists`.
        negated: whether it holds for exactly the products that fail the test.
    """

    column: str
    operator: str
    values: tuple[Scalar, ...]
    negated: bool = False


@dataclass(frozen=True)
class Group:
    """Expressions of which all must hold (`and`) or at least one (`or`)."""

    operator: str
    parts: tuple[Expression, ...]


Expression = Condition | Group
Filter = tuple[Expression, ...]
"""Expressions that must all hold, in a canonical order, so that equal filters compare and hash equal."""


def joined(operator: str, parts: Iterable[Expression]) -> Expression:
    """Expressions under one `and` or `or`: flattened, sorted, each once; a single one stands for itself."""
    flat: list[Expression] = []
    for part in parts:
        flat.extend(part.parts if isinstance(part, Group) and part.operator == operator else (part,))
    ordered = tuple(dict.fromkeys(sorted(flat, key=_rank)))
    return ordered[0] if len(ordered) == 1 else Group(operator, ordered)


def negated(expression: Expression) -> Expression:
    """What holds exactly where `expression` does not; `not` is pushed down to the conditions (De Morgan)."""
    if isinstance(expression, Condition):
        return replace(expression, negated=not expression.negated)
    return joined("or" if expression.operator == "and" else "and", map(negated, expression.parts))


def conditions_of(expressions: Iterable[Expression]) -> Iterator[Condition]:
    """Every condition of a filter, however deep, in canonical order."""
    for expression in expressions:
        if isinstance(expression, Condition):
            yield expression
        else:
            yield from conditions_of(expression.parts)


def _rank(expression: Expression) -> tuple[bool, str, str, str, bool]:
    """A sort key. By the text of values, not their own order: a list may mix types that Python refuses to compare."""
    if isinstance(expression, Condition):
        return False, expression.column, expression.operator, repr(expression.values), expression.negated
    return True, expression.operator, "", repr(expression.parts), False
