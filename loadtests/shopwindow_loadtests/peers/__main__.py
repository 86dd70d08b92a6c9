"""`make bench`: compares Shopwindow with peers that do the same work, and checks the targets of serving.

The servers run side by side and are measured in turn, in rounds. The results are saved after each round. Exit codes: 0
all targets hold, 1 a target is missed or could not be measured, 4 the harness failed.
"""

from __future__ import annotations

import argparse
import math
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path

from shopwindow.base.machine import usable_cores
from shopwindow.base.progress_bar import progress_bar
from shopwindow.retrieval import InProcessPipeline
from shopwindow.server import ServingError
from shopwindow.server.processes import stubs
from shopwindow_loadtests.bisect.in_process import in_process
from shopwindow_loadtests.bisect.report import COMPETES
from shopwindow_loadtests.bisect.run import BATCHES, LIMIT
from shopwindow_loadtests.bisect.servers import CACHES, MeasuredServer, served
from shopwindow_loadtests.generator.driving import GENERATORS, Target, check_answers, drive
from shopwindow_loadtests.generator.overload import THROTTLE_RATIO
from shopwindow_loadtests.generator.reading import LOADS, Load, Reading
from shopwindow_loadtests.judging.conditions import cpu_name
from shopwindow_loadtests.judging.slo import ExitCode
from shopwindow_loadtests.judging.summary import text_table
from shopwindow_loadtests.peers.goals import CACHED, EMBEDDINGS, OURS, goals
from shopwindow_loadtests.peers.open_loop import measure_open_loop
from shopwindow_loadtests.peers.report import GOAL_HEADS, HEADS, check_document, rows, write_section
from shopwindow_loadtests.peers.rounds import Found, Key, measure_rounds
from shopwindow_loadtests.peers.running import PEERS, running
from shopwindow_loadtests.peers.settings import WORKERS
from shopwindow_loadtests.scenario.errors import HarnessFailure
from shopwindow_loadtests.scenario.queries import read_queries, widen

ZIPF = Load(clients=32, batch=1, zipf=1.0)
DOCUMENT = Path("docs/benchmarks.md")
ROUNDS = 5  # the targets are for at least this many
_COMPARED = 32  # queries to which every server must give the same answers before anything is measured


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write the document."""
    options = _options(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stop all servers, like Ctrl-C
    found, notes = Found(options.out / "results.json"), list[str]()
    failed = False
    try:
        _bench(options, found, notes)
    except (HarnessFailure, ServingError) as failure:
        print(f"HARNESS FAILURE {failure}", file=sys.stderr)
        failed = True
    return _report(options, found, notes, failed=failed)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m shopwindow_loadtests.peers", description=__doc__)
    parser.add_argument("--repository", type=Path, default=Path("build/model_repository"), help="(%(default)s)")
    parser.add_argument("--index", type=Path, default=Path("build/index"), help="(%(default)s)")
    parser.add_argument("--queries", type=Path, default=Path("build/demo/shop/queries.parquet"), help="(%(default)s)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often to measure everything (%(default)s)")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a measurement (%(default)g)")
    parser.add_argument(
        "--open-seconds", type=float, default=10.0, help="length of an open loop; 0 leaves it out (%(default)g)"
    )
    parser.add_argument(
        "--warm-up", type=float, default=60.0, help="seconds of the Zipf mix before it is measured (%(default)g)"
    )
    parser.add_argument(
        "--zipf-queries", type=int, default=100_000, help="distinct queries in the Zipf mix (%(default)s)"
    )
    names = [peer.name for peer in PEERS]
    parser.add_argument("--peers", nargs="*", choices=names, default=names, help="peers to measure (all)")
    parser.add_argument(
        "--out", type=Path, default=Path("build/bench-peers"), help="folder for raw figures and logs (%(default)s)"
    )
    parser.add_argument(
        "--document",
        type=Path,
        help=f"gets the figures (default: {DOCUMENT} with at least {ROUNDS} rounds and the open loop, else none)",
    )
    options = parser.parse_args(arguments)
    for name, least in (("rounds", 1), ("seconds", 0.2), ("open_seconds", 0), ("warm_up", 0), ("zipf_queries", 1)):
        if not least <= getattr(options, name) < float("inf"):
            parser.error(f"--{name.replace('_', '-')} must be at least {least:g}, got {getattr(options, name):g}")
    if options.document is None and options.rounds >= ROUNDS and options.open_seconds:
        options.document = DOCUMENT
    if options.document is not None:
        try:
            check_document(options.document)  # now and not after twenty minutes
        except ValueError as error:
            parser.error(f"--document {error}")
    return options


def _bench(options: argparse.Namespace, found: Found, notes: list[str]) -> None:
    """Measure everything. Put the results into `found` and the conditions into `notes`."""
    queries = read_queries(options.queries)
    wide = options.out / "zipf_queries.txt"
    popular = widen(queries, options.zipf_queries)
    wide.write_text("\n".join(popular) + "\n")
    seeds = count()
    with ExitStack() as stack:
        place = options.repository, options.index
        workers = stack.enter_context(in_process(*place, options.queries))
        pipeline = InProcessPipeline(*place)
        ours = stack.enter_context(served(*place, name=OURS))
        embeddings = stack.enter_context(served(*place, name=EMBEDDINGS, kept=["embeddings"]))
        cached = stack.enter_context(served(*place, name=CACHED, kept=CACHES))
        for server in (ours, embeddings, cached):
            check_answers(server.target, pipeline, queries[:_COMPARED])
        stops: dict[str, ExitStack] = {}
        peers = _peers(options, pipeline, queries[:_COMPARED], stack, stops, found)
        notes += _notes(options, pipeline, ours, len(popular))

        def measured(target: Target, load: Load) -> Callable[[], Reading]:
            file = wide if load.zipf is not None else options.queries
            return lambda: drive(target, load, queries=file, seconds=options.seconds, seed=next(seeds))

        measures: dict[Key, Callable[[], Reading]] = {
            (LIMIT, str(batch)): partial(workers.limit, batch, options.seconds / 2) for batch in BATCHES
        }
        measures |= {
            (target.name, load.name): measured(target, load) for load in LOADS for target in (ours.target, *peers)
        }
        with_caches = embeddings.target, cached.target
        measures |= {(target.name, ZIPF.name): measured(target, ZIPF) for target in (*with_caches, *peers)}
        for target in with_caches if options.warm_up else ():
            drive(target, ZIPF, queries=wide, seconds=options.warm_up, seed=next(seeds))
        with progress_bar(total=len(measures) * options.rounds, desc="bench", unit="measurement") as bar:
            measure_rounds(measures, options.rounds, found, peers=stops, done=bar.update)
        for seed in range(options.rounds if options.open_seconds else 0):
            one = measure_open_loop(ours.target, options.queries, seconds=options.open_seconds, seed=seed)
            found.open_loops.append(one)
            found.keep()


def _peers(
    options: argparse.Namespace,
    pipeline: InProcessPipeline,
    queries: Sequence[str],
    stack: ExitStack,
    stops: dict[str, ExitStack],
    found: Found,
) -> list[Target]:
    """Start the peers that can start and that do the same work. Record why the others are left out."""
    targets = []
    for peer in PEERS:
        if peer.name not in options.peers:
            found.leave_out(peer.name, "by --peers")
        elif peer.missing:
            found.leave_out(peer.name, f"{', '.join(peer.missing)} not installed: pip install 'shopwindow[bench]'")
        else:
            log = options.out / f"{peer.name.replace(' ', '_')}.log"
            stop = stops[peer.name] = stack.enter_context(ExitStack())
            try:
                target = stop.enter_context(running(peer, options.repository, options.index, log))
                check_answers(target, pipeline, queries)
                targets.append(target)
            except HarnessFailure as failure:
                found.leave_out(peer.name, f"before the first round: {str(failure).splitlines()[0]}")
                stop.close()
    return targets


def _notes(options: argparse.Namespace, pipeline: InProcessPipeline, ours: MeasuredServer, popular: int) -> list[str]:
    instances = sum(stub.model == "retrieve" for stub in stubs(ours.target.pid))
    threads = math.ceil(usable_cores() / instances)
    manifest = pipeline.index.manifest
    return [
        f"{cpu_name()}, {usable_cores()} cores; {pipeline.bundle.precision} towers, "
        f"{manifest.count:,} products x {manifest.dim}, {pipeline.index.engine_description}; a measurement "
        f"takes {options.seconds:g} s.",
        f"Shopwindow computes in {instances} x {threads} (processes x threads), each peer and the in-process limit in "
        f"{WORKERS} x 1.",
        "A load is clients x queries in a request, in a closed loop: each client has a connection in one of "
        f"{GENERATORS} processes and sends its next request when it has the answer to the last one. p50 and p99 are "
        "the times that it waits. Throughput counts answered queries. Throughput and CPU in the last columns are "
        "Shopwindow's divided by that server's. CPU is the CPU time per query of the server with all its processes.",
        "Peers embed the queries of a batch together, padded to the longest. Shopwindow embeds them in slices of about "
        "one length, and so does the peer whose name ends in slices.",
        f"The Zipf mix draws from {popular:,} queries. There Shopwindow caches query embeddings, once without and once "
        f"with the results, after {options.warm_up:g} s of the same mix. In all other loads it caches nothing. Peers "
        "never cache.",
        f"Callers with a Throttle behave like a client with ratio {THROTTLE_RATIO:g}, without its retries.",
        COMPETES,
    ]


def _report(options: argparse.Namespace, found: Found, notes: list[str], *, failed: bool) -> int:
    """Print the results, put them into the document if they are complete, and return the exit code."""
    judged = goals(found.whole, ZIPF.name, found.open_loops)
    notes = [*notes, f"Medians of {found.rounds} rounds; the targets are for at least {ROUNDS}."]
    if found.whole:
        print("\n".join(notes), text_table(HEADS, rows(found.whole)), sep="\n\n", end="\n\n")
        print(text_table(GOAL_HEADS, [goal.cells for goal in judged]))
    for name, why in found.left_out.items():
        print(f"left out: {name}, {why}")
    if failed:
        return ExitCode.HARNESS_FAILURE
    if options.document is not None:
        write_section(options.document, found.whole, judged, notes=notes, left_out=found.left_out)
        print(f"wrote {options.document}")
    return 0 if all(goal.passed for goal in judged) else 1


if __name__ == "__main__":
    sys.exit(main())
