"""What a run has done so far. It is kept in a file, so that a run can be stopped and continued."""

from __future__ import annotations

import copy
import json
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

_MOST_NUMBERS = 24  # numbers of requests that a finding keeps


@dataclass
class Finding:
    """A rule that was broken, once or several times in the same way.

    Attributes:
        invariant: The rule.
        text: What was seen first.
        count: How often it was seen.
        numbers: Requests that showed it, or that were in flight then.
        what: How the first of them was made.
    """

    invariant: str
    text: str
    count: int = 0
    numbers: list[int] = field(default_factory=list)
    what: str = ""


@dataclass
class State:
    """A run so far.

    Attributes:
        seed: Its seed.
        done: All requests below this number are done.
        outcomes: `kind: status` -> number of requests.
        allowed: Reason -> number of errors that it allows.
        findings: Key -> finding.
        compared: Answers to neighbours that were compared.
        refused: Requests of neighbours that were refused in an overload.
        seconds: Time that the run took.
        memory: For each start of the run, bytes by part of the server: what it grew from and to after its warm-up.
        samples: For each start of the run, bytes by part of the server at moments that are evenly spread over it.
    """

    seed: int
    done: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    allowed: Counter[str] = field(default_factory=Counter)
    findings: dict[str, Finding] = field(default_factory=dict)
    compared: int = 0
    refused: int = 0
    seconds: float = 0.0
    memory: list[dict[str, list[int]]] = field(default_factory=list)
    samples: list[list[dict[str, int]]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def count(self, kind: str, status: str, reasons: Sequence[str]) -> None:
        """Count a reply."""
        with self._lock:
            self.outcomes[f"{kind}: {status}"] += 1
            self.allowed.update(reasons)

    def find(self, key: str, invariant: str, text: str, numbers: Sequence[int], what: str) -> None:
        """Note that a rule was broken."""
        with self._lock:
            found = self.findings.setdefault(key, Finding(invariant, text, what=what))
            found.count += 1
            found.numbers += [number for number in numbers if number not in found.numbers]
            del found.numbers[_MOST_NUMBERS:]

    def as_dict(self) -> dict[str, Any]:
        """Return the content of the file."""
        with self._lock:
            # Copies, because the senders go on counting while the file is written.
            content = {name: copy.deepcopy(value) for name, value in vars(self).items() if not name.startswith("_")}
            return {**content, "findings": {key: asdict(found) for key, found in self.findings.items()}}

    def write(self, path: Path) -> None:
        """Write the file, in one step."""
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_text(json.dumps(self.as_dict(), indent=1) + "\n")
        new.replace(path)

    @classmethod
    def read(cls, path: Path) -> State:
        """Read the file.

        Raises:
            ValueError: It is not the state of a run.
        """
        try:
            content = json.loads(path.read_text())
            content["findings"] = {key: Finding(**found) for key, found in content["findings"].items()}
            return cls(**{**content, **{name: Counter(content[name]) for name in ("outcomes", "allowed")}})
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"{path} is not the state of a run ({error}); delete it to begin anew") from error
