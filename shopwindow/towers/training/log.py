"""Read and write training_log.jsonl: the loss and its parts during training, and the recall of validations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RECALL = "validation_recall_at_10"


def append_log(file: Path, **values: float) -> None:
    """Append one line."""
    with file.open("a") as log:
        log.write(json.dumps(values) + "\n")


def read_log(file: Path) -> list[dict[str, Any]]:
    """Return all lines; none if there is no file."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def cut_log(file: Path, first: int) -> None:
    """Remove the lines from step `first` on, which come from a later state or from another run."""
    kept = [line for line in read_log(file) if line["step"] < first]
    file.write_text("".join(f"{json.dumps(line)}\n" for line in kept))
