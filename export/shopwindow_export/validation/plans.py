"""Check TensorRT plans by their manifests: built from this graph, for these shapes, and for this server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from shopwindow_export.errors import PlanError
from shopwindow_export.plans.machine import Server
from shopwindow_export.plans.manifest import PlanManifest, sha256
from shopwindow_export.plans.profile import Profile, read_profile
from shopwindow_export.plans.toolkit import TENSORRT
from shopwindow_export.validation.checks import needed_files
from shopwindow_export.validation.parsing import GRAPH, Model
from shopwindow_export.validation.report import Problem

_REBUILD = "build it with 'shopwindow plans' in the serving image, on the serving GPU"


def check_model_plans(model: Model, profile: str, server: Server) -> Iterator[Problem]:
    """Check that Triton can load the plans of a model.

    Args:
        model: any model; one without plans has no problems here.
        profile: the profile that `model.config` belongs to.
        server: the server that the plans have to fit. Its unknown fields are not checked.
    """
    if model.config.platform != "tensorrt_plan" and model.config.backend != "tensorrt":
        return
    by_capability = dict(model.config.cc_model_filenames)
    for version in sorted(model.served_versions):
        folder = model.folder / str(version)
        for _, name in sorted(set(needed_files(model, profile))):
            plan = folder / name
            if not plan.is_file() or not plan.stat().st_size:
                continue  # reported already
            meant = [capability for capability, file in by_capability.items() if file == name]
            for fault in _faults(model, plan, tuple(meant) or server.capabilities, server):
                yield Problem("error", model.name, f"{model.name}/{version}/{name}", f"{fault}; {_REBUILD}")
    if by_capability and not model.config.default_model_filename:
        for capability in sorted(set(server.capabilities) - by_capability.keys()):
            yield model.error(
                f"cc_model_filenames: has no plan for the server's compute capability {capability}, only for "
                f"{', '.join(sorted(by_capability))}; export with it, and {_REBUILD}"
            )


def _faults(model: Model, plan: Path, capabilities: tuple[str, ...], server: Server) -> Iterator[str]:
    try:
        manifest = PlanManifest.read(plan)
    except PlanError as error:
        yield str(error)
        return
    key = manifest.key
    if manifest.plan_sha256 != sha256(plan):
        yield f"the manifest beside it is of another plan (sha256 {manifest.plan_sha256[:12]}...)"
        return
    if key.module != TENSORRT:
        yield f"was built by {key.module} {key.version}, whose plans Triton does not load"
        return
    graph = plan.with_name(GRAPH)
    if graph.is_file() and key.onnx_sha256 != (found := sha256(graph)):
        yield f"was built from another graph (sha256 {key.onnx_sha256[:12]}...) than {GRAPH} ({found[:12]}...)"
    yield from _shape_faults(model, key.profile)
    if not server.runs(key.version):
        yield f"was built by TensorRT {key.version} and the server has {server.tensorrt}, which does not load it"
    for capability in capabilities:
        if key.compute_capability != capability:
            yield (
                f"was built for GPUs of compute capability {key.compute_capability or 'unknown'}, "
                f"and it is to run on {capability}"
            )


def _shape_faults(model: Model, built: Profile) -> Iterator[str]:
    try:
        expected = read_profile(model.config)
    except PlanError as error:
        yield str(error)
        return
    for name, shapes in expected.items():
        if name not in built:
            yield f"was built without the config's input {name!r}"
        elif (built[name].minimum, built[name].maximum) != (shapes.minimum, shapes.maximum):
            yield (
                f"takes input {name!r} from {list(built[name].minimum)} to {list(built[name].maximum)}, and the config "
                f"says {list(shapes.minimum)} to {list(shapes.maximum)} (batch axis included)"
            )
