"""Read the photos of many products at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

from shopwindow.indexing.catalogue.photos.fetching import NotFetched, PhotoFetcher
from shopwindow.indexing.catalogue.photos.options import PhotoOptions
from shopwindow.indexing.catalogue.photos.sources import NotRead, is_address, read_text, shown, sources


@dataclass(frozen=True)
class Unread:
    """A photo that could not be read.

    Attributes:
        reason: why.
    """

    reason: str


Photos: TypeAlias = tuple[bytes | Unread, ...]
"""The photos of a product, in order. Those that were read may still be broken."""


class PhotoReader:
    """Reads photos from wherever they are. Files and addresses are read by several threads.

    Args:
        options: how.
    """

    def __init__(self, options: PhotoOptions) -> None:
        self.options = options
        self._fetch = PhotoFetcher(options) if options.fetch else None

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.options.at_once, thread_name_prefix="photos")

    def start(self, values: Sequence[Any], file: Path, most: int) -> Callable[[], list[Photos]]:
        """Begin to read the photos of products.

        Args:
            values: (products) values of the photo column, see `sources`.
            file: the file of the catalogue that they are from.
            most: how many photos of a product to read. One that is named twice counts once.

        Returns:
            What waits for the photos, and returns them, (products).
        """
        folder = Path(self.options.folder) if self.options.folder is not None else file.parent
        wanted = [tuple(islice(dict.fromkeys(sources(value)), most)) for value in values]
        elsewhere = [source for some in wanted for source in some if isinstance(source, str)]
        found = iter(self._pool.map(lambda text: self._read(text, folder), elsewhere) if elsewhere else ())

        def finish() -> list[Photos]:
            return [tuple(source if isinstance(source, bytes) else next(found) for source in some) for some in wanted]

        return finish

    def _read(self, text: str, folder: Path) -> bytes | Unread:
        try:
            if not is_address(text):
                return read_text(text, folder)
            if self._fetch is None:
                return Unread(f"{shown(text)} is on the web, and --fetch-photos was not given")
            return self._fetch(text)
        except NotFetched as error:
            return Unread(f"cannot fetch {shown(text)}: {error}")
        except NotRead as error:
            return Unread(str(error))
