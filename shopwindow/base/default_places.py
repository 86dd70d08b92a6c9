"""Where things lie when the caller names no place."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
"""The package `shopwindow`, with the demo's checkpoint and the tower configurations in it."""

ROOT = PACKAGE.parent
"""The checkout; site-packages where a wheel is installed."""

CHECKPOINT = PACKAGE / "demo" / "checkpoint"
TOWER_CONFIGS = PACKAGE / "towers" / "configs"
REPOSITORY = Path("build/model_repository")
INDEX = Path("build/index")
SHOP = Path("build/demo/shop")
GRPC_URL = "localhost:8001"


def source_roots() -> list[Path]:
    """Folders on which a Python process finds this project's packages, installed or not."""
    beside = [ROOT / "client", ROOT / "export", ROOT / "loadtests"]
    return [ROOT, *(folder for folder in beside if (folder / f"shopwindow_{folder.name}").is_dir())]


def python_path(environment: Mapping[str, str] = os.environ) -> str:
    """A PYTHONPATH for child processes: `source_roots`, then what the variable holds already."""
    return os.pathsep.join(filter(None, [*map(str, source_roots()), environment.get("PYTHONPATH")]))
