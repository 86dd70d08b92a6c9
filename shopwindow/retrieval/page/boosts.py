"""What the terms of a boost do to each product: a factor and an addend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date

import numpy as np

from shopwindow.base.recently_used import ENTRY_BYTES, RecentlyUsed, short_key
from shopwindow.retrieval.request.attribute_columns import AttributeTable, NumberColumn, TimeColumn
from shopwindow.retrieval.request.filter_rows import filter_mask
from shopwindow.retrieval.request.moments import DAY
from shopwindow.retrieval.request.page.boost_reading import BoostTerm

BOOST_BYTES = 64 * 2**20  # all kept boosts together, in each serving process
_EPOCH = date(1970, 1, 1)
_BLOCK = 16_384  # rows computed at once: their float64 numbers stay in the processor's cache

_Values = Callable[[slice], np.ndarray]
"""Returns what a term multiplies (or adds) for a range of rows, float64."""


class Boosts:
    """The factor and the addend of each product. They never change, so threads may share them.

    Args:
        factors: (rows,) float32, all above 0 and finite; None for 1 everywhere. It becomes read-only.
        addends: (rows,) float32, finite; None for 0 everywhere. It becomes read-only.
    """

    def __init__(self, factors: np.ndarray | None, addends: np.ndarray | None) -> None:
        for array in (factors, addends):
            if array is not None:
                array.flags.writeable = False
        self.factors = factors
        self.addends = addends
        # What `bound` needs.
        filled = factors if factors is not None and len(factors) else np.ones(1, np.float32)
        self._least: np.float32 = filled.min()
        self._most: np.float32 = filled.max()
        self._added: np.float32 = addends.max() if addends is not None and len(addends) else np.float32(0)

    @classmethod
    def of(cls, terms: Sequence[BoostTerm], table: AttributeTable, today: date) -> Boosts:
        """Compute the factor and the addend of each product, in float64, and keep them as float32.

        Args:
            terms: from `parse_boost`, checked with `check_boost` against the same table.
            table: the attribute columns of the index.
            today: the day of the request in UTC, from whose start ages count in terms without `now`.
        """
        multiplied = [_multiplied(term, table, today) for term in terms if term.multiply is not None]
        added = [_added(term, table, today) for term in terms if term.add is not None]
        factors = np.empty(table.rows, np.float32) if multiplied else None
        addends = np.empty(table.rows, np.float32) if added else None
        for start in range(0, table.rows, _BLOCK):
            part = slice(start, min(start + _BLOCK, table.rows))
            if factors is not None:
                factors[part] = _joined(np.multiply, multiplied, part)
            if addends is not None:
                addends[part] = _joined(np.add, added, part)
        return cls(factors, addends)

    @property
    def nbytes(self) -> int:
        """Bytes of both arrays."""
        return sum(array.nbytes for array in (self.factors, self.addends) if array is not None)

    def apply(self, scores: np.ndarray, rows: np.ndarray | slice) -> np.ndarray:
        """Return final scores: scores * factors + addends, computed in float32.

        Args:
            scores: (..., n) scores.
            rows: their row numbers, of a shape that NumPy broadcasts with `scores`; slice(None) for all rows in order.

        Returns:
            float32 of the broadcast shape. A score of -inf, which is padding, stays.
        """
        final = np.asarray(scores, dtype=np.float32)
        if self.factors is not None:
            final = final * self.factors[rows]
        if self.addends is not None:
            final = final + self.addends[rows]
        return final

    def bound(self, score: float) -> float:
        """Return an upper bound of what `apply` returns for any product whose score is at most `score`."""
        # The same operations as in `apply`, in the same type: each rounds so that a larger operand never gives less.
        with np.errstate(over="ignore"):
            highest = np.float32(score)
            return float(highest * (self._most if highest > 0 else self._least) + self._added)


class BoostCache:
    """Keeps the boosts of one index that were used last. Threads may share it.

    Args:
        table: the attribute columns of the index.
        most_bytes: how many bytes of boosts it keeps; the newest stays in any case.
    """

    def __init__(self, table: AttributeTable, most_bytes: int = BOOST_BYTES) -> None:
        self._table = table
        self._kept: RecentlyUsed[bytes, Boosts] = RecentlyUsed(most_bytes, lambda boosts: ENTRY_BYTES + boosts.nbytes)

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, terms: tuple[BoostTerm, ...], today: date) -> Boosts:
        """Return `Boosts.of(terms, table, today)`, from the cache if possible."""
        dated = any(term.half_life_days is not None and term.now is None for term in terms)
        key = short_key((terms, today if dated else None))
        return self._kept.get(key, lambda: Boosts.of(terms, self._table, today))


def _joined(join: np.ufunc, values: Sequence[_Values], part: slice) -> np.ndarray:
    first, *others = values
    whole = first(part)
    for other in others:
        join(whole, other(part), out=whole)
    return whole


def _multiplied(term: BoostTerm, table: AttributeTable, today: date) -> _Values:
    assert term.multiply is not None
    weight = term.multiply
    if term.condition is not None:
        mask = filter_mask(term.condition, table)
        return lambda part: np.where(mask[part], weight, 1.0)
    values = _column_values(term, table, today)

    def factors(part: slice) -> np.ndarray:
        found = values(part)
        found *= weight
        found += 1.0
        return found

    return factors


def _added(term: BoostTerm, table: AttributeTable, today: date) -> _Values:
    assert term.add is not None
    weight = term.add
    if term.condition is not None:
        mask = filter_mask(term.condition, table)
        return lambda part: mask[part] * weight
    values = _column_values(term, table, today)
    return lambda part: values(part) * weight


def _column_values(term: BoostTerm, table: AttributeTable, today: date) -> _Values:
    column = table.get(term.column or "")
    assert isinstance(column, NumberColumn | TimeColumn), f"unchecked boost: {term.column!r}"
    if isinstance(column, TimeColumn):
        assert term.half_life_days is not None, f"unchecked boost: {term.column!r}"
        return _decayed(column, term.half_life_days, (term.now or today).toordinal() - _EPOCH.toordinal())

    def numbers(part: slice) -> np.ndarray:
        found = column.numbers[part].astype(np.float64)
        found[~column.present[part]] = 0.0
        return found

    return numbers


def _decayed(column: TimeColumn, half_life_days: float, now: int) -> _Values:
    """`now` counts days since 1970."""
    unit = 1.0 if column.days else float(DAY)

    def values(part: slice) -> np.ndarray:
        found = column.numbers[part].astype(np.float64)
        np.subtract(found, now * unit, out=found)
        np.minimum(found, 0.0, out=found)  # in the future: age 0
        with np.errstate(over="ignore", under="ignore"):
            found /= unit
            found /= half_life_days
            np.exp2(found, out=found)
        found[~column.present[part]] = 0.0
        return found

    return values
