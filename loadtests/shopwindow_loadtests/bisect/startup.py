"""`shopwindow bisect --startup`: measures the time from a server's start to its first answer, part by part.

python -m shopwindow_loadtests.bisect.startup REPOSITORY INDEX QUERY  # a new process that loads the same as `retrieve`
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

READY_S = 10.0  # from nothing to the first answer: how long a pod may take in a rollout or a restart
_LINE = re.compile(r"^[IWEF](\d{4} \d\d:\d\d:\d\d\.\d+) ", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Startup:
    """The parts of a start, in seconds, one after the other. The files come from the disk, not from the page cache.

    Attributes:
        server_s: From the start of the process until Triton begins with the first model.
        models_s: Until all models are loaded. They load at the same time, each with its processes.
        endpoints_s: Until Triton has opened its ports and says that it is ready.
        first_answer_s: Until a client has connected and has the answer to its first query.
        alone: The seconds that one process of `retrieve` needs for imports, towers, index and warm-up, measured in a
            process by itself; likewise from the disk.
        dropped_bytes: Size of the files that were dropped from the page cache first.
    """

    server_s: float
    models_s: float
    endpoints_s: float
    first_answer_s: float
    alone: dict[str, float]
    dropped_bytes: int

    @property
    def total_s(self) -> float:
        """Seconds from nothing to the first answer."""
        return self.server_s + self.models_s + self.endpoints_s + self.first_answer_s


def measure_startups(repository: Path, index: Path, queries: Path, *, rounds: int) -> list[Startup]:
    """Start a server `rounds` times, under the profile cpu.

    Raises:
        ServingError: The server cannot start.
        HarnessFailure: The process by itself failed.
        ValueError: There are no queries, or Triton's log does not say when it loads models.
    """
    from shopwindow_loadtests.scenario.queries import read_queries

    query = read_queries(queries)[0]
    return [_measure(repository, index, query) for _ in range(rounds)]


def _measure(repository: Path, index: Path, query: str) -> Startup:
    from shopwindow.server import TritonServer
    from shopwindow_loadtests.bisect.servers import server_options
    from shopwindow_loadtests.generator.closed_loop import Connection, Grpc
    from shopwindow_loadtests.generator.driving import children, hear

    dropped = drop_from_cache(repository, index)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "triton.log"
        server = TritonServer(replace(server_options(repository, index, "cpu"), log_file=log))
        began = time.time()
        try:
            server.start()
            server.wait_until_ready()
            ready = time.time()
            protocol = Grpc()
            with Connection(server.grpc_url, protocol.wire(server.grpc_url)) as connection:
                connection.call(protocol.message([query]))
            answered = time.time()
        finally:
            server.stop()
        loading, loaded = loading_times(log.read_text(errors="replace"))
    drop_from_cache(repository, index)
    with children(
        [["shopwindow_loadtests.bisect.startup", *map(str, (repository.resolve(), index.resolve())), query]]
    ) as [alone]:
        took = json.loads(hear(alone))
    return Startup(
        server_s=loading - began,
        models_s=loaded - loading,
        endpoints_s=ready - loaded,
        first_answer_s=answered - ready,
        alone=took,
        dropped_bytes=dropped,
    )


def drop_from_cache(*folders: Path) -> int:
    """Drop the files of folders from the page cache, unless a process has them mapped. Return their size in bytes.

    On a machine that has just pulled them, a start finds the files on the disk. Earlier reads must not make it faster.
    """
    size = 0
    for file in (file for folder in folders for file in folder.rglob("*") if file.is_file()):
        with file.open("rb") as opened:
            os.fsync(opened.fileno())  # pages that are not on the disk yet cannot be dropped
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            size += os.fstat(opened.fileno()).st_size
    return size


def loading_times(log: str) -> tuple[float, float]:
    """Return when Triton began with the first model and when it had loaded the last, in seconds since the epoch.

    Args:
        log: The server's log of this year; it names no year.

    Raises:
        ValueError: The log does not say.
    """
    begun = [_at(line) for line in log.splitlines() if '"loading: ' in line]
    ended = [_at(line) for line in log.splitlines() if '"successfully loaded ' in line]
    if not begun or not ended:
        raise ValueError("Triton's log names no model that was loaded; it needs --log-info=true, which is the default")
    return min(begun), max(ended)


def as_text(startups: Sequence[Startup]) -> str:
    """Return the medians as a table, and whether the total is within READY_S."""
    total = median(one.total_s for one in startups)
    rows = {
        "server start": median(one.server_s for one in startups),
        "model load (all models at once)": median(one.models_s for one in startups),
        "endpoints": median(one.endpoints_s for one in startups),
        "first answer": median(one.first_answer_s for one in startups),
        "from start to first answer": total,
    }
    alone = {name: median(one.alone[name] for one in startups) for name in startups[0].alone}
    verdict = "PASS" if total <= READY_S else "FAIL"
    width = max(map(len, rows))
    return "\n".join(
        [
            f"Medians of {len(startups)} starts, seconds. Page cache dropped: repository and index, "
            f"{startups[0].dropped_bytes / 2**20:.0f} MiB. It may still hold programs and libraries.",
            *(f"{name.ljust(width)}  {seconds:6.2f}" for name, seconds in rows.items()),
            "One process of retrieve by itself, as part of the model load:",
            *(f"  {name.ljust(width - 2)}  {seconds:6.2f}" for name, seconds in alone.items()),
            f"{verdict}  ready in {total:.1f} s (at most {READY_S:g} s)",
        ]
    )


def load_alone(repository: Path, index: Path, query: str) -> dict[str, float]:
    """Load in this process what a process of `retrieve` loads. Return the seconds of each step."""
    moments = [time.perf_counter()]
    from shopwindow.retrieval import InProcessPipeline  # timed too: libraries are a large part of a start
    from shopwindow.retrieval.embedding.bundle import towers_of
    from shopwindow.retrieval.index.home import resolve_index

    moments.append(time.perf_counter())
    index = resolve_index(index)
    pipeline = InProcessPipeline(towers_of(index, repository))
    moments.append(time.perf_counter())
    pipeline = pipeline.with_index(index)
    moments.append(time.perf_counter())
    pipeline.retrieve([query])
    moments.append(time.perf_counter())
    names = ("imports", "towers checked", "index load", "towers loaded, warm-up")
    return {name: round(moments[step + 1] - moments[step], 4) for step, name in enumerate(names)}


def _at(line: str) -> float:
    found = _LINE.match(line)
    if found is None:
        raise ValueError(f"Triton's log has a line without a time: {line!r}")
    moment = datetime.strptime(f"{datetime.now(UTC).year}{found[1]}", "%Y%m%d %H:%M:%S.%f")
    return moment.replace(tzinfo=UTC).timestamp()


if __name__ == "__main__":
    print(json.dumps(load_alone(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])), flush=True)
