"""shopwindow validate"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from shopwindow.base.default_places import REPOSITORY
from shopwindow.cli.common import triton_version


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "repository", type=Path, nargs="?", default=REPOSITORY, metavar="DIR", help="default: %(default)s"
    )
    parser.add_argument(
        "--profile",
        default="cpu",
        help="profile that will be served: cpu, cpu-ensemble, gpu or onnxruntime (default: %(default)s)",
    )
    parser.add_argument(
        "--triton",
        type=triton_version,
        metavar="X.Y",
        help="Triton version of the server, such as 2.71; configs must not use anything newer (default: 2.51 for cpu "
        "profiles, any for others)",
    )
    parser.add_argument(
        "--tensorrt",
        metavar="X.Y",
        help="TensorRT version of the server, such as 11.1; plans must have been built by this version (default: this "
        "machine's)",
    )
    parser.add_argument(
        "--compute-capability",
        action="append",
        metavar="X.Y",
        help="compute capability of the server's GPU, such as 9.0; plans must have been built for it; repeatable "
        "(default: this machine's GPUs)",
    )
    parser.add_argument("--json", action="store_true", help="print the problems as JSON")


def run(options: argparse.Namespace) -> int:
    """Print the problems. Return 1 if one of them is an error, else 0."""
    from shopwindow_export.plans.machine import Server, this_machine
    from shopwindow_export.validation.run import format_json, format_report, validate_repository

    here = this_machine()
    server = Server(
        tensorrt=options.tensorrt or here.tensorrt,
        capabilities=tuple(options.compute_capability or here.capabilities),
    )
    if options.profile == "gpu":
        unknown = {} if server.tensorrt else {"TensorRT version": "--tensorrt"}
        unknown |= {} if server.capabilities else {"compute capability": "--compute-capability"}
        if unknown:
            print(
                f"plans are not checked against the server's {' and '.join(unknown)}, which "
                f"{'is' if len(unknown) == 1 else 'are'} not known here: give {' and '.join(unknown.values())}",
                file=sys.stderr,
            )
    problems = validate_repository(
        options.repository, profile=options.profile, max_version=options.triton, server=server
    )
    print(format_json(problems) if options.json else format_report(problems))
    return int(any(problem.severity == "error" for problem in problems))
