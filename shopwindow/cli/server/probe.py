"""shopwindow probe"""

from __future__ import annotations

import argparse
import sys

from shopwindow.cli.connection import add_connection


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_connection(parser)
    parser.add_argument(
        "--timeout",
        type=float,
        default=2.0,
        metavar="S",
        help="deadline of each request in seconds (default: %(default)s)",
    )
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="NAME",
        help="check only this pipeline, or product_index; repeatable (default: all)",
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        "--ready", action="store_true", help="check that every pipeline answers a real request (the default)"
    )
    kind.add_argument("--live", action="store_true", help="check only that the server answers")


def run(options: argparse.Namespace) -> int:
    """Return 0 if the server is ready (or live). Otherwise print the reason on standard error and return 1."""
    from shopwindow.server.watch.canary import MODELS, Canary, PerhapsBusy
    from shopwindow_client._values.option_files import client_options

    if unknown := [model for model in options.model if model not in MODELS]:
        raise ValueError(f"--model: must be among {', '.join(MODELS)}, got {unknown[0]}")
    with Canary(options.url, deadline_s=options.timeout, **client_options(options)) as canary:
        if options.live:
            reasons = [] if canary.is_live() else [f"not live: {options.url} does not answer"]
        else:
            found = canary.ask_patiently(options.model or MODELS)
            reasons = [
                f"{'late' if isinstance(error, PerhapsBusy) else 'not ready'}: {model}: {error}"
                for model, error in found.items()
                if error is not None
            ]
    for reason in reasons:
        print(reason, file=sys.stderr)
    return 1 if reasons else 0
