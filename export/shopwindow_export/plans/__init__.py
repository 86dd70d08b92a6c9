"""Build TensorRT plans from ONNX graphs, each with a manifest that says what it was built from and for."""

from shopwindow_export.plans.builder import build_plan
from shopwindow_export.plans.machine import Server, gpu_capabilities, tensorrt_module
from shopwindow_export.plans.manifest import PlanKey, PlanManifest
from shopwindow_export.plans.profile import Profile, ShapeRange, read_profile
from shopwindow_export.plans.repository import build_plans, can_build_plans, check_plans
from shopwindow_export.plans.store import PlanResult, build_or_reuse
from shopwindow_export.plans.toolkit import MODULES, Toolkit, load_toolkit

__all__ = [
    "MODULES",
    "PlanKey",
    "PlanManifest",
    "PlanResult",
    "Profile",
    "Server",
    "ShapeRange",
    "Toolkit",
    "build_or_reuse",
    "build_plan",
    "build_plans",
    "can_build_plans",
    "check_plans",
    "gpu_capabilities",
    "load_toolkit",
    "read_profile",
    "tensorrt_module",
]
