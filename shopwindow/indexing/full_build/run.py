"""`shopwindow index`: a catalogue of any size to a generation of an index home, through stages that survive a kill."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shopwindow.base.machine import available_memory
from shopwindow.indexing.catalogue.reading import Catalog
from shopwindow.indexing.errors import CatalogError
from shopwindow.indexing.full_build.embedded_parts import Building
from shopwindow.indexing.full_build.embedders import LocalEmbedder, ServerEmbedder, embed_in_order
from shopwindow.indexing.full_build.embedding import embed_catalog
from shopwindow.indexing.full_build.finishing import finish
from shopwindow.indexing.full_build.publishing import cut_off, publish_build
from shopwindow.indexing.full_build.ray_embedding import embed_with_ray
from shopwindow.indexing.full_build.removed_meanwhile import ServedProducts
from shopwindow.retrieval.embedding.bundle import carry_towers
from shopwindow.retrieval.engines.recipes import choose_recipe
from shopwindow.retrieval.errors import IndexUnfit
from shopwindow.retrieval.index.folder import Manifest, read_manifest
from shopwindow.retrieval.index.home import IndexHome, check_home
from shopwindow.retrieval.pipeline import TOWER_ROWS, InProcessPipeline

MEMORY_SHARE = 0.7  # of the memory that is free, what the index may take unless told otherwise


def build_index(
    catalog: Path | Sequence[Path],
    repository: Path,
    out: Path,
    *,
    recipe: str | None = None,
    memory: int | None = None,
    server: str | None = None,
    ray: str | None = None,
    with_towers: bool = False,
    progress: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> Manifest:
    """Embed a catalogue with a repository's product tower, index it, and have the new generation served.

    A build that was killed goes on after the last part that it finished when called again with the same catalogue and
    towers; other ones start over. What is served may be updated and rolled back meanwhile: products removed since the
    build began stay removed, all other changes are those of the catalogue.

    Args:
        catalog: see `Catalog`.
        repository: an exported model repository.
        out: index home; what it serves stays as it is until the new generation is whole.
        recipe: one of `shopwindow.retrieval.engines.recipes.KINDS`; None chooses by count and memory.
        memory: bytes that the index may take while it is built; None takes a share of what is free.
        server: host:port of a running server that embeds; None embeds here.
        ray: address of a Ray cluster that embeds, "local" for one of this machine; None for none.
        with_towers: have the generation carry the repository's towers, see `carry_towers`.
        progress: show a bar.
        say: told what happens, a line at a time.

    Returns:
        The manifest written.

    Raises:
        CatalogError: a file is not a catalogue, or none of its rows can be indexed.
        IndexingError: the server runs other towers, or Ray is not installed.
        FileExistsError: `out` holds something that is not an index home.
        FileNotFoundError: the repository is incomplete.
        IndexUnfit: another build is under way in `out`.
        ValueError: unknown recipe, or no recipe fits into memory.
    """
    if server is not None and ray is not None:
        raise ValueError("server, ray: one of them can embed, both were given")
    check_home(out)
    source = Catalog(catalog)
    pipeline = InProcessPipeline(repository)
    dim = pipeline.bundle.embedding_dim
    memory = int(MEMORY_SHARE * available_memory()) if memory is None else memory
    # Before hours of embedding, not after them.
    choose_recipe(source.rows, recipe, dim=dim, memory=memory)
    if source.rows == 0:
        raise _nothing(source, None)
    home, inputs = IndexHome(out), _inputs(source, pipeline)
    asked = {"recipe": recipe, "with_towers": with_towers}
    with home.filling():
        whole = cut_off(home, inputs, asked, say)
        if whole is not None:
            return whole
        with Building(home.building, inputs, dim) as building:
            began = ServedProducts.noted(building.folder / "began.npz", home)
            _embed(building, source, repository, pipeline, server=server, ray=ray, progress=progress, say=say)
            done = building.progress
            if done.products == 0:
                reason = _nothing(source, building.index / "skipped.csv")
                building.remove()
                raise reason
            started = time.perf_counter()
            chosen, recall = finish(building, choose_recipe(done.products, recipe, dim=dim, memory=memory), pipeline)
            if with_towers:
                carry_towers(repository, building.index)
            manifest = Manifest(
                generation=0,
                count=done.products,
                dim=dim,
                tower_hash=pipeline.bundle.tower_hash,
                recipe=chosen,
                recall_at_100=round(recall, 4),
                skipped=done.skipped,
                build_seconds=round(done.seconds + time.perf_counter() - started, 1),
                catalog=os.pathsep.join(str(path.resolve()) for path in _listed(catalog)),
                unfilterable=source.unfilterable,
                built_from={**inputs, **asked},
                created=datetime.now(UTC).isoformat(timespec="seconds"),
            )
            return publish_build(home, building, manifest, began, asked, say)


def built_already(
    catalog: Path | Sequence[Path], repository: Path, out: Path, *, recipe: str | None = None, with_towers: bool = False
) -> Manifest | None:
    """The manifest of what is served, where `build_index` with the same arguments made it; None where it did not.

    A catalogue is the same while path, size and date of its files are. Updates since the build count as its own.

    Raises:
        BundleUnfit: the repository's files are not those that were exported together.
        CatalogError: a file is not a catalogue.
        FileNotFoundError: the repository is incomplete.
    """
    try:
        served = read_manifest(out)
    except IndexUnfit:
        return None
    asked = {"recipe": recipe, "with_towers": with_towers}
    same = served.built_from == {**_inputs(Catalog(catalog), InProcessPipeline(repository)), **asked}
    return served if same else None


def _embed(
    building: Building,
    source: Catalog,
    repository: Path,
    pipeline: InProcessPipeline,
    *,
    server: str | None,
    ray: str | None,
    progress: bool,
    say: Callable[[str], None],
) -> None:
    """Embed the rows that `building` does not have yet."""
    start = building.progress.rows
    if building.changed:
        say(f"starting over: an interrupted build was of other inputs ({', '.join(building.changed)})")
    if start:
        say(f"going on after an interrupted build: {start} of {source.rows} rows are embedded")
    if start == source.rows:
        return
    if ray is not None:
        embedded = embed_with_ray(source, repository, building.folder / "ray", start, ray, progress=progress)
        rate = embed_catalog(building, embedded, source.rows, progress=progress)
    elif server is not None:
        remote = ServerEmbedder(server, pipeline)
        embedded = embed_in_order(source, remote, start)
        rate = embed_catalog(building, embedded, source.rows, progress=progress, check=remote.check)
    else:
        embedded = embed_in_order(source, LocalEmbedder(pipeline), start)
        rate = embed_catalog(building, embedded, source.rows, progress=progress)
    say(f"embedded {building.progress.products} products, {rate:.0f} products/s")


def _inputs(catalog: Catalog, pipeline: InProcessPipeline) -> dict[str, Any]:
    """What decides the ids and vectors of a build."""
    stats = [(file, file.stat()) for file in catalog.files]
    return {
        "catalogue": [[str(file), stat.st_size, stat.st_mtime_ns] for file, stat in stats],
        "towers": pipeline.bundle.tower_hash,
        "precision": pipeline.bundle.precision,
        "batch rows": TOWER_ROWS,
    }


def _nothing(catalog: Catalog, skipped: Path | None) -> CatalogError:
    first = ""
    if skipped is not None:
        with skipped.open(newline="") as file:
            first = f"; the first reason: {next(csv.DictReader(file))['reason']}"
    named = catalog.files[0] if len(catalog.files) == 1 else f"{len(catalog.files)} files"
    return CatalogError(f"catalog: none of the {catalog.rows} rows of {named} can be indexed{first}")


def _listed(catalog: Path | Sequence[Path]) -> list[Path]:
    return [catalog] if isinstance(catalog, Path) else list(catalog)
