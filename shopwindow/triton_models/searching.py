"""Answering for models that search: stages measured, what comes too late left out, hurried searches made cheaper."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from shopwindow.retrieval.request.parameters import RequestParameters
from shopwindow.retrieval.search.exact import SearchResult
from shopwindow.retrieval.stopwatch import Stopwatch
from shopwindow.triton_models import batch_io
from shopwindow.triton_models.context import Context
from shopwindow.triton_models.deadlines import Expired, SearchCosts, deadline_of
from shopwindow.triton_models.metrics import Caches, Metrics
from shopwindow.triton_models.traces import Spans
from shopwindow.triton_models.worker_threads import WorkerThreads, cut


@dataclass
class Item:
    """One request on its way.

    Attributes:
        request: as Triton handed it over.
        given: its input, as `prepare` returned it.
        parameters: with the effort that it is searched with.
        deadline: in seconds of `time.perf_counter`.
        wanted: names of the outputs that it asked for.
        embeddings: (rows, dim) float32, once they are known.
    """

    request: Any
    given: Any
    parameters: RequestParameters
    deadline: float
    wanted: set[str]
    embeddings: np.ndarray | None = None


@dataclass
class Share:
    """What one thread answers of a batch.

    Attributes:
        items: of about the same cost.
        watch: has measured what was done for all of the batch before.
        batch_rows: of the whole batch.
        searched: how many of the items were searched for; the others came too late.
    """

    items: list[Item]
    watch: Stopwatch
    batch_rows: int
    searched: int = 0


Outcome = dict[str, np.ndarray] | Exception
Embed = Callable[[list[Item], Stopwatch], Sequence[np.ndarray]]
Search = Callable[[list[Item]], list[SearchResult]]
_FEWEST_ROWS = 2  # of a share: two rows together take little longer than one


class Searching:
    """Answers the batches of one instance.

    Args:
        context: of the model.
        stages: the two before the search, for the first columns of `timings_us`; None where another model does it.
        generation: tells the generation of the index that is served.
        caches: tells which caches are used, by name.
        reading: name of the stage in which requests are read.
        threads: how many share the work on a batch.
    """

    def __init__(
        self,
        context: Context,
        stages: tuple[str | None, str | None],
        generation: Callable[[], int],
        caches: Callable[[], Caches] = dict,
        reading: str = "read",
        threads: int = 1,
    ) -> None:
        self._reading = reading
        self._stages = (*stages, "search")
        measured = [stage for stage in self._stages if stage]
        self._metrics = Metrics(context.model, context.instance, measured, generation, caches)
        self._spans = Spans.from_environment(context.model)
        self._costs = SearchCosts()
        self._threads = WorkerThreads(threads)

    def close(self) -> None:
        """End all threads."""
        self._threads.close()
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
        embed: Embed,
        search: Search,
        *,
        generation: int,
        costs: Callable[[Any], Sequence[float]],
    ) -> list[Any]:
        """Answer a batch, whose requests the threads share out among themselves.

        Args:
            requests: as Triton hands them over.
            prepare: reads and checks one request: its input and its parameters.
            embed: the embeddings of several, (rows, dim) float32 of each.
            search: searches for several, which have their embeddings.
            generation: of the index that `search` uses.
            costs: about what each row of a request costs compared with others, above 0, given its input, of which
                `given[part]` is a part. Threads get as much of that each, and rows of about the same together.

        Returns:
            One response per request, in order. `effort` (rows, 1) int64 is the one that was searched with. `timings_us`
            (rows, 6) int64 are microseconds of tokenising (or decoding), tower, search and all since the batch was
            taken up, which a thread's share has in common; then the rows of the batch, and the microseconds that its
            requests can have waited for it in Triton's queue at most. -1 is what another model does, or isn't known.
        """
        watch = Stopwatch()
        shares: list[Share] = []

        def read(request: Any) -> Item:
            given, parameters = prepare(request)
            deadline = deadline_of(parameters, request.timeout(), watch.began)
            return Item(request, given, parameters, deadline, set(request.requested_output_names()))

        def compute(items: list[Item]) -> list[Outcome]:
            watch.lap(self._reading)
            rows = [costs(item.given) for item in items]
            cut_up = _shares(items, rows, self._threads.size)
            own = [Share(some, watch.split(), sum(map(len, rows))) for some in cut_up]
            shares.extend(own)
            found = self._threads.map(lambda share: self._answer_share(share, embed, search, generation), own)
            outcomes: dict[int, list[Outcome]] = {}
            for share, some in zip(own, found, strict=True):
                for piece, outcome in zip(share.items, some, strict=True):
                    outcomes.setdefault(id(piece.request), []).append(outcome)
            return [_joined(outcomes[id(item.request)]) for item in items]

        responses = batch_io.answer(requests, read, compute)
        if any(share.searched for share in shares):
            self._metrics.take([share.watch for share in shares], shares[0].batch_rows, batch_io.longest_wait())
        if self._spans is not None:
            for share in shares:
                self._spans.take([item.request for item in share.items], share.watch, share.batch_rows)
        return responses

    def _answer_share(self, share: Share, embed: Embed, search: Search, generation: int) -> list[Outcome]:
        def answer(items: list[Item]) -> list[Outcome]:
            watch = share.watch
            kept = [item for item in items if item.deadline > time.perf_counter()]
            if kept:
                for item, part in zip(kept, embed(kept, watch), strict=True):
                    item.embeddings = part
            kept = [item for item in kept if item.deadline > time.perf_counter()]
            rows = self._fit(kept)
            results = search(kept) if kept else []
            watch.lap("search")
            if kept:
                self._costs.note(max(item.parameters.effort for item in kept), rows, watch.laps[-1].seconds)
            share.searched += len(kept)
            self._metrics.count("expired", len(items) - len(kept))
            found = {id(item): result for item, result in zip(kept, results, strict=True)}
            return [self._outcome(item, found.get(id(item)), share, generation) for item in items]

        return batch_io.isolated(answer, share.items)

    def _outcome(self, item: Item, result: SearchResult | None, share: Share, generation: int) -> Outcome:
        if result is None:
            return Expired(time.perf_counter() - item.deadline)
        return self._outputs(result, item, share, generation)

    def _fit(self, items: list[Item]) -> int:
        """Lower the effort of those that are short of time; the number of embeddings to search for together."""
        rows = sum(len(item.embeddings) for item in items if item.embeddings is not None)
        now = time.perf_counter()
        for item in items:
            fitted = self._costs.fit(item.parameters, rows, item.deadline - now)
            self._metrics.count("effort_lowered", int(fitted is not item.parameters))
            item.parameters = fitted
        return rows

    def _outputs(self, result: SearchResult, item: Item, share: Share, generation: int) -> dict[str, np.ndarray]:
        outputs = dict(vars(result))
        each = (len(result.scores), 1)
        if "generation" in item.wanted:
            outputs["generation"] = np.full(each, generation, np.int64)
        if "effort" in item.wanted:
            outputs["effort"] = np.full(each, item.parameters.effort, np.int64)
        if "timings_us" in item.wanted:
            watch = share.watch
            stages = [-1 if stage is None else _microseconds(watch.seconds(stage) or 0.0) for stage in self._stages]
            longest = batch_io.longest_wait()
            waited = -1 if longest == float("inf") else _microseconds(longest)
            told = [*stages, _microseconds(watch.total), share.batch_rows, waited]
            outputs["timings_us"] = np.tile(np.array(told, np.int64), each)
        return outputs


def _shares(items: Sequence[Item], rows: Sequence[Sequence[float]], threads: int) -> list[list[Item]]:
    """What each thread answers, given what the rows of each item cost: whole items, unless they are too few."""
    count = max(1, min(threads, sum(map(len, rows)) // _FEWEST_ROWS))
    if len(items) < count:
        return [
            [replace(item, given=item.given[part])]
            for item, its in zip(items, rows, strict=True)
            for part in cut(its, max(1, count // len(items)))
        ]
    order = sorted(range(len(items)), key=lambda at: sum(rows[at]) / max(1, len(rows[at])))
    return [[items[at] for at in order[part]] for part in cut([sum(rows[at]) or 1 for at in order], count)]


def _joined(parts: Sequence[Outcome]) -> Outcome:
    """The outcome of an item that several threads answered a part of."""
    arrays: list[dict[str, np.ndarray]] = []
    for part in parts:
        if isinstance(part, Exception):
            return part
        arrays.append(part)
    if len(arrays) == 1:
        return arrays[0]
    return {name: np.concatenate([part[name] for part in arrays]) for name in arrays[0]}


def _microseconds(seconds: float) -> int:
    return max(1, round(seconds * 1e6)) if seconds else 0
