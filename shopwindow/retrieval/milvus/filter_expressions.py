"""Write a filter as a Milvus expression.

It keeps exactly the products that `shopwindow.retrieval.request.filter_rows` keeps.

Versions of Milvus differ in how they compare NULL, so no field of a collection is NULL. Each field `c3` has a second
field `c3_has`, which says whether there is a value. A test is then `(c3_has == true and c3 == 5)`, and its negation is
the complement.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from shopwindow.retrieval.request.attribute_columns import AttributeTable, ListColumn, TextColumn, TimeColumn
from shopwindow.retrieval.request.filter_conditions import Condition, Expression, Filter, Group, Scalar
from shopwindow.retrieval.request.filter_rows import RANGES, WHOLE_LIMIT
from shopwindow.retrieval.request.moments import read_moment

_SIGNS = {"eq": "==", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})
_WHOLE = np.iinfo(np.int64)


@dataclass(frozen=True, kw_only=True)
class Field:
    """The field of a collection that holds a column of the catalogue.

    Attributes:
        name: name of the field. It is not the column's name, because Milvus does not take every name.
        kind: "text" (VARCHAR), "whole", "days" or "moments" (all INT64), "float16", "float32" or "float64" (all DOUBLE;
            a float32 19.99 is kept as the double of the same value and compared with that double).
    """

    name: str
    kind: str

    @property
    def flag(self) -> str:
        """Name of the field that says whether there is a value."""
        return f"{self.name}_has"


def fields_of(table: AttributeTable) -> dict[str, Field]:
    """Return column -> field. Only types matter, so an empty table of the same schema gives the same fields.

    Columns of lists have no field.
    """
    fields = {}
    for number, column in enumerate(table.names):
        held = table.get(column)
        assert held is not None  # `names` are the table's columns
        if isinstance(held, ListColumn):
            continue
        if isinstance(held, TextColumn):
            kind = "text"
        elif isinstance(held, TimeColumn):
            kind = "days" if held.days else "moments"
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
        The expression; or True if every product satisfies the filter whatever its values are, False if none does.
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
    """Join parts by `and` or `or`. Parts that are True or False are left out, or decide the result."""
    decisive = operator == "or"
    if decisive in parts:
        return decisive
    texts = [part for part in parts if isinstance(part, str)]
    if not texts:
        return not decisive
    return texts[0] if len(texts) == 1 else f"({f' {operator} '.join(texts)})"


def _test(condition: Condition, field: Field) -> str | bool:
    """Write a condition for products that have a value in the column."""
    if field.kind in ("days", "moments"):
        return _time_test(condition, field)
    if condition.operator in RANGES:
        return _range(condition, field)
    literals = [literal for value in condition.values if (literal := _literal(value, field)) is not None]
    if not literals:
        return False
    return f"{field.name} == {literals[0]}" if len(literals) == 1 else f"{field.name} in [{', '.join(literals)}]"


def _time_test(condition: Condition, field: Field) -> str | bool:
    moments = [read_moment(value) for value in condition.values if isinstance(value, str)]
    days = field.kind == "days"
    if condition.operator in RANGES:
        return f"{field.name} {_SIGNS[condition.operator]} {moments[0].limit(condition.operator, days=days)}"
    spans = [span for moment in moments if (span := moment.span(days=days))]
    return _join("or", [f"({field.name} >= {first} and {field.name} <= {last})" for first, last in spans])


def _range(condition: Condition, field: Field) -> str | bool:
    value = condition.values[0]
    assert not isinstance(value, str)
    limit = WHOLE_LIMIT[condition.operator](value) if field.kind == "whole" else _rounded(value, field)
    beyond = not _WHOLE.min <= limit <= _WHOLE.max if field.kind == "whole" else math.isinf(limit)
    if beyond:  # every number of the column is on the same side of the limit as 0
        return bool(RANGES[condition.operator](0, limit))
    return f"{field.name} {_SIGNS[condition.operator]} {limit!r}"


def _literal(value: Scalar, field: Field) -> str | None:
    """Write a value as a Milvus literal; None if no value of the column can equal it."""
    if isinstance(value, str):
        # A lone surrogate is not valid Unicode, so neither a catalogue nor a message can hold it.
        return None if any("\ud800" <= c <= "\udfff" for c in value) else f'"{value.translate(_ESCAPES)}"'
    if field.kind == "whole":
        return str(int(value)) if value == int(value) and _WHOLE.min <= value <= _WHOLE.max else None
    number = _rounded(value, field)
    return None if math.isinf(number) else repr(number)


def _rounded(value: int | float, field: Field) -> float:
    """Round a number to the column's type and return it as a double. -0.0 becomes 0.0: `in` tells the two apart."""
    with np.errstate(over="ignore"):
        return float(np.dtype(field.kind).type(value)) + 0.0
