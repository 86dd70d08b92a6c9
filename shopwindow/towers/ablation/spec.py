"""The spec of an ablation: a JSON file with base settings and the variants that change some of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shopwindow.towers.architecture.config import TowerConfig, read_json
from shopwindow.towers.training.config import TrainingConfig

FULL = "full"
_PARTS = ("towers", "training")
_SETTINGS = {*_PARTS, "vocab_size"}


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One training.

    Attributes:
        name: name of the variant and of its folder.
        settings: the content of a config file for `pretrain`.
        processes: number of processes that train together.
        compare_with: name of the variant to compare with. The variant's own name means no comparison.
    """

    name: str
    settings: dict[str, Any]
    processes: int
    compare_with: str

    @property
    def hold_out(self) -> float:
        """Share of the products that the training never sees."""
        return float(self.settings["training"].get("hold_out", 0.0))


def read_spec(file: Path) -> list[Variant]:
    """Read and check all variants, so that a typo shows before hours of training.

    Args:
        file: JSON with these keys. `base`: settings as `pretrain --config` reads them, or the path of such a file
            relative to this one. `variants`: name -> what differs in `towers`, `training` and `vocab_size`, and
            optionally `processes` and `compare_with`, by default "full". `changes`, optional: what differs from the
            base in all variants.

    Raises:
        ValueError: a key is unknown, settings do not fit, or a variant is compared with one that is not there. The
            message names the variant.
    """
    spec = read_json(file)
    _refuse_unknown(str(file), spec, {"base", "changes", "variants"})
    if not spec.get("variants") or "base" not in spec:
        raise ValueError(f"{file}: needs base, and at least one variant in variants")
    base = spec["base"] if isinstance(spec["base"], dict) else read_json(file.parent / spec["base"])
    changes = spec.get("changes", {})
    _refuse_unknown(f"{file}: changes", changes, _SETTINGS)
    base = merge(base, changes)
    variants = [_variant(name, base, changes) for name, changes in spec["variants"].items()]
    names = [variant.name for variant in variants]
    shares = sorted({variant.hold_out for variant in variants})
    if len(shares) > 1:
        raise ValueError(
            f"{file}: hold_out must be the same in all variants, so that they are judged on the same unseen products; "
            f"got {shares}"
        )
    for variant in variants:
        if variant.compare_with not in names:
            raise ValueError(
                f"variant {variant.name!r}: compare_with must be one of {names}, got {variant.compare_with!r}"
            )
    return variants


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the base's settings with a variant's changes. `towers` and `training` are merged key by key."""
    merged = {**base, **changes}
    return merged | {part: {**base.get(part, {}), **changes.get(part, {})} for part in _PARTS}


def _variant(name: str, base: dict[str, Any], changes: dict[str, Any]) -> Variant:
    where = f"variant {name!r}"
    if name != Path(name).name or name.startswith("."):
        raise ValueError(f"{where}: the name must be usable as a folder name: no slash, and no dot at the start")
    _refuse_unknown(where, changes, {*_SETTINGS, "processes", "compare_with"})
    settings = merge(base, {key: value for key, value in changes.items() if key in _SETTINGS})
    _refuse_unknown(f"{where}: base", settings, _SETTINGS)
    processes = changes.get("processes", 1)
    if not isinstance(processes, int) or processes < 1:
        raise ValueError(f"{where}: processes must be a whole number from 1, got {json.dumps(processes)}")
    try:
        TowerConfig.from_json({"vocab_size": settings["vocab_size"], **settings["towers"]})
        TrainingConfig.from_json(settings["training"])
    except KeyError as error:
        raise ValueError(f"{where}: the settings lack {error}") from None
    except (TypeError, ValueError) as error:  # TypeError: a setting without a default is missing
        raise ValueError(f"{where}: {error}") from None
    return Variant(name=name, settings=settings, processes=processes, compare_with=changes.get("compare_with", FULL))


def _refuse_unknown(where: str, settings: Mapping[str, Any], known: set[str]) -> None:
    if unknown := settings.keys() - known:
        raise ValueError(f"{where}: unknown keys {sorted(unknown)}; known: {sorted(known)}")
