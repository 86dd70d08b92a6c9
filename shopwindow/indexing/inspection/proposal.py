"""Propose how to read a catalogue, from the names of its columns and a sample of their values.

Nothing is read by a proposal until the user repeats it as options.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from shopwindow.base.languages import COLUMN_NAMES
from shopwindow.indexing.catalogue.options import ID, IMAGE, TITLE
from shopwindow.indexing.catalogue.photos.sources import is_address, sources
from shopwindow.indexing.catalogue.plain_types import FILES, TEXT

_PHOTO = re.compile(
    "({photo_before})?({photo})({photo_after})?\\d*".format(
        **{use: "|".join(names) for use, names in COLUMN_NAMES.items()}
    )
)
_ENOUGH = 0.95  # share of the values that must look alike
_SIGN = (
    r"(?:(?:US|CA|AU|NZ|HK|C|A|R|S)?\$|[€£¥￥₹₽₩₺₫฿₴₦₪₱元円]|Rs\.?|kr\.?|zł|Kč|Ft|AED|AUD|BRL|CAD|CHF|CNY|CZK|DKK|EUR|GBP|HKD|HUF|IDR|"
    r"INR|JPY|KRW|MXN|MYR|NOK|NZD|PHP|PLN|RMB|RON|RUB|SAR|SEK|SGD|THB|TRY|TWD|UAH|USD|VND|ZAR)"
)
_MONEY = re.compile(rf"[-+]?\s*{_SIGN}?\s*[-+]?\d[\d.,'\u00a0\u202f ]*{_SIGN}?")
_PLAIN = re.compile(r"\d+|0\d.*")  # article numbers, phone numbers
_DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?")
_UNFIT = re.compile(r"[,+=:]")  # the options could not name such a column
_SEPARATORS = "|;"
_LISTED = 0.2  # share of the values that must hold the separator
_LONGEST = 40  # characters of a value in a list; longer ones are sentences


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """How a catalogue could be read.

    Attributes:
        columns: target -> source columns.
        numbers: text columns that hold numbers.
        lists: text column -> the separator of the values in it.
        dates: text columns that hold dates or timestamps.
        fetch: whether photos are on the web.
    """

    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    numbers: tuple[str, ...] = ()
    lists: Mapping[str, str] = field(default_factory=dict)
    dates: tuple[str, ...] = ()
    fetch: bool = False

    @property
    def options(self) -> list[str]:
        """The options of `shopwindow index` that accept the proposal."""
        words = []
        if self.columns:
            words += ["--map", ",".join(f"{target}={'+'.join(names)}" for target, names in self.columns.items())]
        for option, names in (
            ("--number", self.numbers),
            ("--list", [f"{name}={mark}" for name, mark in self.lists.items()]),
            ("--date", self.dates),
        ):
            for name in names:
                words += [option, name]
        return [*words, "--fetch-photos"] if self.fetch else words


def propose(types: Mapping[str, pa.DataType], sample: Mapping[str, Sequence[Any]]) -> Proposal:
    """Propose how to read a catalogue that has not been mapped.

    Args:
        types: column -> its type, plain as in `shopwindow.indexing.catalogue.plain_types`.
        sample: column -> some of its values, without the missing ones; may lack columns.

    Returns:
        What differs from reading the columns as they are named and typed.
    """
    types = {name: kind for name, kind in types.items() if not _UNFIT.search(name)}
    columns: dict[str, tuple[str, ...]] = {}
    if ID not in types and (
        found := _best(ID, [name for name in types if _may_be_id(types[name], sample.get(name, ()))])
    ):
        columns[ID] = (found,)
    texts = [name for name, kind in types.items() if kind == TEXT and (name,) not in columns.values()]
    if TITLE not in types and (found := _best(TITLE, texts)):
        columns[TITLE] = (found,)
    if IMAGE not in types and (photos := _photos(types)):
        columns[IMAGE] = photos
    photo_values = [value for name in columns.get(IMAGE, (IMAGE,)) for value in sample.get(name, ())]
    used = {name for names in columns.values() for name in names} | {ID, TITLE, IMAGE}
    values = {name: [str(value) for value in sample.get(name, ())] for name in texts if name not in used}
    numbers = tuple(name for name, some in values.items() if _are_money(some))
    dates = tuple(name for name, some in values.items() if _share(some, _DATE.fullmatch) >= _ENOUGH)
    marks = {name: _separator(some) for name, some in values.items() if name not in (*numbers, *dates)}
    return Proposal(
        columns=columns,
        numbers=numbers,
        dates=dates,
        lists={name: mark for name, mark in marks.items() if mark},
        fetch=any(is_address(source) for value in photo_values for source in sources(value)),
    )


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).lower()


def _best(target: str, names: Sequence[str]) -> str | None:
    known = COLUMN_NAMES[target]
    ranked = sorted((known[_plain(name)], place) for place, name in enumerate(names) if _plain(name) in known)
    return names[ranked[0][1]] if ranked else None


def _may_be_id(kind: pa.DataType, values: Sequence[Any]) -> bool:
    if kind != TEXT and not pa.types.is_integer(kind):
        return False
    return len(set(values)) >= _ENOUGH * len(values)


def _photos(types: Mapping[str, pa.DataType]) -> tuple[str, ...]:
    """Return the columns of photos: one, or several that differ only in a number."""
    names = [name for name, kind in types.items() if _PHOTO.fullmatch(_plain(name)) and _may_be_photo(kind)]
    stems = [re.sub(r"\d+", "", _plain(name)) for name in names]
    return tuple(name for name, stem in zip(names, stems, strict=True) if stem == stems[0])


def _may_be_photo(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _may_be_photo(kind.value_type)
    return kind in (TEXT, FILES) or pa.types.is_struct(kind)


def _share(values: Sequence[str], like: Any) -> float:
    return sum(like(value.strip()) is not None for value in values) / len(values) if values else 0.0


def _are_money(values: Sequence[str]) -> bool:
    """Return whether texts hold amounts. Some must have a sign or a separator, so that article numbers do not count."""
    return _share(values, _MONEY.fullmatch) >= _ENOUGH and _share(values, _PLAIN.fullmatch) < 1 - _ENOUGH


def _separator(values: Sequence[str]) -> str | None:
    for mark in _SEPARATORS:
        listed = [value for value in values if mark in value]
        parts = [part for value in listed for part in value.split(mark)]
        if len(listed) >= max(1, _LISTED * len(values)) and max(map(len, parts)) <= _LONGEST:
            return mark
    return None
