"""How the files of a catalogue are read: which columns are ids, titles and photos, and how their values are written.

An index keeps these options in its manifest, so that `shopwindow update` reads changes in the same way.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from shopwindow.indexing.catalogue.photos.options import PhotoOptions
from shopwindow.indexing.errors import CatalogError

ID, TITLE, IMAGE = "product_id", "title", "image"
TARGETS = (ID, TITLE, IMAGE)
MARKS = (".", ",")


@dataclass(frozen=True, kw_only=True)
class CatalogOptions:
    """How a catalogue is read.

    Attributes:
        columns: product_id, title or image -> the columns of the files that it is read from. Several columns of a title
            are joined by spaces, several columns of photos are several photos. A target that is not named is read from
            the column of its own name.
        numbers: column of texts -> the decimal mark, `.` or `,`, of the numbers in them; empty if the values of the
            whole column decide it. See `shopwindow.indexing.catalogue.derived.number_texts`.
        units: column of `numbers` -> the unit of its values, such as `€`, of those that have one. An index keeps it,
            so that an update cannot mix currencies. No option of a command gives it.
        lists: column of texts -> what separates the values of the lists in them.
        dates: columns of texts that are dates or timestamps, as ISO 8601 writes them.
        photos: how photos are read.

    Raises:
        CatalogError: an unknown target, a target without columns, ids from several columns, a wrong decimal mark, an
            empty separator, or a column that two options name.
    """

    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    numbers: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    lists: Mapping[str, str] = field(default_factory=dict)
    dates: tuple[str, ...] = ()
    photos: PhotoOptions = field(default_factory=PhotoOptions)

    def __post_init__(self) -> None:
        self._check_columns()
        for name, mark in self.numbers.items():
            if mark not in MARKS and mark:
                raise CatalogError(f"number: the decimal mark of {name!r} must be '.' or ',', got {mark!r}")
        for name, separator in self.lists.items():
            if not separator or not name:
                raise CatalogError(f"list: {name}={separator} must be a column and a separator, such as sizes=|")
        used = {name: f"{target} is read from it" for target in TARGETS for name in self.sources(target)}
        photos = {name for name in self.sources(IMAGE) if name not in (*self.sources(ID), *self.sources(TITLE))}
        for option, names in (("number", self.numbers), ("list", self.lists), ("date", self.dates)):
            for name in names:
                if name in used and not (option == "list" and name in photos):
                    raise CatalogError(f"{option}: {name!r} cannot be a {option}: {used[name]}")
                used[name] = f"--{option} names it, too" if option != "number" else "it is a number"

    def _check_columns(self) -> None:
        for target, sources in self.columns.items():
            if target not in TARGETS:
                raise CatalogError(
                    f"map: {target!r} is not {', '.join(TARGETS[:-1])} or {TARGETS[-1]}{near(target, TARGETS)}; other "
                    "columns are attributes under their own names"
                )
            if not sources or not all(sources):
                raise CatalogError(f"map: {target} needs the name of a column, got {'+'.join(sources)!r}")
            if target == ID and len(sources) > 1:
                raise CatalogError(f"map: {ID} can be read from one column only, got {'+'.join(sources)}")
            if len(set(sources)) < len(sources):
                raise CatalogError(f"map: {target}={'+'.join(sources)} names a column twice")

    def sources(self, target: str) -> tuple[str, ...]:
        """Return the columns that product_id, title or image is read from."""
        return self.columns.get(target, (target,))

    def over(self, base: CatalogOptions) -> CatalogOptions:
        """Return `base` with those options replaced that are given here, each target and each column for itself."""
        given = {one.name: value for one in fields(self) if (value := getattr(self, one.name))}
        for name, value in given.items():
            if isinstance(value, Mapping):
                given[name] = {**getattr(base, name), **value}
        given["photos"] = self.photos.over(base.photos)
        given["dates"] = tuple(dict.fromkeys([*base.dates, *self.dates]))
        return replace(base, **given)

    def within(self, names: Collection[str]) -> CatalogOptions:
        """Return those of the options that concern the columns `names`.

        A target whose columns are not all there stays as it is, unless there is a column of the target's own name.
        """
        return replace(
            self,
            columns={
                target: sources
                for target, sources in self.columns.items()
                if target not in names or all(name in names for name in sources)
            },
            numbers={name: mark for name, mark in self.numbers.items() if name in names},
            units={name: unit for name, unit in self.units.items() if name in names},
            lists={name: separator for name, separator in self.lists.items() if name in names},
            dates=tuple(name for name in self.dates if name in names),
        )

    @property
    def named(self) -> dict[str, str]:
        """Every column that an option names -> the option, for messages."""
        mapped = {
            name: f"--map {target}={'+'.join(sources)}" for target, sources in self.columns.items() for name in sources
        }
        numbers = {name: f"--number {name}" for name in self.numbers}
        lists = {name: f"--list {name}={separator}" for name, separator in self.lists.items()}
        return {**mapped, **numbers, **lists, **{name: f"--date {name}" for name in self.dates}}

    def to_json(self) -> dict[str, Any]:
        """Return the options that are given, as JSON has them."""
        given: dict[str, Any] = {
            "columns": {target: list(sources) for target, sources in self.columns.items()},
            "numbers": dict(self.numbers),
            "units": dict(self.units),
            "lists": dict(self.lists),
            "dates": list(self.dates),
            "photos": self.photos.to_json(),
        }
        return {name: value for name, value in given.items() if value}

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> CatalogOptions:
        """Return the options that `to_json` gave."""
        columns = given.get("columns", {})
        return cls(
            columns={target: tuple(sources) for target, sources in columns.items()},
            numbers=given.get("numbers", {}),
            units=given.get("units", {}),
            lists=given.get("lists", {}),
            dates=tuple(given.get("dates", ())),
            photos=PhotoOptions.from_json(given.get("photos", {})),
        )


def read_mapping(texts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Read mappings of columns.

    Args:
        texts: each is like `title=brand+name,product_id=sku`, or names a JSON file of an object that has a column, or a
            list of columns, for each target.

    Raises:
        CatalogError: a target is named twice, a file is not such an object, or a text is neither.
    """
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        for target, sources in _pairs(text) if "=" in text else _in_file(Path(text)):
            if target in found:
                raise CatalogError(f"map: {target} is given twice: {'+'.join(found[target])} and {'+'.join(sources)}")
            found[target] = sources
    return found


def read_numbers(texts: Iterable[str]) -> dict[str, str]:
    """Read columns of numbers: each text is a column, or like `price:.` or `price:,`, which says the decimal mark."""
    found: dict[str, str] = {}
    for text in texts:
        name, mark = (text[:-2], text[-1]) if text[-2:-1] == ":" and text[-1] in MARKS else (text, "")
        if found.setdefault(name, mark) != mark:
            raise CatalogError(f"number: {name!r} is given with two decimal marks")
    return found


def read_lists(texts: Iterable[str]) -> dict[str, str]:
    """Read columns of lists: each text is like `sizes=|`, a column and what separates the values."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, separator = text.partition("=")
        if not equals:
            raise CatalogError(f"list: {text!r} must be a column and a separator, such as sizes=|")
        if found.setdefault(name, separator) != separator:
            raise CatalogError(f"list: {name!r} is given with two separators")
    return found


def _pairs(text: str) -> list[tuple[str, tuple[str, ...]]]:
    found = []
    for pair in text.split(","):
        target, equals, sources = pair.partition("=")
        if not equals:
            raise CatalogError(
                f"map: {pair!r} in {text!r} must be like title=name, or title=brand+name; name columns that hold a "
                "comma, '+' or '=' in a JSON file"
            )
        found.append((target.strip(), tuple(part.strip() for part in sources.split("+"))))
    return found


def _in_file(file: Path) -> list[tuple[str, tuple[str, ...]]]:
    wanted = 'must be like title=name, or a JSON file such as {"title": ["brand", "name"], "product_id": "sku"}'
    try:
        pairs = json.loads(file.read_text(encoding="utf-8-sig"), object_pairs_hook=_Pairs)
    except FileNotFoundError:
        raise CatalogError(f"map: {str(file)!r} {wanted}; there is no such file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise CatalogError(f"map: {file} {wanted}: {error}") from error
    if not isinstance(pairs, _Pairs):
        raise CatalogError(f"map: {file} {wanted}")
    found = []
    for target, value in pairs:
        sources = [value] if isinstance(value, str) else value
        if isinstance(sources, _Pairs) or not isinstance(sources, list) or not all(isinstance(s, str) for s in sources):
            raise CatalogError(f"map: {target!r} of {file} must be a column or a list of columns, got {value!r}")
        found.append((target, tuple(sources)))
    return found


class _Pairs(list[tuple[str, Any]]):
    """An object of JSON, with names that appear twice."""


def near(name: str, names: Iterable[str]) -> str:
    """Return ` (did you mean 'title'?)`, or nothing if no name is like the given one."""
    close = difflib.get_close_matches(name, list(names), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
