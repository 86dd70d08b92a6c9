"""Keep a plan on disk, and build it only if the existing one was built from or for something else."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shopwindow_export.errors import PlanError
from shopwindow_export.plans.builder import build_plan
from shopwindow_export.plans.manifest import PlanKey, PlanManifest, manifest_file, sha256, write_plan
from shopwindow_export.plans.profile import Profile
from shopwindow_export.plans.toolkit import Toolkit


@dataclass(frozen=True, kw_only=True)
class PlanResult:
    """A plan that is in place.

    Attributes:
        plan: the file.
        manifest: its manifest.
        reused: whether an existing plan was used.
        seconds: wall time that it took.
    """

    plan: Path
    manifest: PlanManifest
    reused: bool
    seconds: float


def build_or_reuse(
    toolkit: Toolkit,
    onnx: Path,
    plan: Path,
    profile: Profile,
    *,
    compute_capability: str,
    precision: str,
    earlier: Sequence[Path] = (),
    timing_cache: Path | None = None,
    progress: bool = True,
) -> PlanResult:
    """Put the plan of a graph in its place. It is kept, copied from elsewhere, or built.

    Args:
        toolkit: the TensorRT module that builds.
        onnx: the graph.
        plan: the place; its folder exists.
        profile: shapes that the plan takes.
        compute_capability: of the GPU that the plan is built on; "" without a GPU.
        precision: of the graph.
        earlier: plans elsewhere that are copied if they fit, such as those of the repository to be replaced.
        timing_cache: see `build_plan`.
        progress: show a progress bar.

    Raises:
        FileNotFoundError: there is no graph.
        PlanError: see `build_plan`.
    """
    started = time.perf_counter()
    if not onnx.is_file():
        raise FileNotFoundError(f"{onnx} is missing: make the graphs with 'shopwindow export'")
    key = PlanKey(
        onnx_sha256=sha256(onnx),
        module=toolkit.name,
        version=toolkit.version,
        compute_capability=compute_capability,
        profile=profile,
        precision=precision,
    )
    if (manifest := keep_fitting(plan, key, earlier)) is not None:
        return PlanResult(plan=plan, manifest=manifest, reused=True, seconds=time.perf_counter() - started)
    data = build_plan(toolkit, onnx, profile, timing_cache=timing_cache, progress=progress)
    manifest = write_plan(plan, data, key)
    return PlanResult(plan=plan, manifest=manifest, reused=False, seconds=time.perf_counter() - started)


def keep_fitting(plan: Path, key: PlanKey, earlier: Sequence[Path]) -> PlanManifest | None:
    """Keep the plan in its place, or copy an earlier one there, if it was built for `key`.

    Returns:
        The manifest of the plan; None if no plan fits.
    """
    for candidate in (plan, *earlier):
        manifest = _fitting(candidate, key)
        if manifest is not None:
            if candidate != plan:
                shutil.copyfile(candidate, plan)
                shutil.copyfile(manifest_file(candidate), manifest_file(plan))
            return manifest
    return None


def _fitting(plan: Path, key: PlanKey) -> PlanManifest | None:
    """Return the manifest of a plan, if the plan was built for `key` and is complete."""
    try:
        manifest = PlanManifest.read(plan)
    except PlanError:
        return None
    fits = manifest.key == key and plan.is_file() and sha256(plan) == manifest.plan_sha256
    return manifest if fits else None
