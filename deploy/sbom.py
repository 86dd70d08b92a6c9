"""`make sbom`: write a software bill of materials without what belongs to this machine or to a registry.

It reads CycloneDX JSON from standard input and writes it to the file named on the command line. It leaves out all
addresses, such as download pages and the folder of this checkout.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

_ADDRESSES = "externalReferences"
_SCHEMA = "$schema"  # names the format, and is never opened


def without_addresses(bom: Any) -> Any:
    """Return a bill of materials, or a part of it, without external references."""
    if isinstance(bom, dict):
        return {key: without_addresses(value) for key, value in bom.items() if key != _ADDRESSES}
    if isinstance(bom, list):
        return [without_addresses(part) for part in bom]
    return bom


def check(bom: Any, places: Sequence[Path]) -> None:
    """Check that a bill of materials names neither an address nor a folder.

    Args:
        bom: the bill.
        places: folders that it must not name.

    Raises:
        ValueError: it names one, or has no components.
    """
    if not bom.get("components"):
        raise ValueError("components: there are none; was the environment's interpreter given?")
    for text in _texts({key: value for key, value in bom.items() if key != _SCHEMA}):
        if "://" in text or "file:" in text or any(str(place) in text for place in places):
            raise ValueError(f"an address or a folder of this machine is in the bill: {text!r}; leave it out here")


def _texts(part: Any) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    elif isinstance(part, dict):
        for value in part.values():
            yield from _texts(value)
    elif isinstance(part, list):
        for value in part:
            yield from _texts(value)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the file. Nothing is written if an address is left."""
    (file,) = sys.argv[1:] if arguments is None else arguments
    bom = without_addresses(json.load(sys.stdin))
    check(bom, (Path.cwd(), Path.home()))
    Path(file).write_text(json.dumps(bom, indent=2) + "\n")
    print(f"wrote {file}: {len(bom['components'])} components, CycloneDX {bom['specVersion']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
