"""`make bench`: Shopwindow against peers that do the same work, and the targets of serving.

Servers run side by side and are measured in turn, in rounds. Exit codes: 0 all targets hold, 1 one is missed or could
not be measured, 4 the harness failed.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from itertools import count
from pathlib import Path

from loadtests.bisect_in_process import in_process
from loadtests.bisect_load import Target, check_answers, drive
from loadtests.bisect_reading import LOADS, Load, Reading, interleave
from loadtests.bisect_report import COMPETES, text_table
from loadtests.bisect_run import BATCHES, LIMIT
from loadtests.bisect_servers import embedding_cache, served
from loadtests.launching import HarnessFailure
from loadtests.peers.goals import CACHED, OURS, goals
from loadtests.peers.open_loop import measure_open_loop
from loadtests.peers.report import GOAL_HEADS, HEADS, rows, write_section
from loadtests.peers.running import PEERS, running
from loadtests.peers.zipf import widen
from loadtests.queries import read_queries
from loadtests.slo import ExitCode
from retrieval import InProcessPipeline
from retrieval.cores import usable_cores
from retrieval.progress import progress_bar
from serving import ServingError

ZIPF = Load(clients=32, batch=1, zipf=1.0)
_COMPARED = 32  # queries whose answers must be the same before anything is measured


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write the document."""
    options = _options(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C does, it stops all servers
    try:
        return _bench(options)
    except (HarnessFailure, ServingError) as failure:
        print(f"HARNESS FAILURE {failure}", file=sys.stderr)
        return ExitCode.HARNESS_FAILURE


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.peers", description=__doc__)
    parser.add_argument("--repository", type=Path, default=Path("build/model_repository"), help="(%(default)s)")
    parser.add_argument("--index", type=Path, default=Path("build/index"), help="(%(default)s)")
    parser.add_argument("--queries", type=Path, default=Path("build/demo/shop/queries.parquet"), help="(%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="(%(default)s)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of a measurement (%(default)g)")
    parser.add_argument(
        "--open-seconds", type=float, default=10.0, help="of an open loop; 0 leaves it out (%(default)g)"
    )
    parser.add_argument(
        "--warm-up", type=float, default=10.0, help="seconds of Zipf before that is measured (%(default)g)"
    )
    parser.add_argument("--zipf-queries", type=int, default=100_000, help="distinct ones (%(default)s)")
    names = [peer.name for peer in PEERS]
    parser.add_argument("--peers", nargs="*", choices=names, default=names, help="(all)")
    parser.add_argument("--out", type=Path, default=Path("build/bench-peers"), help="raw figures, logs (%(default)s)")
    parser.add_argument("--document", type=Path, default=Path("docs/benchmarks.md"), help="(%(default)s)")
    return parser.parse_args(arguments)


def _bench(options: argparse.Namespace) -> int:
    queries = read_queries(options.queries)
    wide = options.out / "zipf_queries.txt"
    popular = widen(queries, options.zipf_queries)
    wide.write_text("\n".join(popular) + "\n")
    left_out: dict[str, str] = {}
    seeds = count()
    with ExitStack() as stack:
        place = options.repository, options.index
        workers = stack.enter_context(in_process(*place, options.queries))
        with embedding_cache(kept=False):
            pipeline = InProcessPipeline(*place)
        ours = stack.enter_context(served(*place, name=OURS))
        cached = stack.enter_context(served(*place, name=CACHED, cache=True))
        targets = [ours.target, *_peers(options, stack, left_out)]
        for target in (*targets, cached.target):
            check_answers(target, pipeline, queries[:_COMPARED])

        def measured(target: Target, load: Load) -> Callable[[], Reading]:
            file = wide if load.zipf is not None else options.queries
            return lambda: drive(target, load, queries=file, seconds=options.seconds, seed=next(seeds))

        measures: dict[tuple[str, str], Callable[[], Reading]] = {
            (LIMIT, str(batch)): partial(workers.limit, batch, options.seconds / 2) for batch in BATCHES
        }
        measures |= {(target.name, load.name): measured(target, load) for load in LOADS for target in targets}
        measures |= {(target.name, ZIPF.name): measured(target, ZIPF) for target in (cached.target, *targets[1:])}
        if options.warm_up:
            drive(cached.target, ZIPF, queries=wide, seconds=options.warm_up, seed=next(seeds))
        with progress_bar(total=len(measures) * options.rounds, desc="bench", unit="measurement") as bar:
            readings = interleave(measures, options.rounds, lambda _: bar.update())
        open_loops = [
            measure_open_loop(
                ours.target,
                options.queries,
                seconds=options.open_seconds,
                seed=seed,
                out=options.out / "open_loop",
            )
            for seed in range(options.rounds if options.open_seconds else 0)
        ]
    found = goals(readings, ZIPF.name, open_loops)
    _keep(options.out / "results.json", readings, [asdict(one) for one in open_loops])
    notes = [
        f"{_machine()}; {pipeline.bundle.precision} towers, {pipeline.index.manifest.count:,} products x "
        f"{pipeline.index.manifest.dim}, {pipeline.index.engine_description}; medians of {options.rounds} rounds of "
        f"{options.seconds:g} s.",
        "A load is clients x queries in a request; throughput and CPU in the last columns are Shopwindow's over that "
        "server's. CPU is the server's, with all its processes, a query.",
        f"The Zipf mix draws from {len(popular):,} queries; Shopwindow has its cache of query embeddings "
        f"there, which {options.warm_up:g} s of the same mix warmed, and everywhere else has none. Peers have none.",
        COMPETES,
    ]
    write_section(options.document, readings, found, notes=notes, left_out=left_out)
    print("\n".join(notes), text_table(HEADS, rows(readings)), sep="\n\n", end="\n\n")
    print(text_table(GOAL_HEADS, [goal.cells for goal in found]))
    print("\n".join([*(f"left out: {name}, {why}" for name, why in left_out.items()), f"wrote {options.document}"]))
    return 0 if all(goal.passed for goal in found) else 1


def _peers(options: argparse.Namespace, stack: ExitStack, left_out: dict[str, str]) -> list[Target]:
    """Start those that can be started, and say of the others why not."""
    targets = []
    for peer in PEERS:
        if peer.name not in options.peers:
            left_out[peer.name] = "by --peers"
        elif peer.missing:
            left_out[peer.name] = f"{', '.join(peer.missing)} not installed: pip install 'shopwindow[bench]'"
        else:
            log = options.out / f"{peer.name.replace(' ', '_')}.log"
            try:
                targets.append(stack.enter_context(running(peer, options.repository, options.index, log)))
            except HarnessFailure as failure:
                left_out[peer.name] = f"it did not start: {str(failure).splitlines()[0]}"
    return targets


def _keep(file: Path, readings: dict[tuple[str, str], list[Reading]], open_loops: list[dict[str, object]]) -> None:
    raw = [
        {"server": name, "load": load, "rounds": [asdict(one) for one in some]}
        for (name, load), some in readings.items()
    ]
    file.write_text(json.dumps({"readings": raw, "open_loops": open_loops}, indent=1) + "\n")


def _machine() -> str:
    model = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "")
    return f"{model.partition(':')[2].strip() or 'CPU'}, {usable_cores()} cores"


if __name__ == "__main__":
    sys.exit(main())
