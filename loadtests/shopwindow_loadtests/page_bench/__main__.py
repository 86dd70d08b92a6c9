"""`make bench-page`: measures what the parts of a result page cost, and the same page in other stores.

All requests are measured in turn, in rounds. Exit codes: 0 all targets hold, 1 a target is missed or could not be
measured, 4 the harness failed.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
from tritonclient.utils import InferenceServerException

from shopwindow.base.progress_bar import progress_bar
from shopwindow.retrieval import InProcessPipeline
from shopwindow.server import ServingError
from shopwindow_loadtests.benchmarks_document import around_section, markdown_table, replace_section
from shopwindow_loadtests.bisect.servers import served
from shopwindow_loadtests.generator.reading import Reading, interleave
from shopwindow_loadtests.judging.conditions import machine_name
from shopwindow_loadtests.judging.slo import ExitCode
from shopwindow_loadtests.judging.summary import text_table
from shopwindow_loadtests.page_bench import report
from shopwindow_loadtests.page_bench.answering import Page
from shopwindow_loadtests.page_bench.asking import Caller
from shopwindow_loadtests.page_bench.boosted_recall import BoostedRecall, boosted_recall
from shopwindow_loadtests.page_bench.page_requests import VARIANTS, price_limit
from shopwindow_loadtests.page_bench.report import StoreRounds
from shopwindow_loadtests.page_bench.stores import (
    EXACT,
    LOCAL,
    OURS,
    Store,
    check_counts,
    fit_effort,
    recall,
    running,
    write_products,
)
from shopwindow_loadtests.peers.report import GOAL_HEADS
from shopwindow_loadtests.scenario.errors import HarnessFailure
from shopwindow_loadtests.scenario.queries import read_queries

DOCUMENT = Path("docs/benchmarks.md")
STAND = Path("build/stand")
ROUNDS = 7
_WARM_UP = 50  # requests of each kind before anything counts
_RECALL_QUERIES = 200
_FITTED = 20  # questions that choose the effort, and judge recall
_PAGES = {OURS: 20, EXACT: 10, LOCAL: 1}  # of a store in a round; Qdrant's local mode takes half a minute for one


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write the document."""
    options = _options(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stop all processes, like Ctrl-C
    try:
        pipeline = InProcessPipeline(options.repository, options.index)
        queries = read_queries(options.queries)
        readings = _costs(options, queries) if options.costs else {}
        embeddings = pipeline.embed_query(queries[:_RECALL_QUERIES])
        recalls = boosted_recall(pipeline.index, options.catalogue, embeddings) if options.recall else []
        stores = _stores(options, pipeline, embeddings) if options.stores else {}
    except (HarnessFailure, ServingError, InferenceServerException) as failure:
        print(f"HARNESS FAILURE {failure}", file=sys.stderr)
        return ExitCode.HARNESS_FAILURE
    return _report(options, pipeline, readings, recalls, stores)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m shopwindow_loadtests.page_bench", description=__doc__)
    parser.add_argument("--repository", type=Path, default=STAND / "model_repository", help="(%(default)s)")
    parser.add_argument("--index", type=Path, default=STAND / "index", help="(%(default)s)")
    parser.add_argument("--queries", type=Path, default=STAND / "queries.txt", help="(%(default)s)")
    parser.add_argument("--catalogue", type=Path, default=STAND / "products.parquet", help="(%(default)s)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often to measure everything (%(default)s)")
    parser.add_argument("--requests", type=int, default=300, help="of each kind in a round (%(default)s)")
    names = [variant.name for variant in VARIANTS]
    parser.add_argument("--only", nargs="*", choices=names, default=names, help="kinds of request to measure (all)")
    parser.add_argument("--no-costs", dest="costs", action="store_false", help="leave out the server")
    parser.add_argument("--no-recall", dest="recall", action="store_false", help="leave out the recall of boosts")
    parser.add_argument(
        "--stores", nargs="*", choices=[EXACT, LOCAL], default=[EXACT, LOCAL], help="stores to compare with (all)"
    )
    parser.add_argument(
        "--stores-python",
        type=Path,
        default=Path("build/stores-venv/bin/python"),
        help="interpreter that has the stores (%(default)s)",
    )
    parser.add_argument("--out", type=Path, default=Path("build/bench-page"), help="folder for logs (%(default)s)")
    parser.add_argument(
        "--document", type=Path, help=f"gets the figures (default: {DOCUMENT} if everything is measured, else none)"
    )
    options = parser.parse_args(arguments)
    for name in ("rounds", "requests"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1, got {getattr(options, name)}")
    whole = options.costs and options.recall and len(options.stores) == 2 and len(options.only) == len(names)
    if options.document is None and whole and options.rounds >= ROUNDS:
        options.document = DOCUMENT
    if options.document is not None:
        try:
            around_section(options.document, report.BEGIN, report.END)  # now and not after ten minutes
        except ValueError as error:
            parser.error(f"--document {error}")
    return options


def _costs(options: argparse.Namespace, queries: Sequence[str]) -> dict[str, list[Reading]]:
    """Measure each kind of request on a server that caches no queries."""
    with served(options.repository, options.index) as server:
        products = 1 + int(InProcessPipeline(options.repository, options.index).index.product_ids.max())
        caller = Caller(server.target, queries, products)
        variants = [variant for variant in VARIANTS if variant.name in options.only]
        for variant in variants:
            caller.measure(variant, min(_WARM_UP, options.requests))
        measures = {variant.name: partial(caller.measure, variant, options.requests) for variant in variants}
        with progress_bar(total=len(measures) * options.rounds, desc="requests", unit="measurement") as bar:
            return interleave(measures, options.rounds, lambda _: bar.update())


def _stores(options: argparse.Namespace, pipeline: InProcessPipeline, embeddings: np.ndarray) -> dict[str, StoreRounds]:
    """Ask Shopwindow and each other store for the same pages, in turn."""
    products = options.out / "products.parquet"
    write_products(options.catalogue, pipeline.index, products)
    prices = [price_limit(number) for number in range(len(embeddings))]
    with ExitStack() as stack:
        places = {OURS: (Path(sys.executable), options.index)}
        places |= dict.fromkeys(options.stores, (options.stores_python, products))
        found = {
            name: stack.enter_context(running(name, python, place, options.out / f"{name}.log"))
            for name, (python, place) in places.items()
        }
        exact = found.get(EXACT, next(reversed(found.values())))
        fitted = min(_FITTED if exact.name == EXACT else 1, len(embeddings))
        right = [exact.ask(vector, price) for vector, price in zip(embeddings[:fitted], prices, strict=False)]
        if exact.name == EXACT:
            check_counts(found[OURS].ask(embeddings[0], prices[0]), right[0])
        reached = fit_effort(found[OURS], embeddings[:fitted], prices[:fitted], right)
        print(f"{OURS} finds {reached:.4f} of the products with effort {found[OURS].effort}")
        recalls = {name: _recall(store, exact, embeddings, prices, right) for name, store in found.items()}
        recalls[OURS] = reached
        rounds: dict[str, list[list[Page]]] = {name: [] for name in found}
        with progress_bar(total=options.rounds, desc="stores", unit="round") as bar:
            for number in range(options.rounds):
                for name, store in found.items():
                    first = fitted + number * max(_PAGES.values())  # counts of the questions before are kept
                    at = [(first + page) % len(embeddings) for page in range(_PAGES[name])]
                    rounds[name].append([store.ask(embeddings[i], prices[i]) for i in at])
                bar.update()
        return {
            name: StoreRounds(about=store.about, recall=recalls[name], pages=rounds[name])
            for name, store in found.items()
        }


def _recall(
    store: Store, exact: Store, embeddings: np.ndarray, prices: Sequence[float], right: Sequence[Page]
) -> float:
    if store is exact:
        return 1.0
    return recall(right[:1], [store.ask(embeddings[0], prices[0])])


def _report(
    options: argparse.Namespace,
    pipeline: InProcessPipeline,
    readings: dict[str, list[Reading]],
    recalls: Sequence[BoostedRecall],
    stores: dict[str, StoreRounds],
) -> int:
    """Print the results, put them into the document if there is one, and return the exit code."""
    judged = report.goals(readings, recalls, stores)
    manifest = pipeline.index.manifest
    about = (
        f"{machine_name()}; {pipeline.bundle.precision} towers, {manifest.count:,} products x {manifest.dim}, "
        f"{pipeline.index.engine_description}. Medians of {options.rounds} rounds, {options.requests} requests of each "
        "kind in a round."
    )
    tables = [(GOAL_HEADS, [goal.cells for goal in judged])]
    if readings:
        tables.append((report.VARIANT_HEADS, report.variant_rows(readings)))
    if recalls:
        tables.append((report.RECALL_HEADS, report.recall_rows(recalls)))
    if stores:
        tables.append((report.STORE_HEADS, report.store_rows(stores)))
    print(about, *(text_table(heads, rows) for heads, rows in tables), sep="\n\n")
    if options.document is not None:
        body = "\n\n".join([about, *(markdown_table(heads, rows) for heads, rows in tables)])
        replace_section(options.document, report.BEGIN, report.END, body)
        print(f"\nwrote {options.document}")
    return 0 if all(goal.passed for goal in judged) else 1


if __name__ == "__main__":
    sys.exit(main())
