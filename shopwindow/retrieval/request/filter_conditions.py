"""A filter after reading: conditions joined by and/or. Filters that mean the same have the same form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

Scalar = str | int | float | bool


@dataclass(frozen=True, order=True)
class Condition:
    """One test on one column.

    Attributes:
        column: name of the column.
        operator: `eq`, `in`, `contains_all`, `lt`, `lte`, `gt`, `gte` or `exists`.
        values: one value; several for `in` and `contains_all`, none for `exists`.
        negated: True if the condition holds for exactly the products that fail the test.
    """

    column: str
    operator: str
    values: tuple[Scalar, ...]
    negated: bool = False


@dataclass(frozen=True)
class Group:
    """Several expressions: all of them must hold (`and`), or at least one (`or`)."""

    operator: str
    parts: tuple[Expression, ...]


Expression = Condition | Group
Filter = tuple[Expression, ...]
"""Expressions that must all hold. They are in a canonical order, so that equal filters compare and hash equal."""


def joined(operator: str, parts: Iterable[Expression]) -> Expression:
    """Join expressions by `and` or `or`: flattened, sorted, without repetitions. A single one is returned as it is."""
    flat: list[Expression] = []
    for part in parts:
        flat.extend(part.parts if isinstance(part, Group) and part.operator == operator else (part,))
    ordered = tuple(dict.fromkeys(sorted(flat, key=_rank)))
    return ordered[0] if len(ordered) == 1 else Group(operator, ordered)


def negated(expression: Expression) -> Expression:
    """Return the complement of an expression, with `not` pushed down to the conditions (De Morgan)."""
    if isinstance(expression, Condition):
        return replace(expression, negated=not expression.negated)
    return joined("or" if expression.operator == "and" else "and", map(negated, expression.parts))


def conditions_of(expressions: Iterable[Expression]) -> Iterator[Condition]:
    """Yield every condition of a filter, at any depth, in canonical order."""
    for expression in expressions:
        if isinstance(expression, Condition):
            yield expression
        else:
            yield from conditions_of(expression.parts)


def without_own(filter: Filter, column: str) -> Filter:
    """Return a filter without those of its expressions whose conditions all name one column.

    A facet counts with it, so that a shop can show what else could be chosen in the same column.
    """
    return tuple(part for part in filter if {condition.column for condition in conditions_of((part,))} != {column})


def _rank(expression: Expression) -> tuple[bool, str, str, str, bool]:
    """Return a sort key. It compares the text of values, because a list may mix types that Python cannot compare."""
    if isinstance(expression, Condition):
        return False, expression.column, expression.operator, repr(expression.values), expression.negated
    return True, expression.operator, "", repr(expression.parts), False
