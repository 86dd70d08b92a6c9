"""What an ablation trains, read from a JSON file: base settings and variants that change some of them."""

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
        name: also of its folder.
        settings: a whole config file for `pretrain`.
        processes: that train together.
        compare_with: the variant that it is judged against; its own name for none.
    """

    name: str
    settings: dict[str, Any]
    processes: int
    compare_with: str

    @property
    def hold_out(self) -> float:
        """Share of the products that it never sees."""
        return float(self.settings["training"].get("hold_out", 0.0))


def read_spec(file: Path) -> list[Variant]:
    """Read and check all variants, so that a typo is found before hours of training.

    Args:
        file: JSON with `base` (settings as `pretrain --config` reads them, or the path of such a file, relative to
            this one), `variants` (name -> what differs in `towers`, `training` and `vocab_size`, and optionally
            `processes` and `compare_with`, by default "full"), and optionally `changes`, what differs from the base in
            all variants.

    Raises:
        ValueError: an unknown key, settings that do not fit, or a comparison with a variant that is not there; names
            the variant.
    """
    spec = read_json(file)
    _refuse_unknown(str(file), spec, {"base", "changes", "variants"})
    if not spec.get("variants") or "base" not in spec:
        raise ValueError(f"{file}: needs base and at least one of variants")
    base = spec["base"] if isinstance(spec["base"], dict) else read_json(file.parent / spec["base"])
    changes = spec.get("changes", {})
    _refuse_unknown(f"{file}: changes", changes, _SETTINGS)
    base = merge(base, changes)
    variants = [_variant(name, base, changes) for name, changes in spec["variants"].items()]
    names = [variant.name for variant in variants]
    shares = sorted({variant.hold_out for variant in variants})
    if len(shares) > 1:
        raise ValueError(f"{file}: hold_out must be the same everywhere, or unseen products do not compare: {shares}")
    for variant in variants:
        if variant.compare_with not in names:
            raise ValueError(f"variant {variant.name!r}: compare_with must be one of {names}: {variant.compare_with!r}")
    return variants


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The base's settings with a variant's changes; within `towers` and `training` key by key."""
    merged = {**base, **changes}
    return merged | {part: {**base.get(part, {}), **changes.get(part, {})} for part in _PARTS}


def _variant(name: str, base: dict[str, Any], changes: dict[str, Any]) -> Variant:
    where = f"variant {name!r}"
    if name != Path(name).name or name.startswith("."):
        raise ValueError(f"{where}: must be fit to name a folder: no slash, no dot at the start")
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
        raise ValueError(f"{where}: its settings lack {error}") from None
    except (TypeError, ValueError) as error:  # TypeError: a setting without a default is missing
        raise ValueError(f"{where}: {error}") from None
    return Variant(name=name, settings=settings, processes=processes, compare_with=changes.get("compare_with", FULL))


def _refuse_unknown(where: str, given: Mapping[str, Any], known: set[str]) -> None:
    if unknown := given.keys() - known:
        raise ValueError(f"{where}: unknown keys {sorted(unknown)}; known: {sorted(known)}")
