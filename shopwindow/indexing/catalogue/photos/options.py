"""How the photos of a catalogue are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any


class Unreadable(StrEnum):
    """What happens to a product none of whose photos can be read."""

    CHECK = "check"
    """It is indexed by its title. If none of the first photos of the catalogue can be read, nothing is indexed."""
    INDEX = "index"
    """It is indexed by its title, even if no photo of the catalogue can be read."""
    LEAVE_OUT = "leave-out"
    """It is left out."""


@dataclass(frozen=True, kw_only=True)
class PhotoOptions:
    """How the photos of a catalogue are read.

    Attributes:
        folder: what paths of photos are relative to; None for the folder of the file that names them.
        fetch: whether photos are fetched from http and https addresses.
        private: whether they are also fetched from addresses of private networks and of this machine.
        cache: folder that keeps fetched photos; None for `shopwindow/photos` in the user's cache folder.
        at_once: how many photos are read or fetched at the same time.
        seconds: how long an attempt to fetch a photo may take.
        retries: how often fetching is tried again.
        unreadable: what happens to a product none of whose photos can be read.
    """

    folder: str | None = None
    fetch: bool = False
    private: bool = False
    cache: str | None = None
    at_once: int = 16
    seconds: float = 20.0
    retries: int = 2
    unreadable: Unreadable = Unreadable.CHECK

    def over(self, base: PhotoOptions) -> PhotoOptions:
        """Return `base` with those options replaced that differ from the defaults here."""
        return replace(base, **self._given())

    def to_json(self) -> dict[str, Any]:
        """Return the options that differ from the defaults, as JSON has them."""
        return self._given()

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> PhotoOptions:
        """Return the options that `to_json` gave."""
        return cls(**{**given, "unreadable": Unreadable(given.get("unreadable", Unreadable.CHECK))})

    def _given(self) -> dict[str, Any]:
        return {one.name: value for one in fields(self) if (value := getattr(self, one.name)) != one.default}
