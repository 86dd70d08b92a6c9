"""shopwindow plan"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from shopwindow.cli.index.index import RECIPES

if TYPE_CHECKING:
    from shopwindow.retrieval.index.capacity import Plan

_UNITS = {"k": 10**3, "M": 10**6, "B": 10**9}


def count(text: str) -> int:
    """Read a number of products from the command line, such as 100M or 2.5B."""
    try:
        factor = _UNITS.get(text[-1:], 1)
        number = round(float(text[:-1] if factor > 1 else text) * factor)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be a number of products such as 500k, 100M or 1B, got {text!r}")
    return number


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--count", type=count, required=True, metavar="N", help="products, such as 500k, 100M or 1B")
    parser.add_argument("--dim", type=int, default=128, metavar="N", help="vector length (default: %(default)s)")
    parser.add_argument("--recipe", choices=RECIPES, help="default: all of them")
    parser.add_argument(
        "--qps", type=float, default=1_000.0, metavar="N", help="queries a second, in total (default: %(default)s)"
    )
    parser.add_argument(
        "--p99-ms",
        type=float,
        default=50.0,
        metavar="MS",
        help="limit of the 99th percentile of search and waiting (default: %(default)s)",
    )
    parser.add_argument(
        "--breadth",
        type=int,
        default=64,
        metavar="N",
        help="nprobe or efSearch; take search_breadth from the manifest.json of an index over a part of the catalogue "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--machine-gib", type=float, default=64.0, metavar="GIB", help="memory of a machine (default: %(default)s)"
    )
    parser.add_argument(
        "--machine-cores", type=int, default=16, metavar="N", help="cores of a machine (default: %(default)s)"
    )
    parser.add_argument(
        "--embed-rate",
        type=float,
        default=0.0,
        metavar="N",
        help="products that all machines together embed a second; adds embedding to the build time",
    )


def run(options: argparse.Namespace) -> int:
    """Print the plans. Return 1 if none keeps the p99."""
    from shopwindow.retrieval.index.capacity import CHINESE_TITLE_BYTES, GIB, TITLE_BYTES, Demand, make_plan, make_plans

    demand = Demand(
        count=options.count,
        dim=options.dim,
        qps=options.qps,
        p99_s=options.p99_ms / 1e3,
        breadth=options.breadth,
        machine_bytes=round(options.machine_gib * GIB),
        machine_cores=options.machine_cores,
        embed_rate=options.embed_rate,
    )
    plans = [make_plan(demand, options.recipe)] if options.recipe else make_plans(demand)
    print(
        f"{demand.count:,} products x {demand.dim} dimensions, {demand.qps:g} queries/s, p99 {options.p99_ms:g} ms, "
        f"breadth {demand.breadth}, machines of {options.machine_gib:g} GiB and {demand.machine_cores} cores\n"
    )
    _table(plans)
    print("\nmemory is for two generations, because a swap loads the new one beside the old; * misses the p99")
    print(
        f"a build needs {_size(demand.count * TITLE_BYTES)} of memory for titles of six words, or "
        f"{_size(demand.count * CHINESE_TITLE_BYTES)} for Chinese ones of 30 characters, with any recipe"
    )
    best = min((plan for plan in plans if plan.fits), key=lambda plan: (plan.machines, plan.index_bytes), default=None)
    if best is None:
        print("no recipe keeps the p99: lower --breadth or raise --p99-ms")
        return 1
    print(f"fewest machines: {best.machines} with {best.kind}; {_driver(best)}")
    return 0


def _table(plans: list[Plan]) -> None:
    heads = "recipe", "B/vector", "memory", "disk", "engine", "shards", "replicas", "machines", "search", "p99", "build"
    rows = [
        (
            plan.kind,
            f"{plan.vector_bytes:.0f}",
            _size(2 * plan.loaded_bytes),
            _size(2 * plan.disk_bytes),
            plan.engine,
            str(plan.shards),
            str(plan.replicas),
            str(plan.machines),
            f"{plan.search_s * 1e3:.2f} ms",
            f"{plan.p99_s * 1e3:.1f} ms{'' if plan.fits else ' *'}",
            _duration(plan.build_s),
        )
        for plan in plans
    ]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in (heads, *rows):
        print("  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)))


def _driver(plan: Plan) -> str:
    """Return how to need fewer machines."""
    if plan.shards > 1 and plan.replicas == 1:
        return "to need fewer, change memory (a smaller recipe, larger machines)"
    if plan.machines == 1:
        return "one machine is enough"
    if plan.replicas == 1:
        return "to need fewer, change latency (more p99, less breadth)"
    return "to need fewer, change traffic: search time x queries/s (less breadth, a cheaper recipe, more cores)"


def _size(size: float) -> str:
    return f"{size / 2**40:.1f} TiB" if size >= 2**40 else f"{size / 2**30:.1f} GiB"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3_600:.1f} h"
