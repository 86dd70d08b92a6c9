"""`shopwindow index`: build a generation of an index home from any catalogue, in stages that survive a kill."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shopwindow.base.machine import available_memory
from shopwindow.indexing.catalogue.options import CatalogOptions
from shopwindow.indexing.catalogue.reading import Catalog
from shopwindow.indexing.errors import CatalogError
from shopwindow.indexing.full_build.embedded_parts import Building
from shopwindow.indexing.full_build.embedders import LocalEmbedder, ServerEmbedder, embed_in_order
from shopwindow.indexing.full_build.embedding import embed_catalog
from shopwindow.indexing.full_build.finishing import finish
from shopwindow.indexing.full_build.publishing import finish_interrupted, publish_build
from shopwindow.indexing.full_build.ray_embedding import embed_with_ray
from shopwindow.indexing.full_build.removed_meanwhile import ServedProducts
from shopwindow.indexing.inspection.survey import survey
from shopwindow.indexing.inspection.table import survey_table
from shopwindow.retrieval.embedding.bundle import carry_towers
from shopwindow.retrieval.embedding.folding import FOLDING
from shopwindow.retrieval.engines.recipes import choose_recipe
from shopwindow.retrieval.errors import IndexUnfit
from shopwindow.retrieval.index.folder import Manifest, read_manifest
from shopwindow.retrieval.index.home import IndexHome, check_home
from shopwindow.retrieval.index.lexical_words import WordSplitter
from shopwindow.retrieval.pipeline import TOWER_ROWS, InProcessPipeline

_SHOWN_COLUMNS = 20
MEMORY_SHARE = 0.7  # share of the free memory that the index may take by default


def build_index(
    catalog: Path | Sequence[Path],
    repository: Path,
    out: Path,
    *,
    reading: CatalogOptions | None = None,
    recipe: str | None = None,
    memory: int | None = None,
    server: str | None = None,
    ray: str | None = None,
    with_towers: bool = False,
    stop_words: Path | None = None,
    force: bool = False,
    progress: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> Manifest:
    """Embed a catalogue with a repository's product tower, index it, and publish the new generation.

    After a kill, call it again with the same catalogue and towers: the build goes on after its last finished part. With
    another catalogue or other towers it starts over. Meanwhile the served generation may be updated and rolled back.
    Products removed since the build began stay removed; everything else is as in the catalogue.

    Args:
        catalog: see `Catalog`.
        repository: an exported model repository.
        out: index home. Its served generation stays in service until the new one is complete.
        reading: how the catalogue's files are read; None for the defaults.
        recipe: one of `shopwindow.retrieval.engines.recipes.KINDS`; None chooses by count and memory.
        memory: bytes that the index may take while it is built; None allows a share of the free memory.
        server: host:port of a running server that embeds; None embeds here.
        ray: address of a Ray cluster that embeds, or "local" to start one on this machine; None embeds without Ray.
        with_towers: whether the generation carries the repository's towers, see
            `shopwindow.retrieval.embedding.bundle`.
        stop_words: a text file of words that the lexical channel does not compare; None for the usual ones.
        force: publish the generation even if it finds too little of what exact search finds.
        progress: show a bar.
        say: receives messages, a line at a time.

    Returns:
        The published manifest.

    Raises:
        CatalogError: a file is not a catalogue, or none of its rows can be indexed.
        IndexingError: the server runs other towers, Ray is not installed, or there is no Ray cluster at the address.
        FileExistsError: `out` holds something that is not an index home.
        FileNotFoundError: the repository is incomplete, or there is no file of stop words.
        IndexUnfit: another build is under way in `out`.
        RecallTooLow: the recall is below PROMISED_RECALL. The embedded products are kept for the next build.
        ValueError: unknown recipe, no recipe fits into memory, the stop words are not UTF-8, or both a server and a Ray
            cluster are given.
    """
    if server is not None and ray is not None:
        raise ValueError("server, ray: only one of them can embed, both were given")
    check_home(out)
    source = Catalog(catalog, reading)
    found = survey(source, progress=progress)
    say(survey_table(found, most=_SHOWN_COLUMNS))
    found.check()  # before hours of embedding
    splitter = _splitter(stop_words)
    pipeline = InProcessPipeline(repository)
    dim = pipeline.bundle.embedding_dim
    memory = int(MEMORY_SHARE * available_memory()) if memory is None else memory
    # Called for its errors: they must come before hours of embedding, not after.
    choose_recipe(source.rows, recipe, dim=dim, memory=memory)
    if not source.check_photos(pipeline.bundle.photos_per_product):
        say(f"warning: none of the {source.rows} products has a photo, although there is a column for photos")
    home, inputs, options = IndexHome(out), _inputs(source, pipeline), _options(recipe, with_towers, splitter)
    with home.filling():
        finished = finish_interrupted(home, inputs, options, say)
        if finished is not None:
            return finished
        with Building(home.building, inputs, dim) as building:
            began = ServedProducts.noted(building.folder / "began.npz", home)
            _embed(building, source, repository, pipeline, server=server, ray=ray, progress=progress, say=say)
            done = building.progress
            if done.products == 0:
                error = _nothing_to_index(source, building.index / "skipped.csv")
                building.remove()
                raise error
            started = time.perf_counter()
            chosen = choose_recipe(done.products, recipe, dim=dim, memory=memory)
            chosen, recall = finish(building, chosen, pipeline, splitter=splitter, force=force)
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
                unread_photos=done.unread,
                build_seconds=round(done.seconds + time.perf_counter() - started, 1),
                catalog=os.pathsep.join(str(path.resolve()) for path in _listed(catalog)),
                unfilterable=source.unfilterable,
                built_from={**inputs, **options},
                reading=source.options.to_json(),
                created=datetime.now(UTC).isoformat(timespec="seconds"),
            )
            return publish_build(home, building, manifest, began, options, say, report={"catalogue": found.to_json()})


def built_already(
    catalog: Path | Sequence[Path],
    repository: Path,
    out: Path,
    *,
    reading: CatalogOptions | None = None,
    recipe: str | None = None,
    with_towers: bool = False,
    stop_words: Path | None = None,
) -> Manifest | None:
    """Return the manifest of the served generation if `build_index` made it from the same arguments, else None.

    A catalogue counts as the same if its files have the same paths, sizes and dates. Updates since then do not matter.

    Raises:
        BundleUnfit: the repository's files are not those that were exported together.
        CatalogError: a file is not a catalogue.
        FileNotFoundError: the repository is incomplete, or there is no file of stop words.
        ValueError: the stop words are not UTF-8.
    """
    try:
        served = read_manifest(out)
    except IndexUnfit:
        return None
    options = _options(recipe, with_towers, _splitter(stop_words))
    same = served.built_from == {**_inputs(Catalog(catalog, reading), InProcessPipeline(repository)), **options}
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
        say(f"starting over: an interrupted build had other inputs ({', '.join(building.changed)})")
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
    """Return what the ids and vectors of a build depend on."""
    stats = [(file, file.stat()) for file in catalog.files]
    reading = catalog.options.to_json()
    return {
        **({"ids": "text"} if catalog.text_ids else {}),  # CSV files may hold either
        "catalogue": [[str(file), stat.st_size, stat.st_mtime_ns] for file, stat in stats],
        "columns": [[field.name, str(field.type)] for field in catalog.stored],
        **({"reading": reading} if reading else {}),  # not if empty, so that older builds stay the same
        "towers": pipeline.bundle.tower_hash,
        "precision": pipeline.bundle.precision,
        "batch rows": TOWER_ROWS,
        "folding": FOLDING,
    }


def _splitter(stop_words: Path | None) -> WordSplitter:
    return WordSplitter.from_file(stop_words) if stop_words else WordSplitter()


def _options(recipe: str | None, with_towers: bool, splitter: WordSplitter) -> dict[str, Any]:
    """Return what an index depends on beside its ids and vectors."""
    return {"recipe": recipe, "with_towers": with_towers, "stop_words": sorted(splitter.stop_words)}


def _nothing_to_index(catalog: Catalog, skipped: Path) -> CatalogError:
    with skipped.open(newline="") as file:
        first = f"; the first reason: {next(csv.DictReader(file))['reason']}"
    named = catalog.files[0] if len(catalog.files) == 1 else f"{len(catalog.files)} files"
    return CatalogError(f"catalog: none of the {catalog.rows} rows of {named} can be indexed{first}")


def _listed(catalog: Path | Sequence[Path]) -> list[Path]:
    return [catalog] if isinstance(catalog, Path) else list(catalog)
