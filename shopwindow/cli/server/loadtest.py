"""shopwindow loadtest"""

from __future__ import annotations

import argparse
import math
import sys
import traceback
from pathlib import Path

from shopwindow.base.default_places import GRPC_URL, INDEX, REPOSITORY, SHOP

_SEARCH = ("command", "find_rate", "tolerance", "highest_rate")  # what is no field of LoadTestOptions
# As `shopwindow_loadtests.scenario.shapes.KINDS`, whose import would load numpy for --help.
SHAPES = ("soak", "steps", "spike", "ramp")
_HARNESS_FAILURE = 4  # as `shopwindow_loadtests.ExitCode`, whose import may be what failed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options. Their names are the fields of `LoadTestOptions`, but for those of --find-rate."""
    parser.epilog = "exit codes: 0 limits kept, 1 SLO missed, 2 bad usage, 3 too few samples, 4 harness failure"
    parser.add_argument("--url", default=GRPC_URL, help="host:port of the server's gRPC (default: %(default)s)")

    load = parser.add_argument_group("load").add_mutually_exclusive_group()
    load.add_argument(
        "--users", type=_levels, default=(), metavar="N,..", help="closed loop: users at the same time (default: 8)"
    )
    load.add_argument(
        "--rate", type=_levels, default=(), metavar="R,..", help="open loop: requests a second, answered or not"
    )
    shape = parser.add_argument_group("shape")
    shape.add_argument(
        "--shape",
        choices=SHAPES,
        default="soak",
        help="one level; several in turn; the second for a fifth of the time; from one to the other until the limits "
        "break (default: %(default)s)",
    )
    shape.add_argument("--duration-s", type=float, default=30.0, metavar="S", help="default: %(default)g")
    shape.add_argument("--arrivals", choices=("poisson", "constant"), default="poisson", help="default: %(default)s")
    shape.add_argument(
        "--max-in-flight", type=int, default=256, metavar="N", help="beyond, an open loop counts failures (%(default)s)"
    )
    shape.add_argument("--timeout-s", type=float, default=5.0, metavar="S", help="of a request (default: %(default)g)")

    mix = parser.add_argument_group("what is sent")
    mix.add_argument("--mix", type=Path, metavar="FILE", help="YAML: kinds of requests and how often each comes")
    mix.add_argument(
        "--queries",
        type=Path,
        metavar="FILE",
        help="without a mix: parquet with a column `text`, or a text file with one a line; the most popular first "
        "(default: the demo shop's)",
    )
    mix.add_argument("--batch", type=int, default=1, metavar="N", help="queries a request (default: %(default)s)")
    mix.add_argument("--top-k", type=int, default=100, metavar="K", help="products a query (default: %(default)s)")
    mix.add_argument(
        "--zipf", type=float, default=1.0, metavar="A", help="exponent of popularity (default: %(default)g)"
    )
    mix.add_argument(
        "--seed", type=int, default=argparse.SUPPRESS, metavar="N", help="of all draws (default: another each time)"
    )

    limits = parser.add_argument_group("limits")
    limits.add_argument("--slo", type=Path, metavar="FILE", help="YAML: limits by kind of request")
    limits.add_argument("--max-p99-ms", type=float, metavar="MS", help="without an SLO file")
    limits.add_argument("--max-error-share", type=float, default=0.0, metavar="R", help="likewise (%(default)g)")
    limits.add_argument("--min-samples", type=int, metavar="N", help="likewise (default: ten beyond the percentile)")
    limits.add_argument(
        "--max-late-ms", type=float, default=100.0, metavar="MS", help="beyond, a miss is the harness's (%(default)g)"
    )

    recall = parser.add_argument_group("recall under load")
    recall.add_argument("--recall-share", type=float, default=0.0, metavar="R", help="of the queries (default: none)")
    recall.add_argument("--recall-k", type=int, default=10, metavar="K", help="default: %(default)s")
    recall.add_argument("--repository", type=Path, default=REPOSITORY, metavar="DIR", help="default: %(default)s")
    recall.add_argument("--index", type=Path, default=INDEX, metavar="DIR", help="default: %(default)s")

    compared = parser.add_argument_group("comparison")
    compared.add_argument("--baseline", type=Path, metavar="FILE", help="samples.parquet of an earlier test")
    compared.add_argument(
        "--noise", type=float, default=0.12, metavar="R", help="smaller changes in speed are noise (%(default)g)"
    )

    workers = parser.add_argument_group("workers")
    workers.add_argument("--workers", type=int, default=1, metavar="N", help="processes that send (%(default)s)")
    workers.add_argument(
        "--elsewhere", type=int, default=0, metavar="N", help="of them on other machines (%(default)s)"
    )
    workers.add_argument("--port", type=int, default=0, metavar="P", help="for workers to connect to (default: any)")
    workers.add_argument("--join", metavar="HOST:PORT", help="be a worker of that test; else the same options")

    search = parser.add_argument_group("search")
    search.add_argument(
        "--find-rate",
        action="store_true",
        help="search the highest rate that meets the limits, from --rate on, --duration-s a trial",
    )
    search.add_argument("--tolerance", type=float, default=0.1, metavar="R", help="of that rate (default: %(default)g)")
    search.add_argument("--highest-rate", type=float, default=math.inf, metavar="R", help="search no higher")

    parser.add_argument(
        "--out", type=Path, default=Path("build/loadtest"), metavar="DIR", help="report (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> int:
    """Run the load test; the exit code is one of `shopwindow_loadtests.ExitCode`."""
    try:
        return _run(options)
    except Exception as error:  # 1 would say that the server missed its limits
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
