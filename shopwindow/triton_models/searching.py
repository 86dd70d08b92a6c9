"""Answer batches for models that search: measure stages, drop late requests, lower the effort of hurried ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from shopwindow.retrieval.embedding.images import Decode, decode_photo
from shopwindow.retrieval.request.page.page_request import PageRequest
from shopwindow.retrieval.request.parameters import RequestParameters, with_outputs
from shopwindow.retrieval.search.exact import SearchResult
from shopwindow.retrieval.search.page_outputs import page_outputs
from shopwindow.retrieval.search.product_index import ProductIndex
from shopwindow.retrieval.stopwatch import Stopwatch
from shopwindow.triton_models import batch_io
from shopwindow.triton_models.context import Context
from shopwindow.triton_models.deadlines import Expired, SearchCosts, deadline_of
from shopwindow.triton_models.metrics import Caches, Metrics
from shopwindow.triton_models.traces import Parent, Spans, traceparent
from shopwindow.triton_models.worker_threads import WorkerThreads, cut


@dataclass
class Item:
    """A request, or a part of one, that is being answered.

    Attributes:
        content: the request's input, as `prepare` returned it.
        parameters: the request's parameters, with the effort that is used.
        deadline: in seconds of `time.perf_counter`.
        outputs: names of the outputs that the request asks for.
        parent: trace and span that the request belongs to; None if it is not traced.
        waited: the longest time that the request can have waited in Triton's queue, in seconds; infinite if unknown.
        key: the same in all parts of a request.
        embeddings: (rows, dim) float32; None until they are computed.
    """

    content: Any
    parameters: RequestParameters
    deadline: float
    outputs: set[str]
    parent: Parent | None
    waited: float
    key: object = field(default_factory=object)
    embeddings: np.ndarray | None = None

    @property
    def ranks(self) -> bool:
        """Whether a page orders the products anew."""
        return self.parameters.page is not None and self.parameters.page.ranks

    @property
    def decode_s(self) -> float:
        """Roughly how many seconds one core decodes the photos. Only for contents with photos, as the next two."""
        seconds: float = self.content.decode_s
        return seconds

    @property
    def photo_bytes(self) -> int:
        """Bytes of the photos."""
        size: int = self.content.photo_bytes
        return size

    def decoded(self, decode: Decode = decode_photo) -> Item:
        """Return the item with decoded photos."""
        return replace(self, content=self.content.decoded(decode))


@dataclass
class Share:
    """The part of a batch that one thread answers.

    Attributes:
        items: items of about the same cost.
        watch: the thread's stopwatch. It already contains the stages that were measured for the whole batch.
        batch_rows: number of rows in the whole batch.
        searched: number of items that were searched. The others were too late.
    """

    items: list[Item]
    watch: Stopwatch
    batch_rows: int
    searched: int = 0


Outcome = dict[str, np.ndarray] | Exception
Embed = Callable[[list[Item], Stopwatch], Sequence[np.ndarray]]
Search = Callable[[list[Item]], list[SearchResult]]
_FEWEST_ROWS = 2  # rows of a share at least, because two rows together take little longer than one


class Searching:
    """Answers the batches of one model instance.

    Args:
        context: the model's context.
        stages: names of the two stages before the search, the first columns of `timings_us`. None if another model does
            a stage.
        generation: returns the generation of the served index.
        caches: returns the caches by name.
        reading: name of the stage in which requests are read.
        threads: number of threads that share the work on a batch.
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
        self._metrics = Metrics(context.model, context.instance, measured, generation, caches, context.refused)
        self._spans = Spans.from_environment(context.model)
        self._costs = SearchCosts()
        self._threads = WorkerThreads(threads)

    def close(self) -> None:
        """End all threads."""
        self._threads.close()
        self._metrics.close()
        if self._spans is not None:
            self._spans.close()

    def count(self, event: str, requests: int) -> None:
        """Count requests.

        Args:
            event: "refused" or "expired".
            requests: their number.
        """
        self._metrics.count(event, requests)

    def answer(
        self,
        requests: Sequence[Any],
        prepare: Callable[[Any], tuple[Any, RequestParameters]],
        embed: Embed,
        search: Search,
        *,
        index: ProductIndex,
        costs: Callable[[Any], Sequence[float]],
        desk: batch_io.Desk | None = None,
    ) -> list[Any]:
        """Answer a batch with several threads.

        Args:
            requests: the requests that Triton passes to `execute`.
            prepare: reads and checks one request; returns its content and its parameters.
            embed: returns the embeddings of several items, (rows, dim) float32 for each.
            search: searches for several items that have their embeddings.
            index: the index that `search` uses.
            costs: returns the approximate cost of each row of a request, above 0, from its content. Only the ratio of
                costs matters. Each thread gets about the same cost, and rows of similar cost come together. For a part
                of a request, the content is sliced: `content[part]`.
            desk: decodes the photos of the contents, see `batch_io.answer`; None if there are none.

        Returns:
            One response per request, in order; None for a request that the desk answers later. `product_keys` is as in
            `ProductIndex.product_keys`, the outputs of a page as in `page_outputs`. `effort` (rows, 1) int64
            is the effort that was used. `timings_us` (rows, 6) int64 contains, in microseconds, the time for tokenising
            (or decoding), the tower, the search, and everything since the model took up the batch. All rows of a
            thread's share have the same times. Then come the number of rows in the batch and the longest time, in
            microseconds, that its requests can have waited in Triton's queue. -1 means that another model does this
            step, or that the time is unknown.
        """
        start = Stopwatch()

        def read(request: Any) -> Item:
            content, parameters = prepare(request)
            outputs = set(request.requested_output_names())
            return Item(
                content=content,
                parameters=with_outputs(parameters, outputs),
                deadline=deadline_of(parameters, request.timeout(), start.began),
                outputs=outputs,
                parent=traceparent(request) if self._spans is not None else None,
                waited=batch_io.longest_wait(),
            )

        def compute(items: list[Item]) -> list[Outcome]:
            watch = start.split()  # requests with large photos are computed later, in another thread
            watch.lap(self._reading)
            rows = [costs(item.content) for item in items]
            parts = _shares(items, rows, self._threads.size)
            shares = [Share(part, watch.split(), sum(map(len, rows))) for part in parts]
            found = self._threads.map(lambda share: self._answer_share(share, embed, search, index), shares)
            outcomes: dict[object, list[Outcome]] = {}
            for share, of_share in zip(shares, found, strict=True):
                for item, outcome in zip(share.items, of_share, strict=True):
                    outcomes.setdefault(item.key, []).append(outcome)
            self._measure(shares, items[0].waited)
            return [_joined(outcomes[item.key]) for item in items]

        return batch_io.answer(requests, read, compute, desk)

    def _measure(self, shares: list[Share], waited: float) -> None:
        if any(share.searched for share in shares):
            self._metrics.add_batch([share.watch for share in shares], shares[0].batch_rows, waited)
        if self._spans is not None:
            for share in shares:
                self._spans.queue_spans([item.parent for item in share.items], share.watch, share.batch_rows)

    def _answer_share(self, share: Share, embed: Embed, search: Search, index: ProductIndex) -> list[Outcome]:
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
            if kept and not any(item.ranks for item in kept):  # rankings say nothing about bare searches
                self._costs.note(max(item.parameters.effort for item in kept), rows, watch.laps[-1].seconds)
            share.searched += len(kept)
            self._metrics.count("expired", len(items) - len(kept))
            found = {id(item): result for item, result in zip(kept, results, strict=True)}
            return [self._outcome(item, found.get(id(item)), share, index) for item in items]

        return batch_io.compute_isolated(answer, share.items)

    def _outcome(self, item: Item, result: SearchResult | None, share: Share, index: ProductIndex) -> Outcome:
        late = time.perf_counter() - item.deadline
        if result is not None and late >= 0 and item.parameters.page not in (None, PageRequest()):
            # The outputs of a page may take long.
            self._metrics.count("expired", 1)
            result = None
        if result is None:
            return Expired(late)
        return self._outputs(result, item, share, index)

    def _fit(self, items: list[Item]) -> int:
        """Lower the effort of items that are short of time, and return how many embeddings are searched together."""
        rows = sum(len(item.embeddings) for item in items if item.embeddings is not None)
        now = time.perf_counter()
        for item in items:
            fitted = self._costs.fit(item.parameters, rows, item.deadline - now)
            self._metrics.count("effort_lowered", int(fitted is not item.parameters))
            item.parameters = fitted
        return rows

    def _outputs(self, result: SearchResult, item: Item, share: Share, index: ProductIndex) -> dict[str, np.ndarray]:
        outputs = {"product_ids": result.product_ids, "scores": result.scores, "channels": result.channels}
        each = (len(result.scores), 1)
        if "product_keys" in item.outputs:
            outputs["product_keys"] = index.product_keys(result)
        if item.parameters.page is not None:
            outputs |= page_outputs(index, result, item.parameters, item.outputs)
        if "generation" in item.outputs:
            outputs["generation"] = np.full(each, index.manifest.generation, np.int64)
        if "effort" in item.outputs:
            outputs["effort"] = np.full(each, item.parameters.effort, np.int64)
        if "timings_us" in item.outputs:
            watch = share.watch
            stages = [-1 if stage is None else _microseconds(watch.seconds(stage) or 0.0) for stage in self._stages]
            waited = -1 if item.waited == float("inf") else _microseconds(item.waited)
            timings = [*stages, _microseconds(watch.total), share.batch_rows, waited]
            outputs["timings_us"] = np.tile(np.array(timings, np.int64), each)
        return outputs


def _shares(items: Sequence[Item], rows: Sequence[Sequence[float]], threads: int) -> list[list[Item]]:
    """Divide items into a list for each thread. Items are cut only if there are fewer items than threads.

    Args:
        items: the items of a batch.
        rows: the cost of each row of each item.
        threads: number of threads.
    """
    count = max(1, min(threads, sum(map(len, rows)) // _FEWEST_ROWS))
    if len(items) < count:
        return [
            [replace(item, content=item.content[part])]
            for item, costs in zip(items, rows, strict=True)
            for part in cut(costs, max(1, count // len(items)))
        ]
    order = sorted(range(len(items)), key=lambda at: sum(rows[at]) / max(1, len(rows[at])))
    return [[items[at] for at in order[part]] for part in cut([sum(rows[at]) or 1 for at in order], count)]


def _joined(parts: Sequence[Outcome]) -> Outcome:
    """Return the outcome of an item from the outcomes of its parts, which several threads answered."""
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
