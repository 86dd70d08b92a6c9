"""Open an index, in memory or in Milvus."""

from __future__ import annotations

from pathlib import Path

from shopwindow.retrieval.embedding.calibration import Calibration
from shopwindow.retrieval.engines import EngineOptions
from shopwindow.retrieval.errors import IndexUnfit, Unfit
from shopwindow.retrieval.index.checksums import Verify
from shopwindow.retrieval.index.folder import read_index
from shopwindow.retrieval.index.home import resolve_index
from shopwindow.retrieval.milvus.index import lives_in_milvus, open_in_milvus
from shopwindow.retrieval.search.product_index import ProductIndex
from shopwindow.retrieval.search.result_cache import ResultCache


def open_index(
    path: Path,
    *,
    tower_hash: str | None = None,
    engine: EngineOptions | None = None,
    before: ProductIndex | None = None,
    cache_bytes: int = 0,
    calibration: Calibration | None = None,
    verify: Verify | None = None,
) -> ProductIndex:
    """Load an index to serve it.

    Args:
        path: an index folder, or an index home. If it is a home, the generation that CURRENT names is loaded.
        tower_hash: hash of the towers that will search the index; None skips the check.
        engine: where to search; None searches on the CPU.
        before: the index that is served now, opened for the same engine. The new index reuses the parts that both
            have in common, as an index and its update do.
        cache_bytes: room for recent results, for embeddings that come again; 0 keeps none.
        calibration: of the towers that will search the index, for `precision:`; None if they have none.
        verify: how thoroughly files are compared with their checksums; None takes it from the environment.

    Returns:
        The index, ready to search.

    Raises:
        IndexUnfit: the index is unreadable, its files are not what was written, or other towers filled it.
        EngineUnfit: the requested engine cannot search it.
    """
    folder = resolve_index(path)  # once, because another generation may be published meanwhile
    if lives_in_milvus(folder):
        index: ProductIndex = open_in_milvus(folder, engine, verify=verify)
    else:
        loaded = before.folder if before is not None else None
        index = ProductIndex(read_index(folder, engine, loaded, verify=verify), before)
    index.calibration = calibration
    if cache_bytes:
        index.cache = ResultCache(cache_bytes)
    if tower_hash is not None and index.manifest.tower_hash != tower_hash:
        raise IndexUnfit(
            f"{path} was filled by towers {index.manifest.tower_hash[:12]}, the repository serves towers "
            f"{tower_hash[:12]}: serve the repository that belongs to the index, or run 'shopwindow index' again "
            "(--with-towers publishes towers and index together)",
            kind=Unfit.TOWERS,
        )
    return index
