"""The committed template tree to a complete model repository.

`model_repository/` and `ensemble_configs/` hold configs with ${placeholders}; rendering fills them in beside the
graphs, tokenisers and model code. The template itself is never edited.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from string import Template

from retrieval.bundle import Bundle
from retrieval.parameters import DEFAULT_TOP_K, MAX_TOP_K

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "model_repository"
ENSEMBLES = ROOT / "ensemble_configs"

# The CPU profile in which every step is a model of its own, as on a GPU.
ENSEMBLE_PROFILE = "cpu-ensemble"


def render_models(target: Path, bundle: Bundle, *, cpu_instances: int) -> None:
    """Write every model folder: configs of all profiles, and the Python models' code.

    Args:
        target: an empty folder.
        bundle: dimensions and identity of the towers.
        cpu_instances: processes that answer `retrieve` under the profile `cpu`, one a core.

    Raises:
        KeyError: a template names a placeholder that is not known.
    """
    values = {
        "cpu_instances": cpu_instances,
        "default_top_k": DEFAULT_TOP_K,
        "embedding_dim": bundle.embedding_dim,
        "image_size": bundle.image_size,
        "max_top_k": MAX_TOP_K,
        "query_max_tokens": bundle.query_max_tokens,
        "title_max_tokens": bundle.title_max_tokens,
        "tower_hash": bundle.tower_hash,
    }
    for source in sorted(MODELS.rglob("*")):
        place = target / source.relative_to(MODELS)
        if source.suffix == ".pbtxt":
            _render(source, place, values)
        elif source.suffix == ".py":
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, place)
    for source in sorted(ENSEMBLES.glob("*.pbtxt")):
        _render(source, target / source.stem / "config.pbtxt", values)
        (target / source.stem / "1").mkdir(exist_ok=True)  # Triton wants a version folder even of an ensemble
    for config in target.glob("*/configs/cpu.pbtxt"):
        # A fused model is an ensemble in every other profile; the others run on the CPU all the same.
        if not (ENSEMBLES / f"{config.parent.parent.name}.pbtxt").exists():
            shutil.copyfile(config, config.with_name(f"{ENSEMBLE_PROFILE}.pbtxt"))


def _render(source: Path, place: Path, values: dict[str, object]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    text = Template(source.read_text()).substitute(values)
    place.write_text(re.sub(r"\n{3,}", "\n\n", text))
