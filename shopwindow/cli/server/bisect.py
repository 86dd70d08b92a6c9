"""shopwindow bisect"""

from __future__ import annotations

import argparse
from pathlib import Path

from shopwindow.base.default_places import SHOP
from shopwindow.cli.common import add_index, add_repository


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_repository(parser)
    add_index(parser)
    parser.add_argument(
        "--queries",
        type=Path,
        default=SHOP / "queries.parquet",
        metavar="FILE",
        help="parquet with a column text, or text with one query per line (default: the demo shop's)",
    )
    parser.add_argument(
        "--rounds", type=int, default=5, metavar="N", help="how often to measure everything (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds", type=float, default=5.0, metavar="S", help="length of a measurement (default: %(default)g)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("build/bisect"),
        metavar="DIR",
        help="folder for JSON and plot (default: %(default)s)",
    )
    parser.add_argument(
        "--startup", action="store_true", help="measure from a server's start to its first answer instead"
    )


def run(options: argparse.Namespace) -> int:
    """Measure and print. Return 0 whatever the figures are. With --startup, return 1 if the start takes too long."""
    from shopwindow.retrieval.embedding.repository_layout import default_index
    from shopwindow_loadtests.scenario.errors import HarnessFailure

    options.index = options.index or default_index(options.repository)
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        return _startup(options) if options.startup else _bisect(options)
    except HarnessFailure as failure:
        raise ValueError(f"nothing was measured: {failure}") from failure


def _bisect(options: argparse.Namespace) -> int:
    from shopwindow_loadtests.bisect.report import as_json, as_text, plot
    from shopwindow_loadtests.bisect.run import BisectOptions, bisect

    findings = bisect(
        BisectOptions(
            repository=options.repository,
            index=options.index,
            queries=options.queries,
            rounds=options.rounds,
            seconds=options.seconds,
        )
    )
    (options.out / "bisect.json").write_text(as_json(findings) + "\n")
    plot(findings, options.out / "bisect.png")
    print(f"{as_text(findings)}\n\nwrote {options.out / 'bisect.json'} and {options.out / 'bisect.png'}")
    return 0


def _startup(options: argparse.Namespace) -> int:
    from statistics import median

    from shopwindow_loadtests.bisect.startup import READY_S, as_text, measure_startups

    startups = measure_startups(options.repository, options.index, options.queries, rounds=options.rounds)
    print(as_text(startups))
    return 0 if median(one.total_s for one in startups) <= READY_S else 1
