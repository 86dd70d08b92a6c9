"""How a store of products answers the harness: a process that reads questions and writes pages, one JSON object a line.

Only the standard library and NumPy: some stores run in an environment without Shopwindow.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Question:
    """One result page: products in stock below a price, one of each style, with fields and facets.

    Attributes:
        vector: (dim) what to search with.
        price_below: The price that products must stay below.
        effort: How thoroughly an approximate search looks, 1 to 10; 0 leaves it to the store.
    """

    vector: list[float]
    price_below: float
    effort: int = 0


@dataclass(frozen=True, kw_only=True)
class Page:
    """The answer.

    Attributes:
        ids: Products, best first.
        total: How many styles qualify, or products where a store cannot count styles.
        facets: Counts by facet, as Shopwindow writes them; empty where a store counts something else.
        seconds: How long it took, without reading the question and writing this.
        cpu_seconds: CPU time of the process for the same.
    """

    ids: list[int]
    total: int
    facets: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    cpu_seconds: float = 0.0


def serve(page: Callable[[np.ndarray, Question], Page], about: str) -> None:
    """Answer the questions on standard input until it ends.

    Args:
        page: Makes a page from a vector (dim,) float32 and the question.
        about: Versions and kind of search, for the report. It is written first, when the store is ready.
    """
    print(json.dumps({"about": about}), flush=True)
    for line in sys.stdin:
        question = Question(**json.loads(line))
        vector = np.array(question.vector, np.float32)
        began, began_cpu = time.perf_counter(), time.process_time()
        found = page(vector, question)
        times = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - began_cpu}
        print(json.dumps({**asdict(found), **times}), flush=True)
