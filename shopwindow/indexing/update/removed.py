"""The products that `shopwindow update --remove` names."""

from __future__ import annotations

from pathlib import Path

from shopwindow.indexing.catalogue.catalog_file import CatalogFile
from shopwindow.indexing.catalogue.formats.opening import ENDINGS
from shopwindow.indexing.catalogue.options import ID, CatalogOptions
from shopwindow.indexing.catalogue.plain_types import TEXT
from shopwindow.indexing.catalogue.possible_types import PossibleTypes
from shopwindow.indexing.catalogue.product_ids import Id, read_ids
from shopwindow.indexing.errors import CatalogError
from shopwindow.retrieval.index.folder import read_manifest

_OPTION = "--remove"
_ROWS = 16_384
_TEXT = (".txt", ".lst", ".ids")  # names of files with an id a line; an id that ends so must be in a file


def read_removed(given: str, home: Path) -> list[Id]:
    """Return the ids of the products to remove. Where nothing tells whether they are texts or numbers, they are texts.

    Args:
        given: ids separated by commas, or a file: text with an id a line, or any format of a catalogue with the column
            of ids.
        home: the index home. Its manifest names the column of ids.

    Raises:
        CatalogError: the file cannot be read or has no ids, or there is no such file.
        IndexUnfit: there is no index.
        ValueError: the file of text is not UTF-8.
    """
    file = Path(given)
    if given.lower().endswith(ENDINGS):
        options = CatalogOptions.from_json(read_manifest(home).reading)
        catalogue = CatalogFile(
            file, _OPTION, options=CatalogOptions(columns={ID: options.sources(ID)}), complete=False
        )
        catalogue.text_ids = isinstance(catalogue.ids, PossibleTypes) and catalogue.ids.against(TEXT) is None
        batches = catalogue.read({}, _ROWS, own=[ID])
        return [product for _, records in batches for product in read_ids(records) if product is not None]
    if _is_file(file):
        try:
            parts = file.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise ValueError(f"{_OPTION}: {file} must be UTF-8: {error}") from None
    elif given.lower().endswith(_TEXT):
        raise CatalogError(f"{_OPTION}: there is no file {given}; name a file of ids, or ids separated by commas")
    else:
        parts = given.split(",")
    return [part.strip() for part in parts if part.strip()]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a long list of ids is no path
        return False
