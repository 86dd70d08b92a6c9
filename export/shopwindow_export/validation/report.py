"""A problem of a model repository, and lists of problems as text or JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Problem:
    """Something in a repository that Triton refuses, or that answers wrongly once it is served.

    Attributes:
        severity: "error" if the model must not be served, "warning" for a probable mistake.
        model: folder name of the model; empty if the problem concerns the whole repository.
        file: the file or folder in question, relative to the repository.
        message: the field, the limit and the value found, and what to do.
        line: line in the file, counted from 1; None if it is not known.
    """

    severity: Severity
    model: str
    file: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{self.severity}: {place}: {self.message}"


def format_report(problems: Sequence[Problem]) -> str:
    """Return the problems as lines for a terminal, errors first, then a count."""
    errors = sum(problem.severity == "error" for problem in problems)
    count = f"{errors} errors, {len(problems) - errors} warnings"
    ordered = sorted(problems, key=lambda problem: problem.severity != "error")
    return "\n".join([*map(str, ordered), count if problems else "no problems found"])


def format_json(problems: Sequence[Problem]) -> str:
    """Return the problems as JSON: {"ok": no errors, "problems": [one object each, keys as in `Problem`]}."""
    ok = all(problem.severity != "error" for problem in problems)
    return json.dumps({"ok": ok, "problems": [asdict(problem) for problem in problems]}, indent=2)
