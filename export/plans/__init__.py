"""ONNX graphs to TensorRT plans: built once, with a manifest that says what each was built from and for."""

from export.plans.builder import build_plan
from export.plans.machine import Server, gpu_capabilities, tensorrt_module
from export.plans.manifest import PlanKey, PlanManifest
from export.plans.profile import Profile, ShapeRange, read_profile
from export.plans.repository import build_plans, can_build_plans, check_plans
from export.plans.store import PlanResult, build_or_reuse
from export.plans.toolkit import MODULES, Toolkit, load_toolkit

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
