"""Build the plans of both towers into a rendered repository, or compile them and throw them away."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from tritonclient.grpc.model_config_pb2 import ModelConfig

from shopwindow.retrieval.embedding.bundle import Bundle
from shopwindow.retrieval.embedding.repository_layout import RepositoryLayout
from shopwindow_export.errors import PlanError
from shopwindow_export.plans.builder import build_plan
from shopwindow_export.plans.machine import gpu_capabilities, tensorrt_module
from shopwindow_export.plans.profile import read_config, read_profile
from shopwindow_export.plans.store import PlanResult, build_or_reuse, keep_fitting
from shopwindow_export.plans.toolkit import TENSORRT, TENSORRT_RTX, load_toolkit

PLAN = "model.plan"


def can_build_plans() -> bool:
    """Whether this machine has TensorRT and a GPU to build for."""
    return tensorrt_module() is not None and bool(gpu_capabilities())


def build_plans(repository: Path, *, earlier: Path | None = None, progress: bool = True) -> list[PlanResult]:
    """Build the plans of both towers where Triton looks for them, or keep those that fit.

    The plans are for this machine's first GPU and the TensorRT installed here. So run it in the serving image, on the
    serving GPU. If there are GPUs of several kinds, run it once on each; cc_model_filenames names the file of each.

    Args:
        repository: a rendered model repository.
        earlier: another rendered repository. Its plans are copied if they fit, also those for other kinds of GPU.
        progress: show progress bars.

    Raises:
        FileNotFoundError: the repository has no bundle.json or no graphs, so it was not exported.
        PlanError: there is no TensorRT or no GPU, or a build failed.
    """
    toolkit = load_toolkit(TENSORRT)
    capabilities = gpu_capabilities()
    if not capabilities:
        raise PlanError(
            "no GPU here to build plans for: run this on the serving GPU; 'shopwindow plans --check' compiles the "
            "graphs without one"
        )
    precision = Bundle.read(repository).precision
    # Beside the repository, so that it outlives the next export.
    timings = repository.parent / f"timings-{toolkit.version}-{capabilities[0]}.cache"
    results = []
    for onnx in _graphs(repository):
        config = read_config(onnx.parent.parent / "config.pbtxt")
        plan = onnx.with_name(plan_file(config, capabilities[0]))
        built = build_or_reuse(
            toolkit,
            onnx,
            plan,
            read_profile(config),
            compute_capability=capabilities[0],
            precision=precision,
            earlier=[earlier / plan.relative_to(repository)] if earlier else [],
            timing_cache=timings,
            progress=progress,
        )
        results.append(built)
        for capability, name in config.cc_model_filenames.items():
            other = onnx.with_name(name)
            if earlier and other != plan:  # for kinds of GPU that are not in this machine
                key = replace(built.manifest.key, compute_capability=capability)
                keep_fitting(other, key, [earlier / other.relative_to(repository)])
    return results


def check_plans(repository: Path, *, module: str = TENSORRT_RTX, progress: bool = True) -> dict[str, float]:
    """Compile both towers for the shapes of their GPU configs, and throw the plans away.

    Args:
        repository: a rendered model repository.
        module: "tensorrt_rtx" needs no GPU.
        progress: show progress bars.

    Returns:
        Seconds that each tower took, by its name.

    Raises:
        FileNotFoundError: the repository has no graphs.
        PlanError: TensorRT would refuse a graph.
    """
    toolkit = load_toolkit(module)
    seconds = {}
    for onnx in _graphs(repository):
        started = time.perf_counter()
        profile = read_profile(read_config(onnx.parent.parent / "config.pbtxt"))
        build_plan(toolkit, onnx, profile, progress=progress)
        seconds[onnx.parent.parent.name] = time.perf_counter() - started
    return seconds


def plan_file(config: ModelConfig, compute_capability: str) -> str:
    """Return the name of the plan that Triton loads on a GPU of this compute capability."""
    named: str = config.cc_model_filenames.get(compute_capability, "") or config.default_model_filename
    return named or PLAN


def _graphs(repository: Path) -> tuple[Path, Path]:
    layout = RepositoryLayout(repository)
    return layout.query_tower, layout.product_tower
