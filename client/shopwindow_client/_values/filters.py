"""Filters written in Python: `(field("price") < 50) & field("brand").isin(["Kesto"])`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, NoReturn, Union

from .errors import InvalidRequest

Scalar = Union[str, int, float, bool, date]

Comparable = Union[str, float, date]

_WORDS = ("and", "or", "not")


class _Operand:
    """Base of `Field` and `Filter`.

    It refuses wrong operands with advice, because Python reads `&`, `|` and `~` before `<`, `==` and `>`.
    """

    # With this, numpy numbers on the left leave the comparison to `Field`. Without it they ask the filter whether it is
    # true.
    __array_ufunc__ = None

    def __and__(self, other: Any) -> Any:
        _refuse("&", self, other)

    def __rand__(self, other: Any) -> NoReturn:
        _refuse("&", other, self)

    def __or__(self, other: Any) -> Any:
        _refuse("|", self, other)

    def __ror__(self, other: Any) -> NoReturn:
        _refuse("|", other, self)

    def __bool__(self) -> NoReturn:
        raise TypeError(
            f"{self!r} is neither true nor false. Write & instead of and, | instead of or, ~ instead of not, "
            '.isin([...]) instead of in, and (field("price") >= 10) & (field("price") < 50) instead of '
            '10 <= field("price") < 50'
        )


class Filter(_Operand):
    """A condition over attribute columns. `field` makes conditions; `&`, `|` and `~` combine them.

    Args:
        tree: The object that the server reads, such as `{"price": {"lt": 50}}`.
    """

    def __init__(self, tree: Mapping[str, Any]) -> None:
        self.tree = dict(tree)

    def __and__(self, other: Filter) -> Filter:
        if not isinstance(other, Filter):
            _refuse("&", self, other)
        return Filter(_merged(self.tree, other.tree) or {"and": [*_terms("and", self), *_terms("and", other)]})

    def __or__(self, other: Filter) -> Filter:
        if not isinstance(other, Filter):
            _refuse("|", self, other)
        return Filter({"or": [*_terms("or", self), *_terms("or", other)]})

    def __invert__(self) -> Filter:
        return Filter({"not": self.tree})

    def __repr__(self) -> str:
        return f"Filter({self.tree})"


class Field(_Operand):
    """A column of the catalogue, to compare with values. `field` makes it.

    Columns of dates and timestamps are compared with `date` and `datetime`, or with their text as ISO 8601 writes it. A
    product with a list of values passes a comparison if one of its values does.

    A product without a value fails `==`, `<`, `<=`, `>`, `>=` and `isin`. It passes `!=`, `not_in` and `~` of these:
    `field("colour") != "red"` also finds products without a colour. Add `& field("colour").exists()` to leave them out.
    """

    def __init__(self, name: str) -> None:
        if not isinstance(name, str) or not name or name in _WORDS:
            raise InvalidRequest(f"field must be a column's name other than {', '.join(_WORDS)}, got {name!r}")
        self.name = name

    def __eq__(self, value: object) -> Filter:  # type: ignore[override]
        return self._is("eq", value)

    def __ne__(self, value: object) -> Filter:  # type: ignore[override]
        return self._is("ne", value)

    def __lt__(self, value: Comparable) -> Filter:
        return self._is("lt", value)

    def __le__(self, value: Comparable) -> Filter:
        return self._is("lte", value)

    def __gt__(self, value: Comparable) -> Filter:
        return self._is("gt", value)

    def __ge__(self, value: Comparable) -> Filter:
        return self._is("gte", value)

    def __invert__(self) -> NoReturn:
        raise TypeError(
            f"~ negates a condition, got the column {self!r}. Compare it first, in parentheses: ~({self!r} == ...)"
        )

    __hash__ = None  # type: ignore[assignment]  # == makes a filter, so fields cannot be keys of a dictionary

    def isin(self, values: Iterable[Scalar]) -> Filter:
        """Find products whose value is one of these."""
        return Filter({self.name: {"in": self._all("isin", values)}})

    def not_in(self, values: Iterable[Scalar]) -> Filter:
        """Find products whose value is none of these, and products without a value."""
        return Filter({self.name: {"not_in": self._all("not_in", values)}})

    def contains_all(self, values: Iterable[Scalar]) -> Filter:
        """Find products whose list of values has all of these."""
        return Filter({self.name: {"contains_all": self._all("contains_all", values)}})

    def exists(self, wanted: bool = True) -> Filter:
        """Find products with a value, or those without one if `wanted` is False."""
        return Filter({self.name: {"exists": bool(wanted)}})

    def __repr__(self) -> str:
        return f"field({self.name!r})"

    def _is(self, operator: str, value: object) -> Filter:
        return Filter({self.name: {operator: self._scalar(operator, value)}})

    def _all(self, operator: str, values: Iterable[Scalar]) -> list[str | int | float | bool]:
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise InvalidRequest(f"{self!r}.{operator} needs a list of values, got {values!r}")
        found = [self._scalar(operator, value) for value in values]
        if not found:
            raise InvalidRequest(f"{self!r}.{operator} needs at least one value, got none")
        return found

    def _scalar(self, operator: str, value: Any) -> str | int | float | bool:
        if hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # a number of numpy's
            value = value.item()
        if value is None:
            raise InvalidRequest(f"{self!r} {operator} None: use exists() to ask whether there is a value")
        if isinstance(value, date):  # a datetime, too
            return value.isoformat()
        if not isinstance(value, (str, int, float, bool)):
            raise InvalidRequest(f"{self!r} {operator} needs a text, a number, a date or True/False, got {value!r}")
        return value


def field(name: str) -> Field:
    """Return a column of the catalogue, to write a filter with.

    Raises:
        InvalidRequest: `name` is empty, or one of the words and, or, not.
    """
    return Field(name)


def _refuse(operator: str, left: Any, right: Any) -> NoReturn:
    """Raise TypeError for operands that are not both conditions."""
    raise TypeError(
        f"{operator} joins two conditions, but this is {left!r} {operator} {right!r}. Python reads {operator} before "
        "<, == and >. Compare each column, and put each comparison in parentheses: "
        f'(field("price") < 50) {operator} (field("colour") == "red")'
    )


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return both as one flat object, which every server reads. None: one flat object cannot say it."""
    if any(word in tree for word in _WORDS for tree in (one, other)):
        return None
    merged: dict[str, Any] = {column: dict(tests) for column, tests in one.items()}
    for column, tests in other.items():
        here = merged.setdefault(column, {})
        if here.keys() & tests.keys():
            return None
        here.update(tests)
    return merged


def _terms(word: str, operand: Filter) -> list[Any]:
    """Return the operands of a filter that is itself an `and` or an `or`, else the filter."""
    inner = operand.tree.get(word)
    return inner if isinstance(inner, list) else [operand.tree]
