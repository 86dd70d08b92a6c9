"""Every line of the threat model names a test that exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")


def test_every_test_that_is_named_exists() -> None:
    named = NAMED.findall(TEXT)
    assert len(named) > 30
    tests = {
        file: {node.name for node in ast.parse((ROOT / "tests" / file).read_text()).body if hasattr(node, "name")}
        for file in {file for file, _ in named}
    }
    assert [f"{file}::{name}" for file, name in named if name not in tests[file]] == []


def test_every_line_names_a_test() -> None:
    rows = [
        row for row in TEXT.splitlines() if row.startswith("| ") and not re.match(r"\| (---|what (they|it) r)", row)
    ]
    assert len(rows) > 30
    assert [row for row in rows if not NAMED.search(row)] == []
