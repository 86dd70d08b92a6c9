"""shopwindow loadtest"""

from __future__ import annotations

import argparse
from pathlib import Path

from cli.common import GRPC_URL, SHOP


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--url", default=GRPC_URL, help="host:port of the server's gRPC (default: %(default)s)")
    parser.add_argument(
        "--queries",
        type=Path,
        default=SHOP / "queries.parquet",
        metavar="FILE",
        help="parquet with a column `text`, or a text file with one a line; the most popular first (default: the "
        "demo shop's)",
    )
    parser.add_argument("--users", type=int, default=8, help="at the same time (default: %(default)s)")
    parser.add_argument("--duration", type=int, default=30, metavar="S", help="seconds (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="queries a request (default: %(default)s)")
    parser.add_argument("--top-k", type=int, default=100, metavar="K", help="products a query (default: %(default)s)")
    parser.add_argument(
        "--zipf", type=float, default=1.0, metavar="A", help="exponent of the query popularity (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the drawn queries (default: %(default)s)")
    parser.add_argument("--timeout", type=float, default=5.0, metavar="S", help="of a request (default: %(default)s)")
    parser.add_argument("--max-p99-ms", type=float, metavar="MS", help="limit on the 99th percentile")
    parser.add_argument(
        "--max-error-rate", type=float, default=0.0, metavar="R", help="limit, 0 to 1 (default: %(default)s)"
    )
    parser.add_argument(
        "--min-samples", type=int, default=100, metavar="N", help="answered requests needed (default: %(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("build/loadtest"), metavar="DIR", help="reports (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> int:
    """Run the load test; its exit code is that of `loadtests.run`: 0, 1 not ready, 3 a limit was broken."""
    from loadtests import LoadTestOptions, run

    return run(
        LoadTestOptions(
            url=options.url,
            queries=options.queries,
            users=options.users,
            duration_s=options.duration,
            queries_per_request=options.batch,
            top_k=options.top_k,
            zipf_exponent=options.zipf,
            seed=options.seed,
            timeout_s=options.timeout,
            max_p99_ms=options.max_p99_ms,
            max_error_rate=options.max_error_rate,
            min_samples=options.min_samples,
            out=options.out,
        )
    )
