"""shopwindow validate"""

from __future__ import annotations

import argparse
from pathlib import Path

from cli.common import REPOSITORY


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "repository", type=Path, nargs="?", default=REPOSITORY, metavar="DIR", help="default: %(default)s"
    )
    parser.add_argument(
        "--profile", default="cpu", help="cpu, cpu-ensemble or gpu: which configs will be served (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print the problems as JSON")


def run(options: argparse.Namespace) -> int:
    """Print the problems; 0 when there is no error, 1 otherwise."""
    from export.validate import format_json, format_report, validate_repository

    problems = validate_repository(options.repository, profile=options.profile)
    print(format_json(problems) if options.json else format_report(problems))
    return int(any(problem.severity == "error" for problem in problems))
