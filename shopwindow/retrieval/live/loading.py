"""Load and check what a serving process needs from a generation.

`shopwindow.retrieval.live.live_index` calls these loaders.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from shopwindow.base.machine import turn_to_load
from shopwindow.retrieval.embedding.bundle import Bundle, calibration_of
from shopwindow.retrieval.embedding.embedding_cache import entries_from_environment
from shopwindow.retrieval.engines import EngineOptions
from shopwindow.retrieval.errors import IndexUnfit, Unfit
from shopwindow.retrieval.index.checksums import Verify, check_arrived
from shopwindow.retrieval.index.home import GENERATIONS
from shopwindow.retrieval.live.checks import check_canaries, check_memory, check_published, towers_to_serve
from shopwindow.retrieval.live.live_index import Load
from shopwindow.retrieval.opening import open_index
from shopwindow.retrieval.pipeline import InProcessPipeline
from shopwindow.retrieval.search.product_index import ProductIndex

WarmUp = Callable[[InProcessPipeline], object]
"""Makes the first call. It reads the towers and allocates memory, so no caller has to wait for that."""


def pipeline_loader(repository: Path, warm_up: WarmUp, *, cache_bytes: int = 0) -> Load[InProcessPipeline]:
    """Return a loader for towers and index as one object. If a generation carries towers, it is served with those.

    The cache of query embeddings stays as long as the towers stay the same.

    Args:
        repository: the model repository.
        warm_up: makes the first call.
        cache_bytes: bytes of the result cache, as for `InProcessPipeline`.
    """
    cached_queries = entries_from_environment()

    def load(index: Path, before: InProcessPipeline | None) -> InProcessPipeline:
        check_published(index)
        check_arrived(index)
        towers = towers_to_serve(index, repository, follow=True)
        same = before is not None and before.bundle == Bundle.read(towers)
        with turn_to_load(index):
            if before is not None and same:
                check_memory(index, before.index)
                pipeline = before.with_index(index)
            else:
                check_memory(index)
                pipeline = InProcessPipeline(repository, index, cached_queries=cached_queries, cache_bytes=cache_bytes)
        _check(index, pipeline.index)
        warm_up(pipeline)
        return pipeline

    return load


def towers_loader(repository: Path, warm_up: WarmUp) -> Load[InProcessPipeline]:
    """Return a loader for the towers alone, without the index: those that a generation carries, or the repository's.

    Args:
        repository: the model repository.
        warm_up: makes the first call.
    """
    cached_queries = entries_from_environment()

    def load(index: Path, before: InProcessPipeline | None) -> InProcessPipeline:
        if _is_generation(index):
            check_arrived(index)  # or its towers would be overlooked
        towers = towers_to_serve(index, repository, follow=True)
        if before is not None and before.bundle == Bundle.read(towers):
            return before
        pipeline = InProcessPipeline(towers, cached_queries=cached_queries)
        warm_up(pipeline)
        return pipeline

    return load


def index_loader(
    repository: Path, engine: EngineOptions, *, follow: bool, verify: Verify | None = None
) -> Load[ProductIndex]:
    """Return a loader for the index alone.

    Args:
        repository: the model repository.
        engine: the engine to search with.
        follow: whether the index may carry other towers than the repository. Queries then need embeddings from those.
        verify: how thoroughly files are compared with their checksums; None takes it from the environment.
    """

    def load(index: Path, before: ProductIndex | None) -> ProductIndex:
        check_published(index)
        check_arrived(index, verify)
        towers = towers_to_serve(index, repository, follow=follow)
        bundle = Bundle.read(towers)
        if before is None:
            bundle.check(towers)
        with turn_to_load(index):
            check_memory(index, before)
            found = open_index(
                index,
                tower_hash=bundle.tower_hash,
                engine=engine,
                before=before,
                calibration=calibration_of(index, repository),
                verify=verify,
            )
        _check(index, found)
        return found

    return load


def _check(folder: Path, index: ProductIndex) -> None:
    generation = index.manifest.generation
    if _is_generation(folder) and generation != int(folder.name):
        raise IndexUnfit(
            f"{folder}: its manifest says generation {generation}; build it again with 'shopwindow index'",
            kind=Unfit.UNREADABLE,
        )
    check_canaries(index)


def _is_generation(folder: Path) -> bool:
    return folder.parent.name == GENERATIONS
