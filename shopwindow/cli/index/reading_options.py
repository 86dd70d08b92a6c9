"""Options for how the files of a catalogue are read, shared by the commands that read some."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shopwindow.indexing.catalogue.options import CatalogOptions
    from shopwindow.indexing.catalogue.photos.options import PhotoOptions


def add_reading(parser: argparse.ArgumentParser, note: str = "") -> None:
    """Add the options.

    Args:
        parser: the parser to add them to.
        note: text that describes the group, such as where the defaults come from.
    """
    group = parser.add_argument_group("how the files are read", note or None)
    group.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="TARGET=COLUMN,...|FILE",
        help="columns to read product_id, title and image from, such as title=brand+name,product_id=sku; or a JSON "
        'file like {"title": ["brand", "name"]} (repeatable)',
    )
    group.add_argument(
        "--number",
        action="append",
        default=[],
        metavar="COLUMN[:.|:,]",
        help="a column of texts such as '$ 1,299.00' that become numbers; name the decimal mark if the column does not "
        "show it (repeatable)",
    )
    group.add_argument(
        "--list",
        action="append",
        default=[],
        metavar="COLUMN=SEPARATOR",
        help="a column of texts that become lists, such as sizes=| for 'S|M|L' (repeatable)",
    )
    group.add_argument(
        "--date",
        action="append",
        default=[],
        metavar="COLUMN",
        help="a column of texts that become dates or timestamps, as in ISO 8601 (repeatable)",
    )
    group.add_argument(
        "--photos",
        type=Path,
        metavar="DIR",
        help="folder that the paths of photos are relative to (default: the folder of the file that names them)",
    )
    group.add_argument(
        "--fetch-photos", action="store_true", help="fetch photos from http and https addresses, and keep them on disk"
    )
    group.add_argument(
        "--photo-cache",
        type=Path,
        metavar="DIR",
        help="folder that keeps fetched photos (default: shopwindow/photos in the user's cache folder)",
    )
    group.add_argument(
        "--allow-private-addresses",
        action="store_true",
        help="fetch photos from private networks and from this machine, too; only for a catalogue that you trust",
    )
    group.add_argument(
        "--unreadable-photos",
        choices=("index", "leave-out"),
        help="what becomes of products whose photos cannot be read: index them by their titles, or leave them out "
        "(default: index them, but stop if none of the first 1,000 products has a readable photo)",
    )
    parser.set_defaults(reading_actions=tuple(group._group_actions))


def given_words(options: argparse.Namespace) -> list[str]:
    """Return the words of the command line that give these options again."""
    words: list[str] = []
    for action in options.reading_actions:
        value = getattr(options, action.dest)
        if value == action.default:
            continue
        name = action.option_strings[0]
        if value is True:
            words.append(name)
        else:
            for one in value if isinstance(value, list) else [value]:
                words += [name, str(one)]
    return words


def reading_of(options: argparse.Namespace) -> CatalogOptions:
    """Return the options as given on the command line.

    Raises:
        CatalogError: one is wrong.
    """
    from shopwindow.indexing.catalogue.options import CatalogOptions, read_lists, read_mapping, read_numbers

    return CatalogOptions(
        columns=read_mapping(options.map),
        numbers=read_numbers(options.number),
        lists=read_lists(options.list),
        dates=tuple(dict.fromkeys(options.date)),
        photos=_photos_of(options),
    )


def _photos_of(options: argparse.Namespace) -> PhotoOptions:
    from shopwindow.indexing.catalogue.photos.options import PhotoOptions, Unreadable

    folder: Path | None = options.photos
    if folder is not None and not folder.is_dir():
        raise NotADirectoryError(f"--photos: {folder} is not a folder")
    cache: Path | None = options.photo_cache
    return PhotoOptions(
        folder=None if folder is None else str(folder.absolute()),
        fetch=options.fetch_photos,
        private=options.allow_private_addresses,
        cache=None if cache is None else str(cache.absolute()),
        unreadable=Unreadable(options.unreadable_photos or Unreadable.CHECK),
    )
