"""shopwindow plans"""

from __future__ import annotations

import argparse

from shopwindow.cli.common import add_repository


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_repository(parser)
    parser.add_argument(
        "--check",
        action="store_true",
        help="compile the graphs and throw the plans away; works on machines without a GPU",
    )
    parser.add_argument(
        "--trt-module",
        choices=["tensorrt", "tensorrt_rtx"],
        help="TensorRT, or TensorRT for RTX, which needs no GPU but makes plans that Triton does not load "
        "(default: tensorrt; with --check tensorrt_rtx)",
    )


def run(options: argparse.Namespace) -> int:
    """Build or check the plans. Return 0 when every plan is in place or compiles."""
    from shopwindow_export.plans import build_plans, check_plans
    from shopwindow_export.plans.toolkit import TENSORRT_RTX, load_toolkit

    module = options.trt_module or (TENSORRT_RTX if options.check else "tensorrt")
    if not options.check and module == TENSORRT_RTX:
        raise ValueError(
            "trt-module: plans of tensorrt_rtx do not load in Triton, so they are not written; add --check to compile "
            "them and throw them away, or build with tensorrt on the serving GPU"
        )
    if options.check:
        version = load_toolkit(module).version
        for tower, seconds in check_plans(options.repository, module=module).items():
            print(f"{tower}: {module} {version} compiles it ({seconds:.1f} s)")
        print("no plan was written: build them with 'shopwindow plans' in the serving image on the serving GPU")
        return 0
    for result in build_plans(options.repository):
        key = result.manifest.key
        done = "still fits, kept" if result.reused else "built"
        print(
            f"{result.plan}: {done} in {result.seconds:.1f} s ({key.module} {key.version}, compute capability "
            f"{key.compute_capability}, {key.precision}, {result.plan.stat().st_size / 1e6:.1f} MB)"
        )
    return 0
