"""report.json of an index folder: what a command made the generation from, and what became of each row."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from shopwindow.base.skipped_rows import Reasons
from shopwindow.retrieval.index.folder import Manifest

FILE = "report.json"
_HOLDS = {
    "report.json": "what made this generation, and what became of each row",
    "skipped.csv": "each row that was left out: row (from 0), product_id, reason",
    "unread_photos.csv": "each product indexed without some of its photos: row (from 0), product_id, reason",
}


def write_report(folder: Path, command: str, manifest: Manifest, about: Mapping[str, Any]) -> None:
    """Write the report beside skipped.csv and unread_photos.csv, which it counts by reason, before the manifest.

    Args:
        folder: an index folder that has these files.
        command: name of the command that made the generation.
        manifest: the generation's manifest.
        about: what the command did; JSON must have its values.
    """
    content = {
        "files": {name: text for name, text in _HOLDS.items() if name == FILE or (folder / name).exists()},
        "command": command,
        "generation": manifest.generation,
        "created": manifest.created,
        "seconds": manifest.build_seconds,
        "recall_at_100": manifest.recall_at_100,
        "recipe": manifest.recipe.factory,
        "towers": manifest.tower_hash,
        **about,
        "left_out": _reasons(folder / "skipped.csv"),
        "unread_photos": _reasons(folder / "unread_photos.csv"),
    }
    (folder / FILE).write_text(json.dumps(content, indent=1) + "\n")


def _reasons(file: Path) -> list[dict[str, Any]]:
    return [asdict(one) for one in Reasons.read(file).listed()]
