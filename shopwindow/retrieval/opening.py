"""Opens an index, wherever its products live."""

from __future__ import annotations

from pathlib import Path

from shopwindow.retrieval.engines import EngineOptions
from shopwindow.retrieval.errors import IndexUnfit
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
) -> ProductIndex:
    """Load an index for serving.

    Args:
        path: an index folder, or an index home, whose served generation is loaded.
        tower_hash: identity of the query tower that will search it; None skips the check.
        engine: where to search; None searches on the CPU.
        before: an index that was opened for the same engine and is still served: parts that both share, as
            an index and its updates do, take no memory and time of their own.
        cache_bytes: of what was found lately, to be kept for embeddings that come again; 0 keeps nothing.

    Raises:
        IndexUnfit: unreadable, or filled by another product tower.
        EngineUnfit: the wanted engine can't take it.
    """
    folder = resolve_index(path)  # once: another generation may be published meanwhile
    if lives_in_milvus(folder):
        index: ProductIndex = open_in_milvus(folder, engine)
    else:
        index = ProductIndex(read_index(folder, engine, before.folder if before is not None else None), before)
    if cache_bytes:
        index.cache = ResultCache(cache_bytes)
    if tower_hash is not None and index.manifest.tower_hash != tower_hash:
        raise IndexUnfit(
            f"{path} was filled by towers {index.manifest.tower_hash[:12]}, the repository serves towers "
            f"{tower_hash[:12]}: run 'shopwindow index' again (with --with-towers they change with the index), or "
            "serve the repository that belongs to the index"
        )
    return index
