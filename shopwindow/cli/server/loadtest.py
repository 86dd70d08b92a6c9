"""shopwindow loadtest"""

from __future__ import annotations

import argparse
import math
import sys
import traceback
from pathlib import Path

from shopwindow.base.default_places import INDEX, REPOSITORY, SHOP
from shopwindow.cli.connection import add_connection

_SEARCH = ("command", "find_rate", "tolerance", "highest_rate")  # not fields of LoadTestOptions
# The same as `shopwindow_loadtests.scenario.shapes.KINDS`. Importing that would load numpy for --help.
SHAPES = ("soak", "steps", "spike", "ramp")
_HARNESS_FAILURE = 4  # the same as `shopwindow_loadtests.ExitCode`, whose import may have failed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options. Except for those of --find-rate, their names are the fields of `LoadTestOptions`."""
    parser.epilog = "exit codes: 0 limits kept, 1 SLO missed, 2 bad usage, 3 too few samples, 4 harness failure"
    add_connection(parser)

    load = parser.add_argument_group("load").add_mutually_exclusive_group()
    load.add_argument(
        "--users", type=_levels, default=(), metavar="N,..", help="closed loop: concurrent users (default: 8)"
    )
    load.add_argument(
        "--rate",
        type=_levels,
        default=(),
        metavar="R,..",
        help="open loop: requests per second, sent whether or not earlier ones were answered",
    )
    shape = parser.add_argument_group("shape")
    shape.add_argument(
        "--shape",
        choices=SHAPES,
        default="soak",
        help="soak: one level; steps: each level in turn; spike: the second level for a fifth of the time; ramp: from "
        "the first level to the second until a limit breaks (default: %(default)s)",
    )
    shape.add_argument(
        "--duration-s", type=float, default=30.0, metavar="S", help="length of the test (default: %(default)g)"
    )
    shape.add_argument(
        "--arrivals",
        choices=("poisson", "constant"),
        default="poisson",
        help="when requests of an open loop are due (default: %(default)s)",
    )
    shape.add_argument(
        "--max-in-flight",
        type=int,
        default=256,
        metavar="N",
        help="open loop: most requests waiting for an answer; further ones fail unsent (%(default)s)",
    )
    shape.add_argument(
        "--timeout-s", type=float, default=5.0, metavar="S", help="timeout of a request (default: %(default)g)"
    )

    mix = parser.add_argument_group("what is sent")
    mix.add_argument("--mix", type=Path, metavar="FILE", help="YAML: kinds of requests and how often each comes")
    mix.add_argument(
        "--queries",
        type=Path,
        metavar="FILE",
        help="without --mix: parquet with a column `text`, or text with one query per line; the most popular first "
        "(default: the demo shop's)",
    )
    mix.add_argument("--batch", type=int, default=1, metavar="N", help="queries in a request (default: %(default)s)")
    mix.add_argument(
        "--top-k", type=int, default=100, metavar="K", help="products for each query (default: %(default)s)"
    )
    mix.add_argument(
        "--zipf", type=float, default=1.0, metavar="A", help="exponent of popularity (default: %(default)g)"
    )
    mix.add_argument(
        "--seed",
        type=int,
        default=argparse.SUPPRESS,
        metavar="N",
        help="seed of all random draws (default: a new one each time)",
    )

    limits = parser.add_argument_group("limits")
    limits.add_argument("--slo", type=Path, metavar="FILE", help="YAML: limits by kind of request")
    limits.add_argument(
        "--max-p95-ms", type=float, metavar="MS", help="without --slo: limit on the 95th percentile of latency"
    )
    limits.add_argument(
        "--max-p99-ms", type=float, metavar="MS", help="without --slo: limit on the 99th percentile of latency"
    )
    limits.add_argument(
        "--max-error-share",
        type=float,
        default=0.0,
        metavar="R",
        help="without --slo: limit on the share of failed requests (%(default)g)",
    )
    limits.add_argument(
        "--min-samples",
        type=int,
        metavar="N",
        help="without --slo: answered requests needed (default: enough for ten beyond the percentile)",
    )
    limits.add_argument(
        "--max-late-ms",
        type=float,
        default=100.0,
        metavar="MS",
        help="if requests are sent later than this, a missed limit counts against the load generator, not the server "
        "(%(default)g)",
    )

    recall = parser.add_argument_group("recall under load")
    recall.add_argument(
        "--recall-share",
        type=float,
        default=0.0,
        metavar="R",
        help="share of the queries whose recall is measured (default: none)",
    )
    recall.add_argument("--recall-k", type=int, default=10, metavar="K", help="default: %(default)s")
    recall.add_argument("--repository", type=Path, default=REPOSITORY, metavar="DIR", help="default: %(default)s")
    recall.add_argument("--index", type=Path, default=INDEX, metavar="DIR", help="default: %(default)s")

    compared = parser.add_argument_group("comparison")
    compared.add_argument("--baseline", type=Path, metavar="FILE", help="samples.parquet of an earlier test")
    compared.add_argument(
        "--noise", type=float, default=0.12, metavar="R", help="smaller changes in speed count as noise (%(default)g)"
    )

    workers = parser.add_argument_group("workers")
    workers.add_argument("--workers", type=int, default=1, metavar="N", help="processes that send (%(default)s)")
    workers.add_argument(
        "--elsewhere", type=int, default=0, metavar="N", help="how many of them run on other machines (%(default)s)"
    )
    workers.add_argument("--port", type=int, default=0, metavar="P", help="port that workers connect to (default: any)")
    workers.add_argument("--join", metavar="HOST:PORT", help="join that test as a worker; give the same other options")

    search = parser.add_argument_group("search")
    search.add_argument(
        "--find-rate",
        action="store_true",
        help="search for the highest rate that meets the limits, starting at --rate; a trial takes --duration-s",
    )
    search.add_argument(
        "--tolerance",
        type=float,
        default=0.1,
        metavar="R",
        help="relative tolerance of that rate (default: %(default)g)",
    )
    search.add_argument("--highest-rate", type=float, default=math.inf, metavar="R", help="search no higher than this")

    parser.add_argument(
        "--out",
        type=Path,
        default=Path("build/loadtest"),
        metavar="DIR",
        help="folder for report and samples (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    """Run the load test; the exit code is one of `shopwindow_loadtests.ExitCode`."""
    try:
        return _run(options)
    except Exception as error:  # exit code 1 would mean that the server missed its limits
        traceback.print_exc()
        print(f"HARNESS FAILURE the load test crashed: {error}", file=sys.stderr)
        return _HARNESS_FAILURE


def _run(options: argparse.Namespace) -> int:
    from shopwindow_loadtests import ExitCode, HarnessFailure, LoadTestOptions, TooFewSamples, find_rate, run

    given = {name: value for name, value in vars(options).items() if name not in _SEARCH}
    if not given["users"] and not given["rate"]:
        given["users"] = (8.0,)
    if given["mix"] is None and given["queries"] is None:
        given["queries"] = SHOP / "queries.parquet"
        print(f"queries: the demo shop's, {given['queries']}; --queries takes those of another shop", file=sys.stderr)
    try:
        test = LoadTestOptions(**given)
        if options.find_rate:
            found = find_rate(test, tolerance=options.tolerance, highest=options.highest_rate)
            print(found)
            return ExitCode.OK if found.highest is not None else ExitCode.SLO_MISSED
        return run(test)
    except ValueError as error:
        print(f"shopwindow loadtest: error: {error}", file=sys.stderr)
        return ExitCode.BAD_USAGE
    except TooFewSamples as error:
        print(error, file=sys.stderr)
        return ExitCode.TOO_FEW_SAMPLES
    except (HarnessFailure, OSError) as error:
        print(f"HARNESS FAILURE {error}", file=sys.stderr)
        return ExitCode.HARNESS_FAILURE


def _levels(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))
