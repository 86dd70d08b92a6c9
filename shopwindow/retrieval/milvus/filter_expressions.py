"""A filter as a Milvus expression that holds for exactly the products that `request.filter_rows` lets through.

Versions of Milvus differ in what a test of NULL means, so no field of a collection is ever NULL: beside each column
`c3` stands a flag `c3_has`, every test reads `(c3_has == true and c3 == 5)`, and a negation is a plain complement.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from shopwindow.retrieval.request.attribute_columns import AttributeTable, TextColumn
from shopwindow.retrieval.request.filter_conditions import Condition, Expression, Filter, Group, Scalar
from shopwindow.retrieval.request.filter_rows import RANGES, WHOLE_LIMIT

_SIGNS = {"eq": "==", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})
_WHOLE = np.iinfo(np.int64)


@dataclass(frozen=True, kw_only=True)
class Field:
    """Where a column of the catalogue is kept in a collection.

    Attributes:
        name: the field with its values; a column's own name may be none that Milvus takes.
        kind: "text" (VARCHAR), "whole" (INT64), "float32" or "float64" (both DOUBLE: a float32 19.99 is kept as the
            double it is, and compared with that).
    """

    name: str
    kind: str

    @property
    def flag(self) -> str:
        """The field that says whether there is a value."""
        return f"{self.name}_has"


def fields_of(table: AttributeTable) -> dict[str, Field]:
    """The fields of a table's columns, by column; types alone decide, so an empty table of the same schema will do."""
    fields = {}
    for number, column in enumerate(table.names):
        held = table.get(column)
        assert held is not None  # it names its own columns
        if isinstance(held, TextColumn):
            kind = "text"
        else:
            kind = str(held.numbers.dtype) if held.numbers.dtype.kind == "f" else "whole"
        fields[column] = Field(name=f"c{number}", kind=kind)
    return fields


def milvus_expression(conditions: Filter, fields: Mapping[str, Field]) -> str | bool:
    """Write a filter in Milvus's language.

    Args:
        conditions: from `parse_filter`, checked with `check_filter`.
        fields: from `fields_of`.

    Returns:
        The expression, or True or False where it holds for every product or for none whatever their values are.
    """
    return _write(Group("and", conditions), fields)


def _write(expression: Expression, fields: Mapping[str, Field]) -> str | bool:
    if isinstance(expression, Group):
        return _join(expression.operator, [_write(part, fields) for part in expression.parts])
    field = fields[expression.column]
    test = True if expression.operator == "exists" else _test(expression, field)
    found = _join("and", [f"{field.flag} == true", test])
    if not expression.negated:
        return found
    return f"not ({found})" if isinstance(found, str) else not found


def _join(operator: str, parts: list[str | bool]) -> str | bool:
    """Parts under `and` or `or`; those that decide nothing are left out, and one that decides all stands for all."""
    decisive = operator == "or"
    if decisive in parts:
        return decisive
    texts = [part for part in parts if isinstance(part, str)]
    if not texts:
        return not decisive
    return texts[0] if len(texts) == 1 else f"({f' {operator} '.join(texts)})"


def _test(condition: Condition, field: Field) -> str | bool:
    """A condition on a column whose value is there."""
    if condition.operator in RANGES:
        return _range(condition, field)
    literals = [literal for value in condition.values if (literal := _literal(value, field)) is not None]
    if not literals:
        return False
    return f"{field.name} == {literals[0]}" if len(literals) == 1 else f"{field.name} in [{', '.join(literals)}]"


def _range(condition: Condition, field: Field) -> str | bool:
    value = condition.values[0]
    assert not isinstance(value, str)
    limit = WHOLE_LIMIT[condition.operator](value) if field.kind == "whole" else _rounded(value, field)
    beyond = not _WHOLE.min <= limit <= _WHOLE.max if field.kind == "whole" else math.isinf(limit)
    if beyond:  # every number lies on the same side of it as 0
        return bool(RANGES[condition.operator](0, limit))
    return f"{field.name} {_SIGNS[condition.operator]} {limit!r}"


def _literal(value: Scalar, field: Field) -> str | None:
    """A value as Milvus reads it; None where no value of the column can equal it."""
    if isinstance(value, str):
        # A lone surrogate is no Unicode, so neither a catalogue nor a message can hold it.
        return None if any("\ud800" <= c <= "\udfff" for c in value) else f'"{value.translate(_ESCAPES)}"'
    if field.kind == "whole":
        return str(int(value)) if value == int(value) and _WHOLE.min <= value <= _WHOLE.max else None
    number = _rounded(value, field)
    return None if math.isinf(number) else repr(number)


def _rounded(value: int | float, field: Field) -> float:
    """The number in the column's own type, as a double; never -0.0, which a list would tell from 0.0."""
    with np.errstate(over="ignore"):
        return float(np.dtype(field.kind).type(value)) + 0.0
