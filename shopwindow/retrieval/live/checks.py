"""The checks that an index must pass before it is served: published, memory, towers, recall."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shopwindow.base.machine import available_memory
from shopwindow.retrieval.embedding.bundle import Bundle, towers_of
from shopwindow.retrieval.errors import IndexUnfit, Unfit
from shopwindow.retrieval.index.folder import IndexFolder, shared_parts
from shopwindow.retrieval.index.home import CURRENT, GENERATIONS
from shopwindow.retrieval.request.parameters import DEFAULT_EFFORT, RequestParameters
from shopwindow.retrieval.search.exact import SearchResult, exact_search
from shopwindow.retrieval.search.product_index import ProductIndex

CANARIES = 32
CANARY_TOP_K = 10
CANARY_RECALL = 0.9
# Rows that the canary queries are compared with, at most. More would take seconds and read all vectors from the disk.
JUDGED_ROWS = 131_072

_MIB = 2**20
_BLOCK = 8_192  # rows to check in one step; requests may wait for a step
_REMEDY = "build it again with 'shopwindow index', or go back with 'shopwindow rollback'"
# Files that are loaded into memory as a whole. _loaded_bytes adds the columns of attributes.parquet.
_LOADED = ("product_ids.npy", "index.faiss", "index.rows.npy", "delta.npy", "alive.npy")


def check_published(path: Path) -> None:
    """Raise IndexUnfit if `path` is an index home in which nothing was published yet."""
    if not (path / CURRENT).exists() and any((path / name).exists() for name in ("building", GENERATIONS, ".lock")):
        raise IndexUnfit(
            f"{path} is an index home, and nothing was published yet (it has no {CURRENT}): wait until 'shopwindow "
            "index' ends, or run it again to resume",
            kind=Unfit.INCOMPLETE,
        )


def check_memory(index: Path, before: ProductIndex | None = None) -> None:
    """Check that there is enough memory to load an index beside the served one.

    Args:
        index: an index folder.
        before: the served index. Parts that both share are not loaded again. None if nothing is served.

    Raises:
        IndexUnfit: the index needs more memory than is free. The message names both numbers.
    """
    needed, available = _loaded_bytes(index, before.folder if before is not None else None), available_memory()
    if needed > available:
        raise IndexUnfit(
            f"{index} needs {needed / _MIB:.0f} MiB of memory beside the served index, {available / _MIB:.0f} MiB are "
            "free: give the server more memory, build with a smaller recipe (shopwindow index --recipe), or restart "
            "the server, so that it holds only one index",
            kind=Unfit.MEMORY,
        )


def towers_to_serve(index: Path, repository: Path, *, follow: bool) -> Path:
    """Return the root folder of the towers to serve an index with: the index's own or the repository's.

    Args:
        index: an index folder.
        repository: the server's model repository.
        follow: whether the server can switch to towers that the index carries.

    Raises:
        IndexUnfit: the index carries other towers than the repository, and the server cannot switch to them.
        BundleUnfit: the files that the index carries are not those that were exported.
    """
    towers = towers_of(index, repository)
    if towers == repository:
        return repository
    own, carried = Bundle.read(repository), Bundle.read(towers)
    both = f"{index} carries towers {carried.tower_hash[:12]}, the repository {repository} has {own.tower_hash[:12]}"
    if not follow:
        if carried.tower_hash == own.tower_hash:
            return repository
        raise IndexUnfit(
            f"{both}; under this profile the towers are separate models, which cannot change together: start a new "
            "server on the repository that these towers were exported to",
            kind=Unfit.TOWERS,
        )
    if carried.embedding_dim != own.embedding_dim:
        raise IndexUnfit(
            f"{both}, with {carried.embedding_dim} and {own.embedding_dim} dimensions, which a running server cannot "
            "change: start a new server on the repository that these towers were exported to",
            kind=Unfit.TOWERS,
        )
    carried.check(towers)
    return towers


def check_canaries(index: ProductIndex) -> None:
    """Search for stored vectors at the default effort and compare the results with exact search.

    If the products are in Milvus, only one search is tried: a server does not read all vectors back.

    Args:
        index: a loaded index that is not served yet.

    Raises:
        IndexUnfit: a vector or a score is not a finite number, or the recall at CANARY_TOP_K is below CANARY_RECALL.
    """
    folder, generation = index.folder, index.manifest.generation
    k = min(CANARY_TOP_K, index.manifest.count)
    if k == 0:  # every product was removed, which the publisher may have meant
        return
    parameters = RequestParameters(top_k=k, effort=DEFAULT_EFFORT)
    if folder is None:
        direction = np.eye(1, index.manifest.dim, dtype=np.float32)
        if not np.isfinite(index.search_batch([(direction, parameters)])[0].scores).all():
            raise IndexUnfit(
                f"generation {generation}: scores of canary queries are not finite numbers; {_REMEDY}",
                kind=Unfit.RECALL,
            )
        return
    vectors = folder.all_vectors
    rows = _spread(folder.live_rows, JUDGED_ROWS)
    if not all(np.isfinite(vectors[rows[start : start + _BLOCK]]).all() for start in range(0, len(rows), _BLOCK)):
        raise IndexUnfit(
            f"generation {generation}: not all stored vectors are finite numbers; {_REMEDY}", kind=Unfit.UNREADABLE
        )
    queries = vectors[_spread(rows, CANARIES)]
    result = index.search_batch([(queries, parameters)])[0]
    recall = _recall(folder, rows, queries, result)
    if not recall >= CANARY_RECALL:
        raise IndexUnfit(
            f"generation {generation}: canary queries find {recall:.2f} of what exact search finds, which is less than "
            f"{CANARY_RECALL}; {_REMEDY}",
            kind=Unfit.RECALL,
        )


def _recall(folder: IndexFolder, rows: np.ndarray, queries: np.ndarray, result: SearchResult) -> float:
    """Return the recall on the judged rows: which share of the rows that score above the worst found product was found.

    The judged rows are a sample, so this estimates the recall among all rows. A found product counts by the score of
    its vector in the folder. So any of several equal vectors may be found, and an engine that holds other vectors than
    the folder gets a low recall.
    """
    if not np.isfinite(result.scores).all():  # the index has at least k products, so none may be missing
        return 0.0
    vectors, k = folder.all_vectors, result.scores.shape[1]
    worst = result.scores[:, -1:] + 1e-5
    exact, _ = exact_search(queries, vectors, rows, k, block=_BLOCK)
    expected = np.count_nonzero(exact > worst)
    judged = folder.product_ids[rows]
    order = np.argsort(judged)
    place = order[np.searchsorted(judged, result.product_ids, sorter=order).clip(max=len(rows) - 1)]
    own = np.einsum("qkd,qd->qk", vectors[rows[place].ravel()].reshape(*place.shape, -1), queries)
    found = np.count_nonzero((judged[place] == result.product_ids) & (own > worst))
    return found / expected if expected else 1.0


def _spread(values: np.ndarray, count: int) -> np.ndarray:
    """Return at most `count` of the values, evenly spaced from first to last."""
    if len(values) <= count:
        return values
    return values[np.linspace(0, len(values) - 1, count).astype(np.int64)]


def _loaded_bytes(index: Path, before: IndexFolder | None) -> int:
    names = {*_LOADED, "attributes.parquet"}
    if not (index / "index.faiss").exists():
        names.add("vectors.npy")  # the flat recipe searches a copy of it in memory
    files = [index / name for name in names - shared_parts(index, before)]
    return sum(_memory_bytes(file) for file in files if file.exists())


def _memory_bytes(file: Path) -> int:
    if file.suffix == ".parquet":
        return _column_bytes(file)
    # Of index.rows.npy, `EqualRows` makes five arrays of the file's length at most.
    return file.stat().st_size * (5 if file.name == "index.rows.npy" else 1)


def _column_bytes(file: Path) -> int:
    try:
        about = pq.read_metadata(file)
    except (OSError, pa.ArrowException):
        return 0  # loading the file will report the error
    return sum(about.row_group(group).total_byte_size for group in range(about.num_row_groups))
