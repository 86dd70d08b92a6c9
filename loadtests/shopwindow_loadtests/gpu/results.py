"""The results: a JSON file that grows by one entry for each step, so an interrupted run can go on."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

DONE, FAILED, LEFT_OUT = "done", "failed", "left out"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """The outcome of one step.

    Attributes:
        step: Name of the step.
        status: DONE, FAILED or LEFT_OUT.
        seconds: Wall time.
        values: Figures by name, if it is DONE.
        reason: Why it is not done, otherwise.
    """

    step: str
    status: str
    seconds: float = 0.0
    values: dict[str, Any] = field(default_factory=dict)
    reason: str = ""


class Results:
    """The entries of one machine, saved in a file. The newest entry of a step counts.

    Args:
        file: Read if it exists. Each `add` replaces the whole file, so a reader never finds half of it.
        machine: Facts about this machine. Entries of another machine cannot be continued.

    Raises:
        ValueError: The file is from another machine.
    """

    def __init__(self, file: Path, machine: dict[str, Any]) -> None:
        self._file = file
        self.machine = machine
        self.entries: list[Entry] = []
        if file.is_file():
            content = json.loads(file.read_text())
            if content["machine"].get("gpus") != machine.get("gpus"):
                raise ValueError(
                    f"{file}: measured on {content['machine'].get('gpus')}, this machine has {machine.get('gpus')}; "
                    "give another --out"
                )
            self.entries = [Entry(**entry) for entry in content["entries"]]

    def done(self, step: str) -> bool:
        """Whether the step has succeeded and need not run again."""
        return any(entry.step == step and entry.status == DONE for entry in self.entries)

    def add(self, entry: Entry) -> None:
        """Replace the outcome of a step and write the file."""
        self.drop(entry.step)
        self.entries.append(entry)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._file.with_suffix(".new")
        content = {"machine": self.machine, "entries": [asdict(kept) for kept in self.entries]}
        fresh.write_text(json.dumps(content, indent=1) + "\n")
        fresh.replace(self._file)

    def drop(self, step: str) -> None:
        """Forget the outcome of a step. The next `add` writes that to the file."""
        self.entries = [kept for kept in self.entries if kept.step != step]

    def values(self, prefix: str) -> dict[str, dict[str, Any]]:
        """Return the figures of the steps that succeeded and whose names start with `prefix`, by step, in order."""
        return {
            entry.step: entry.values for entry in self.entries if entry.status == DONE and entry.step.startswith(prefix)
        }
