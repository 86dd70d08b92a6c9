"""Answering for models that search: stages measured, what comes too late left out, hurried searches made cheaper."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import stub
from retrieval.budget import Expired, SearchCosts, deadline_of
from retrieval.embedding_cache import EmbeddingCache
from retrieval.parameters import RequestParameters
from retrieval.product_index import SearchResult
from retrieval.stages import Stopwatch
from stub.metrics import Metrics
from stub.spans import Spans


@dataclass
class Item:
    """One request on its way.

    Attributes:
        given: its input, as `prepare` returned it.
        parameters: with the effort that it is searched with.
        deadline: in seconds of `time.perf_counter`.
        wanted: names of the outputs that it asked for.
        embeddings: (rows, dim) float32, once they are known.
    """

    given: Any
    parameters: RequestParameters
    deadline: float
    wanted: set[str]
    embeddings: np.ndarray | None = None


class Searching:
    """Answers the batches of one instance.

    Args:
        context: of the model.
        stages: the two before the search, for the first columns of `timings_us`; None where another model does it.
        generation: tells the generation of the index that is served.
        cache: tells the cache of query embeddings that is used.
        reading: name of the stage in which requests are read.
    """

    def __init__(
        self,
        context: stub.Context,
        stages: tuple[str | None, str | None],
        generation: Callable[[], int],
        cache: Callable[[], EmbeddingCache | None] = lambda: None,
        reading: str = "read",
    ) -> None:
        self._reading = reading
        self._stages = (*stages, "search")
        measured = [stage for stage in self._stages if stage]
        self._metrics = Metrics(context.model, context.instance, measured, generation, cache)
        self._spans = Spans.from_environment(context.model)
        self._costs = SearchCosts()

    def close(self) -> None:
        """End the threads that tell of what was measured."""
        self._metrics.close()
        if self._spans is not None:
            self._spans.close()

    def refused(self, requests: int) -> None:
        """Count requests that were not taken up."""
        self._metrics.count("refused", requests)

    def answer(
        self,
        requests: Sequence[Any],
        prepare: Callable[[Any], tuple[Any, RequestParameters]],
        embed: Callable[[list[Item], Stopwatch], Sequence[np.ndarray]],
        search: Callable[[list[Item]], list[SearchResult]],
        *,
        generation: int,
    ) -> list[Any]:
        """Answer a batch.

        Args:
            requests: as Triton hands them over.
            prepare: reads and checks one request: its input and its parameters.
            embed: the embeddings of several, (rows, dim) float32 of each.
            search: searches for several, which have their embeddings.
            generation: of the index that `search` uses.

        Returns:
            One response per request, in order. `effort` (rows, 1) int64 is the one that was searched with. `timings_us`
            (rows, 6) int64 are microseconds of tokenising (or decoding), tower, search and all since the batch was
            taken up, then the rows that were searched for together, and the microseconds that its requests can have
            waited for it in Triton's queue at most: all of a batch share these. -1 is what another model does, or isn't
            known.
        """
        watch = Stopwatch()
        searched = 0

        def read(request: Any) -> Item:
            given, parameters = prepare(request)
            deadline = deadline_of(parameters, request.timeout(), watch.began)
            return Item(given, parameters, deadline, set(request.requested_output_names()))

        def compute(items: list[Item]) -> Iterator[dict[str, np.ndarray] | Exception]:
            nonlocal searched
            watch.lap(self._reading)
            kept = [item for item in items if item.deadline > time.perf_counter()]
            if kept:
                for item, part in zip(kept, embed(kept, watch), strict=True):
                    item.embeddings = part
            kept = [item for item in kept if item.deadline > time.perf_counter()]
            embedded = self._fit(kept)
            results = search(kept) if kept else []
            watch.lap("search")
            if kept:
                self._costs.note(max(item.parameters.effort for item in kept), embedded, watch.laps[-1].seconds)
            rows = sum(len(result.scores) for result in results)
            searched += rows
            self._metrics.count("expired", len(items) - len(kept))
            found = {id(item): result for item, result in zip(kept, results, strict=True)}
            for item in items:
                if (result := found.get(id(item))) is not None:
                    yield self._outputs(result, item, generation, watch, rows)
                else:
                    yield Expired(time.perf_counter() - item.deadline)

        responses = stub.answer(requests, read, compute)
        if searched:
            self._metrics.take(watch, searched, stub.longest_wait())
            if self._spans is not None:
                self._spans.take(requests, watch, searched)
        return responses

    def _fit(self, items: list[Item]) -> int:
        """Lower the effort of those that are short of time; the number of embeddings to search for together."""
        rows = sum(len(item.embeddings) for item in items if item.embeddings is not None)
        now = time.perf_counter()
        for item in items:
            fitted = self._costs.fit(item.parameters, rows, item.deadline - now)
            self._metrics.count("effort_lowered", int(fitted is not item.parameters))
            item.parameters = fitted
        return rows

    def _outputs(
        self, result: SearchResult, item: Item, generation: int, watch: Stopwatch, rows: int
    ) -> dict[str, np.ndarray]:
        outputs = dict(vars(result))
        each = (len(result.scores), 1)
        if "generation" in item.wanted:
            outputs["generation"] = np.full(each, generation, np.int64)
        if "effort" in item.wanted:
            outputs["effort"] = np.full(each, item.parameters.effort, np.int64)
        if "timings_us" in item.wanted:
            stages = [-1 if stage is None else _microseconds(watch.seconds(stage) or 0.0) for stage in self._stages]
            longest = stub.longest_wait()
            waited = -1 if longest == float("inf") else _microseconds(longest)
            told = [*stages, _microseconds(watch.total), rows, waited]
            outputs["timings_us"] = np.tile(np.array(told, np.int64), each)
        return outputs


def _microseconds(seconds: float) -> int:
    return max(1, round(seconds * 1e6)) if seconds else 0
