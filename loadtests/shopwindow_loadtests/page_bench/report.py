"""The results of `make bench-page` as tables, printed and between two markers of docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from shopwindow_loadtests.generator.reading import Reading, median_ratio, median_reading
from shopwindow_loadtests.page_bench.answering import Page
from shopwindow_loadtests.page_bench.boosted_recall import DEPTH, BoostedRecall
from shopwindow_loadtests.page_bench.page_requests import CPU, P50, TOP_K, VARIANTS
from shopwindow_loadtests.page_bench.stores import LEAST_RECALL, OURS
from shopwindow_loadtests.peers.goals import Goal

BEGIN, END = "<!-- bench-page: begin -->", "<!-- bench-page: end -->"
VARIANT_HEADS = ["request", "CPU ms", "p50 ms", "p99 ms", "beside", "CPU", "p50"]
RECALL_HEADS = ["boost", f"recall@{DEPTH}", f"moved into the {DEPTH} best", "p50 ms", "slowest ms"]
STORE_HEADS = ["store", f"recall@{TOP_K}", "p50 ms", "CPU ms", "over Shopwindow's time"]
LEAST_BOOSTED_RECALL = 0.95
TIMES_FASTER = 3.0
_WHAT = {CPU: "CPU of the server a query", P50: "p50"}


@dataclass(frozen=True, kw_only=True)
class StoreRounds:
    """What a store answered.

    Attributes:
        about: Versions and kind of search.
        recall: Share of the right products that it found.
        pages: The pages of each round; all stores answer the first questions of a round, the slow ones no others.
    """

    about: str
    recall: float
    pages: Sequence[Sequence[Page]]

    def median_ms(self, figure: str = "seconds") -> float:
        """Return the median over all pages, in milliseconds."""
        return 1e3 * median(float(getattr(page, figure)) for pages in self.pages for page in pages)

    def over(self, ours: StoreRounds) -> float:
        """Return the median over the rounds of the ratio of both medians."""
        each = zip(self.pages, ours.pages, strict=True)
        return median(median(p.seconds for p in a) / median(p.seconds for p in b) for a, b in each)


def variant_rows(readings: Mapping[str, Sequence[Reading]]) -> list[list[str]]:
    """Return a row under VARIANT_HEADS for each variant that was measured."""
    table = []
    for variant in VARIANTS:
        if variant.name not in readings or variant.beside not in readings:
            continue
        own, beside = readings[variant.name], readings[variant.beside]
        one = median_reading(own)
        figures = [f"{one.cpu_ms:.3f}", f"{one.p50_ms:.2f}", f"{one.p99_ms:.2f}"]
        ratios = [f"{median_ratio(own, beside, figure):.3f}" for figure in (CPU, P50)]
        same = variant.beside == variant.name
        table.append([variant.name, *figures, *(["", "", ""] if same else [variant.beside, *ratios])])
    return table


def recall_rows(found: Sequence[BoostedRecall]) -> list[list[str]]:
    """Return a row under RECALL_HEADS for each strength."""
    return [
        [one.name, f"{one.recall:.4f}", f"{one.moved:.0%}", f"{one.p50_ms:.2f}", f"{one.worst_ms:.1f}"] for one in found
    ]


def store_rows(stores: Mapping[str, StoreRounds]) -> list[list[str]]:
    """Return a row under STORE_HEADS for each store."""
    table = []
    for name, store in stores.items():
        ratio = "" if name == OURS else f"{store.over(stores[OURS]):.1f}"
        cpu = store.median_ms("cpu_seconds")
        table.append([store.about, f"{store.recall:.4f}", f"{store.median_ms():.1f}", f"{cpu:.1f}", ratio])
    return table


def goals(
    readings: Mapping[str, Sequence[Reading]], recalls: Sequence[BoostedRecall], stores: Mapping[str, StoreRounds]
) -> list[Goal]:
    """Compare the measurements with the targets."""
    found = []
    for variant in VARIANTS:
        if variant.limit is None:
            continue
        ratio = None
        if readings.get(variant.name) and readings.get(variant.beside):
            ratio = median_ratio(readings[variant.name], readings[variant.beside], variant.figure)
        name = f"{variant.name}: {_WHAT[variant.figure]}, over {variant.beside}"
        found.append(Goal(name=name, limit=variant.limit, at_most=True, ratio=ratio))
    found += [
        Goal(
            name=f"recall@{DEPTH} with {'no' if one.name == 'none' else f'a {one.name}'} boost",
            limit=LEAST_BOOSTED_RECALL,
            at_most=False,
            ratio=one.recall,
        )
        for one in recalls
    ]
    for name, store in stores.items():
        if name == OURS:
            what = f"recall@{TOP_K} of the page in {OURS}, beside an exact store"
            found.append(Goal(name=what, limit=LEAST_RECALL, at_most=False, ratio=store.recall))
        else:
            ratio, what = store.over(stores[OURS]), f"time of the page in {name}, over {OURS}'s"
            found.append(Goal(name=what, limit=TIMES_FASTER, at_most=False, ratio=ratio))
    return found
