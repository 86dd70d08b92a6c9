"""Default places of files and servers, for callers that name none."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
"""The folder of the package `shopwindow`. It contains the demo's checkpoint and the tower configurations."""

ROOT = PACKAGE.parent
"""The root of the checkout, or site-packages if a wheel is installed."""

CHECKPOINT = PACKAGE / "demo" / "checkpoint"
TOWER_CONFIGS = PACKAGE / "towers" / "configs"
REPOSITORY = Path("build/model_repository")
INDEX = Path("build/index")
SHOP = Path("build/demo/shop")
GRPC_URL = "localhost:8001"


def source_roots() -> list[Path]:
    """Return the folders from which Python imports this project's packages, even if they are not installed."""
    beside = [ROOT / "client", ROOT / "export", ROOT / "loadtests"]
    return [ROOT, *(folder for folder in beside if (folder / f"shopwindow_{folder.name}").is_dir())]


def user_cache(name: str) -> Path:
    """Return the folder `shopwindow/NAME` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "shopwindow" / name


def python_path(environment: Mapping[str, str] = os.environ) -> str:
    """Return a PYTHONPATH for child processes: `source_roots`, then what the variable already contains."""
    return os.pathsep.join(filter(None, [*map(str, source_roots()), environment.get("PYTHONPATH")]))
