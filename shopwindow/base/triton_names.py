"""Names of files and folders that Triton takes, and which folders of a repository are models.

Triton 2.51 starts each Python model through a shell. It quotes neither the path of the model nor the name of the model
instance, so a space or a `$` in one of them ends it or runs a command. The interpreter of the model takes paths in
ASCII only.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

# No shell and no list of folders gives one of these characters a meaning.
_PLAIN = re.compile(r"[A-Za-z0-9_./+,@%=-]")
_RULE = "use only letters of ASCII, digits and _ . - + , @ % ="


def odd_character(name: str | Path) -> str:
    """Return the first character that Triton does not take, as an error shows it; empty if there is none.

    For instance `' ' (SPACE)`.
    """
    odd = next((character for character in str(name) if not _PLAIN.match(character)), "")
    return odd and (odd_byte(odd) or f"{odd!r} ({unicodedata.name(odd, f'U+{ord(odd):04X}')})")


def odd_byte(name: str | Path) -> str:
    """Return the first byte that is not UTF-8, as an error shows it; empty if there is none."""
    odd = next((character for character in str(name) if "\udc80" <= character <= "\udcff"), "")  # as Python reads it
    return odd and f"the byte 0x{ord(odd) - 0xDC00:02X}, which is not UTF-8"


def odd_name(name: str) -> str:
    """Return why Triton cannot take the name of a model, an instance or a model's file; empty if it can."""
    odd = odd_character(name)
    return f"{name!r} has {odd}, and Triton 2.51 passes it to a shell without quotes: {_RULE}" if odd else ""


def model_folders(repository: Path) -> list[Path]:
    """Return the model folders of a repository, in the order of their names; none if there is no such folder.

    Every folder is a model, as for Triton, except hidden ones, such as `.git`, and the `lost+found` of a file system.
    """
    if not repository.is_dir():
        return []
    folders = (path for path in repository.iterdir() if path.is_dir())
    return sorted(path for path in folders if not path.name.startswith(".") and path.name != "lost+found")
