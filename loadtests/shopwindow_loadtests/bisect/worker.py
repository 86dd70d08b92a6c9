"""A process that runs steps of retrieval without a server. It shows what a server could do if serving cost nothing.

python -m shopwindow_loadtests.bisect.worker REPOSITORY INDEX QUERIES NUMBER     # tasks as JSON lines on standard input
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from pathlib import Path

from shopwindow.base.machine import usable_cores
from shopwindow.retrieval import InProcessPipeline, parse_parameters
from shopwindow.retrieval.embedding.bundle import Bundle, towers_of
from shopwindow.retrieval.embedding.onnx_towers import OnnxQueryTower
from shopwindow.retrieval.embedding.repository_layout import RepositoryLayout
from shopwindow.retrieval.embedding.text import TextEncoder, clean_queries
from shopwindow.retrieval.index.home import resolve_index
from shopwindow_loadtests.generator.closed_loop import TOP_K
from shopwindow_loadtests.scenario.queries import read_queries

STEPS = ("tokenise", "tower", "search")
WHOLE = "retrieve"
_KEPT = 64  # batches that are prepared and then used over and over


class Steps:
    """The steps, each as a call without arguments that takes another batch of queries each time.

    Args:
        repository: A model repository.
        index: Index folder or home.
        queries: Texts.
    """

    def __init__(self, repository: Path, index: Path, queries: Sequence[str]) -> None:
        folder = resolve_index(index)
        towers = towers_of(folder, repository)
        layout, bundle = RepositoryLayout(towers), Bundle.read(towers)
        self._queries = queries
        self._encoder = TextEncoder.read(layout.query_tokenizer, bundle.query_max_tokens)
        self._tower = OnnxQueryTower(layout.query_tower)
        self._pipeline = InProcessPipeline(repository, index)
        self._parameters = parse_parameters({"top_k": TOP_K})

    def step(self, name: str, batch: int) -> Callable[[], object]:
        """Return the call for one of STEPS, or WHOLE, on batches of `batch` queries."""
        texts = list(_batches(self._queries, batch))
        if name == WHOLE:
            requests = cycle(texts)
            return lambda: self._pipeline.retrieve(next(requests), top_k=TOP_K)
        cleaned = [clean_queries(some) for some in texts]
        if name == "tokenise":
            words = cycle(cleaned)
            return lambda: self._encoder.encode(next(words))
        tokens = [self._encoder.encode(some) for some in cleaned]
        if name == "tower":
            inputs = cycle(tokens)
            return lambda: self._tower(*next(inputs))
        if name == "search":
            index, parameters = self._pipeline.index, self._parameters
            embeddings = cycle([self._tower(*some) for some in tokens])
            return lambda: index.search_batch([(next(embeddings), parameters)])
        raise ValueError(f"step must be one of {', '.join((*STEPS, WHOLE))}, got {name!r}")


def measure(call: Callable[[], object], batch: int, start: float, end: float) -> tuple[int, float]:
    """Call a step over and over within a time window.

    Args:
        call: The step.
        batch: Queries in one call.
        start: Start of the window, by `time.monotonic`. Calls before it warm up.
        end: End of the window.

    Returns:
        The number of queries answered, and the CPU seconds that they took.
    """
    call()
    while time.monotonic() < start:
        call()
    before, count = time.process_time(), 0
    while time.monotonic() < end:
        call()
        count += batch
    return count, time.process_time() - before


def _batches(queries: Sequence[str], batch: int) -> Iterator[list[str]]:
    endless = cycle(queries)
    for _ in range(_KEPT * 8 // batch if batch < 8 else _KEPT):
        yield [next(endless) for _ in range(batch)]


def main(repository: str, index: str, queries: str, number: str) -> None:
    """Do tasks until standard input ends."""
    texts = read_queries(Path(queries))
    first = int(number) * len(texts) // usable_cores()  # so that the processes do not send the same queries
    steps = Steps(Path(repository), Path(index), [*texts[first:], *texts[:first]])
    print("ready", flush=True)
    calls: dict[tuple[str, int], Callable[[], object]] = {}
    for line in sys.stdin:
        task = json.loads(line)
        key = task["step"], task["batch"]
        if key not in calls:
            calls[key] = steps.step(*key)
        print("ready", flush=True)
        start, end = map(float, sys.stdin.readline().split())
        count, cpu_s = measure(calls[key], task["batch"], start, end)
        print(json.dumps({"queries": count, "cpu_s": cpu_s}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
