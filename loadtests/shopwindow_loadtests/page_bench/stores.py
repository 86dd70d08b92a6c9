"""Other stores beside Shopwindow: the same page of the same products, each in a process of its own on one thread."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shopwindow.base.default_places import python_path
from shopwindow.retrieval import ProductIndex
from shopwindow_loadtests.page_bench.answering import Page, Question
from shopwindow_loadtests.scenario.errors import HarnessFailure

OURS, EXACT, LOCAL = "Shopwindow", "DuckDB", "Qdrant, local mode"
MODULES = {OURS: "store_shopwindow", EXACT: "store_duckdb", LOCAL: "store_qdrant"}
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
LEAST_RECALL = 0.99
_EFFORTS = range(1, 11)


@dataclass(kw_only=True)
class Store:
    """A running store.

    Attributes:
        name: Key of MODULES.
        about: Versions and kind of search.
        effort: The effort of its questions; 0 leaves it to the store.
    """

    name: str
    about: str
    process: subprocess.Popen[str]
    effort: int = 0

    def ask(self, vector: np.ndarray, price_below: float) -> Page:
        """Return its page for a vector (dim,) float32.

        Raises:
            HarnessFailure: The process ended.
        """
        question = Question(vector=vector.tolist(), price_below=price_below, effort=self.effort)
        return Page(**json.loads(_answer(self.process, self.name, json.dumps(asdict(question)))))


@contextmanager
def running(name: str, python: Path, place: Path, log: Path) -> Iterator[Store]:
    """Start a store that is ready inside the block.

    Args:
        name: Key of MODULES.
        python: Interpreter of the environment that has the store.
        place: Its products, or the index home for Shopwindow.
        log: File for what it prints on standard error.

    Raises:
        HarnessFailure: It did not start.
    """
    module = f"shopwindow_loadtests.page_bench.{MODULES[name]}"
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": python_path({})}
    with log.open("w") as errors:
        process = subprocess.Popen(
            [python, "-m", module, str(place)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment,
        )
        try:
            about = json.loads(_answer(process, f"{name}, see {log}", None))["about"]
            yield Store(name=name, about=about, process=process)
        finally:
            process.kill()
            process.communicate()


def write_products(catalogue: Path, index: ProductIndex, out: Path) -> None:
    """Write the catalogue without photos, with the vectors of an index, as the parquet that the stores read.

    Args:
        catalogue: The catalogue that fills the index.
        index: An index in memory.
        out: The file.
    """
    table = pq.read_table(catalogue).drop_columns(["image"]).sort_by("product_id")
    vectors = np.asarray(index.vectors[np.argsort(index.product_ids)], np.float32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    pq.write_table(table.append_column("vector", column), out)


def recall(right: Sequence[Page], found: Sequence[Page]) -> float:
    """Return the share of the right products that were found."""
    same = sum(len(set(a.ids) & set(b.ids)) for a, b in zip(right, found, strict=True))
    return same / max(1, sum(len(page.ids) for page in right))


def check_counts(ours: Page, right: Page) -> None:
    """Check that both count the same styles.

    Raises:
        HarnessFailure: They do not: then they do not do the same work.
    """
    if (ours.total, ours.facets) != (right.total, right.facets):
        raise HarnessFailure(f"{OURS} counts {ours.total} {ours.facets}, but {EXACT} {right.total} {right.facets}")


def fit_effort(ours: Store, vectors: np.ndarray, prices: Sequence[float], right: Sequence[Page]) -> float:
    """Set the least effort that finds `LEAST_RECALL` of the right products, or the most. Return the recall reached."""
    reached = 0.0
    for ours.effort in _EFFORTS:
        reached = recall(right, [ours.ask(vector, price) for vector, price in zip(vectors, prices, strict=True)])
        if reached >= LEAST_RECALL:
            break
    return reached


def _answer(process: subprocess.Popen[str], name: str, question: str | None) -> str:
    given, answers = process.stdin, process.stdout
    assert given is not None and answers is not None
    if question is not None:
        _write(given, question)
    line = answers.readline()
    if not line:
        raise HarnessFailure(f"{name}: ended with {process.wait()}")
    return line


def _write(given: IO[str], line: str) -> None:
    given.write(line + "\n")
    given.flush()
