"""Find repositories that an older version exported. Their models import or call what no longer exists."""

from __future__ import annotations

import re
from pathlib import Path

from shopwindow_export.validation.report import Problem

_OLDER = re.compile(
    r"^\s*(?:import|from) (?:stub|retrieval)\b|\bgeneration=(?:generation|index\.manifest\.generation)\b", re.MULTILINE
)


def check_code(repository: Path) -> list[Problem]:
    """Find models that an older version exported. Triton would only say "No module named 'stub'".

    Args:
        repository: root of the rendered repository.

    Returns:
        At most one problem, which names all those models.
    """
    files = sorted(repository.glob("*/1/model.py"))
    older = [file.parent.parent.name for file in files if _OLDER.search(file.read_text(errors="replace"))]
    if not older:
        return []
    text = f"an older version exported {', '.join(older)}: run 'shopwindow export' again; the index can stay"
    return [Problem("error", "", ".", text)]
