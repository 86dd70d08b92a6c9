"""Numbers that are written for people, such as prices: `₹1,299.00`, `1.299,00 €`, `$ 15`, `USD 1,000`, `15,-`.

A value is a number with a sign or without, and at most one unit before or after it. A unit is made of letters, currency
signs and dots; all values of a column that have one have the same. Digits may be grouped by `,` or `.`, by spaces or
apostrophes, in threes or as in India. **Which of `.` and `,` is the decimal mark is never guessed**: it is given, or
the values of the whole column show it, as `1,299.00`, `12.5` and `1,299,000` do. `1,299` alone does not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from unicodedata import category

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shopwindow.indexing.catalogue.options import MARKS
from shopwindow.indexing.catalogue.possible_types import texts_of
from shopwindow.indexing.errors import CatalogError

_EXACT = 15  # digits that every float64 keeps
_LONGEST = 100  # characters
_SPACES = " \u00a0\u2009\u202f"
# Letters, each perhaps with a dot, and signs. A dot after a sign belongs to the number: `$.50`.
_UNIT = rf"(?:[^\W\d_]\.?|[^\w\s.,'’+\-\u2212]|[{_SPACES}])*"
_VALUE = re.compile(
    rf"(?P<minus>[-\u2212+]?)(?P<before>{_UNIT})(?P<sign>[-\u2212+]?)"
    rf"(?P<number>[\d.,](?:[\d.,'’{_SPACES}]*\d)?)(?:[.,][-\u2013\u2014])?(?P<after>{_UNIT})"
)
_SIGNS = ("Sc", "Mn", "Mc")  # currency signs, and marks that belong to letters
_GROUPED = {
    mark: re.compile(
        rf"(?:\d+|[1-9]\d{{0,2}}(?P<group>[{re.escape(other)}'’{_SPACES}])(?:\d{{2,3}}(?P=group))*\d{{3}})?"
        rf"(?:{re.escape(mark)}\d+)?"
    )
    for mark, other in (MARKS, MARKS[::-1])
}


class NumberTexts:
    """A column of one file that holds numbers as texts.

    Args:
        name: name of the column.
        path: the file.
        option: name of the option that gave it; errors begin with it.

    Attributes:
        path: the file.
        sure: decimal mark -> row and value of the first text that is a number only with this mark.
        open: row and value of the first text that is another number with each mark; None if there is none.
        unit: row and unit of the first text that has one; None if there is none.
        first: row and value of the first text; None if there is none.
    """

    def __init__(self, name: str, path: Path, option: str) -> None:
        self.name, self.path, self._option = name, path, option
        self.sure: dict[str, tuple[int, str]] = {}
        self.open: tuple[int, str] | None = None
        self.unit: tuple[int, str] | None = None
        self.first: tuple[int, str] | None = None

    def see(self, column: pa.Array, start: int) -> None:
        """Take notice of values.

        Args:
            column: large_string.
            start: number of the first row.

        Raises:
            CatalogError: a value is no number with either mark, or has another unit than one before.
        """
        encoded = column.dictionary_encode()
        codes = np.asarray(pc.fill_null(encoded.indices, -1))
        places = dict(zip(*(array.tolist() for array in np.unique(codes, return_index=True)), strict=True))
        for code, text in enumerate(texts_of(encoded.dictionary)):
            if text and not text.isspace():
                self._see(start + places[code], text)

    def _see(self, row: int, text: str) -> None:
        unit, readings = _readings(text)
        if not readings:
            raise CatalogError(
                f"{self._option}: --number {self.name}: row {row} of {self.path} has {text[:60]!r}, which is no number "
                f"of at most {_EXACT} digits with at most one unit; correct it, or leave it empty"
            )
        self.first = self.first or (row, text)
        if len(readings) == 1:
            self.sure.setdefault(next(iter(readings)), (row, text))
        elif len(set(readings.values())) > 1:
            self.open = self.open or (row, text)
        if unit:
            self.unit = self.unit or (row, unit)
            self.check_unit(row, unit, self.path)

    def check_unit(self, row: int, unit: str, path: Path) -> None:
        """Raise CatalogError if this file has another unit than a row of a file."""
        if self.unit is not None and self.unit[1] != unit:
            raise CatalogError(
                f"{self._option}: --number {self.name}: row {self.unit[0]} of {self.path} has the unit {self.unit[1]!r}"
                f" and row {row} of {path} has {unit!r}: write all values in one"
            )

    def convert(self, column: pa.Array, kind: pa.DataType, mark: str) -> pa.Array:
        """Return the numbers of a column that was seen, in type `kind`. `mark` may be empty if it does not matter."""
        encoded = column.dictionary_encode()
        readings = [_readings(text or "")[1] for text in texts_of(encoded.dictionary)]
        numbers = [float(read.get(mark) or next(iter(read.values()))) if read else None for read in readings]
        return pa.array(numbers, pa.float64()).take(encoded.indices).cast(kind)


def decide_mark(name: str, files: Sequence[NumberTexts], option: str, given: str = "") -> str:
    """Return the decimal mark of a column in all files together; empty if it does not matter.

    Args:
        name: name of the column.
        files: the column in each file that has it.
        option: name of the option that gave the files; errors begin with it.
        given: the mark, if it is known.

    Raises:
        CatalogError: the values do not show the mark, or some show one and some the other or not the given one.
    """
    sure = {mark: (file, *file.sure[mark]) for mark in MARKS for file in files[::-1] if mark in file.sure}
    shown = [f"row {row} of {file.path} has {text[:60]!r}" for file, row, text in sure.values()]
    if len(sure) == 2:
        raise CatalogError(f"{option}: --number {name}: {' and '.join(shown)}: write both with one decimal mark")
    if given and sure and given not in sure:
        raise CatalogError(
            f"{option}: --number {name}:{given}: {shown[0]}, which is no number with the decimal mark {given!r}"
        )
    for file in files:
        if file.open and not sure and not given:
            row, text = file.open
            read = _readings(text)[1]
            raise CatalogError(
                f"{option}: --number {name}: row {row} of {file.path} has {text[:60]!r}, which is {read['.']} or "
                f"{read[',']}, and no value of the column shows which; say --number {name}:. if '.' is the decimal "
                f"mark, or --number {name}:, if ',' is"
            )
    return given or next(iter(sure), "")


def decide_unit(name: str, files: Sequence[NumberTexts], option: str, given: str = "") -> str:
    """Return the unit of a column in all files together; empty if no value has one.

    Args:
        name: name of the column.
        files: the column in each file that has it.
        option: name of the option that gave the files; errors begin with it.
        given: the unit of the index that is updated, if it has one.

    Raises:
        CatalogError: there are two units.
    """
    first: NumberTexts | None = None
    for file in files:
        if file.unit is None:
            continue
        row, unit = file.unit
        if given and unit != given:
            raise CatalogError(
                f"{option}: --number {name}: row {row} of {file.path} has the unit {unit!r}, and the index has "
                f"{given!r}: write all values in that"
            )
        first = first or file
        first.check_unit(row, unit, file.path)
    return given if first is None or first.unit is None else first.unit[1]


@lru_cache(maxsize=4_096)  # prices repeat
def _readings(text: str) -> tuple[str, dict[str, str]]:
    """Return the unit of a text, and decimal mark -> the number as Python writes it, for the marks that make it one."""
    found = _VALUE.fullmatch(text.strip()) if len(text) <= _LONGEST else None
    if found is None or (found["minus"] and found["sign"]):
        return "", {}
    before, after = found["before"].strip(), found["after"].strip()
    unit = before or after
    if (before and after) or not all(c.isalpha() or c in f".{_SPACES}" or category(c) in _SIGNS for c in unit):
        return "", {}
    minus = "-" if (found["minus"] or found["sign"]) in ("-", "\u2212") else ""
    readings = {}
    for mark in MARKS:
        if _GROUPED[mark].fullmatch(found["number"]):
            whole, _, fraction = found["number"].partition(mark)
            digits = re.sub(r"\D", "", whole).lstrip("0") or "0"
            if len((digits + fraction).strip("0")) <= _EXACT:
                readings[mark] = f"{minus}{digits}{'.' + fraction if fraction else ''}"
    return unit, readings
