"""Index folders: the files that a build writes and a server reads.

manifest.json        what the index is, how it was built, how well it finds
vectors.npy          (base rows, dim) float32, for exact search and rebuilding
product_ids.npy      (rows,) int64
content.npy          (rows,) uint64, see `shopwindow.retrieval.embedding.content_hash`; only updates read it
attributes.parquet   title and attribute columns, one row per product
index.faiss          the FAISS index of the base rows; absent for the flat recipe, which searches vectors.npy
lexical/             BM25 over the titles; absent if no product has a title, and in folders of earlier versions
skipped.csv          rows of the catalogue, or of the changes, that could not be indexed, with reasons

An index that was updated after its build also has

delta.npy            (delta rows, dim) float32: products added or embedded again, numbered after the base rows
alive.npy            (rows,) bool: False for removed products, and for rows that a delta row replaces

Then rows = base rows + delta rows, and all files with `rows` entries describe both.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shopwindow.base.whole_folders import FileMark, mark_of, replacing
from shopwindow.retrieval.engines import EngineOptions, FaissCpuEngine, SearchEngine, open_engine
from shopwindow.retrieval.engines.recipes import Recipe
from shopwindow.retrieval.engines.row_mask import RowMask
from shopwindow.retrieval.engines.segmented import SegmentedEngine
from shopwindow.retrieval.engines.stored_vectors import JoinedVectors, Vectors
from shopwindow.retrieval.errors import IndexUnfit
from shopwindow.retrieval.index.home import resolve_index
from shopwindow.retrieval.index.lexical import LexicalIndex

FORMAT = 1
MANIFEST = "manifest.json"
_BASE = frozenset({"vectors.npy", "index.faiss"})
_PARTS = _BASE | {"product_ids.npy", "attributes.parquet", "lexical"}  # an update may leave these unchanged


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What manifest.json says about an index folder.

    Attributes:
        generation: counts up with every build into the same place. Replies carry it.
        count: number of products that can be found.
        dim: vector length.
        tower_hash: identifies the towers (with their tokenizer and preprocessor) that made the vectors.
        recipe: see `Recipe`.
        recall_at_100: recall against exact search, 0 to 1. The queries are a sample of the catalogue's own titles.
        skipped: number of rows of the catalogue, or of the changes, that were left out.
        build_seconds: wall time of embedding and indexing.
        catalog: path of the catalogue, from which photos are shown.
        unfilterable: columns of the catalogue whose types cannot be filtered on.
        delta: number of rows that updates added to the base.
        dead: number of rows that can no longer be found. Compaction removes them.
        built_from: the inputs of the build, which identify it. Updates and compaction leave them unchanged. Empty in
            folders of earlier versions.
        created: UTC, ISO 8601.
    """

    generation: int
    count: int
    dim: int
    tower_hash: str
    recipe: Recipe
    recall_at_100: float
    skipped: int
    build_seconds: float
    catalog: str
    created: str
    unfilterable: tuple[str, ...] = ()
    delta: int = 0
    dead: int = 0
    built_from: Mapping[str, Any] = field(default_factory=dict)
    metric: str = "inner_product"
    format: int = FORMAT

    @property
    def rows(self) -> int:
        """Number of rows in every file with one row per product: `count` plus `dead`."""
        return self.count + self.dead


@dataclass(frozen=True, kw_only=True)
class IndexFolder:
    """An index folder in memory.

    Attributes:
        manifest: the folder's manifest.
        vectors: (base rows, dim) float32, memory-mapped.
        product_ids: (rows,) int64. A product that was embedded again has several rows, of which one is alive.
        attributes: the attribute columns, `rows` rows.
        engine: searches base and delta.
        lexical: the lexical channel over all rows; None if the folder has none.
        delta: (delta rows, dim) float32, memory-mapped; None if there are no delta rows.
        alive: the rows that can be found; None if all can.
        marks: the marks of the files it was read from. A folder that shares some of them does not load those again.
    """

    manifest: Manifest
    vectors: np.ndarray
    product_ids: np.ndarray
    attributes: pa.Table
    engine: SearchEngine
    lexical: LexicalIndex | None = None
    delta: np.ndarray | None = None
    alive: RowMask | None = None
    marks: Mapping[str, FileMark | None] = field(default_factory=dict)

    @property
    def all_vectors(self) -> Vectors:
        """The vectors of all rows, (rows, dim) float32."""
        return self.vectors if self.delta is None else JoinedVectors(self.vectors, self.delta)

    @property
    def live_rows(self) -> np.ndarray:
        """The numbers of the rows that can be found, (count,) int64 in rising order."""
        return np.arange(len(self.product_ids)) if self.alive is None else np.flatnonzero(self.alive.rows)


def read_manifest(folder: Path) -> Manifest:
    """Read only `manifest.json`.

    Args:
        folder: an index folder, or an index home, from which the served generation is read.

    Raises:
        IndexUnfit: there is no index, or this version does not know its format.
    """
    folder = resolve_index(folder)
    file = folder / MANIFEST
    if not file.is_file():
        raise IndexUnfit(f"no index in {folder} (manifest.json is missing); build one with: shopwindow index")
    try:
        fields = json.loads(file.read_text())
        if fields.get("format") != FORMAT:
            raise IndexUnfit(f"{file}: format {fields.get('format')!r}, this version reads format {FORMAT}")
        fields["unfilterable"] = tuple(fields.get("unfilterable", ()))
        return Manifest(**{**fields, "recipe": Recipe(**fields["recipe"])})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IndexUnfit(f"{file}: not a manifest ({error!r})") from error


def shared_parts(folder: Path, before: IndexFolder | None) -> frozenset[str]:
    """Return the names of the parts that an index folder has in common with a loaded one.

    These are the parts that an update left unchanged. If the base differs, no part counts as shared.
    """
    if before is None:
        return frozenset()
    shared = {name for name in _PARTS if mark_of(folder / name) == before.marks.get(name)}
    # The memory map of `before` keeps its vectors.npy alive, so no other file can have the same mark.
    if not shared >= _BASE or read_manifest(folder).recipe != before.manifest.recipe:
        return frozenset()
    return frozenset(shared)


def read_index(folder: Path, options: EngineOptions | None = None, before: IndexFolder | None = None) -> IndexFolder:
    """Load an index folder and check that its parts belong together.

    Args:
        folder: an index folder, or an index home, from which the served generation is read.
        options: the engine to search with; None searches on the CPU.
        before: a folder that was loaded with the same options. The parts that both share are not loaded again.

    Raises:
        IndexUnfit: a file is missing or unreadable, or counts or dimensions disagree.
        EngineUnfit: the requested engine cannot hold this index.
    """
    folder = resolve_index(folder)  # only once, because another generation may be published meanwhile
    manifest = read_manifest(folder)
    shared = shared_parts(folder, before)
    marks = {name: mark_of(folder / name) for name in _PARTS}
    engine: SearchEngine
    if before is not None and shared >= _BASE:
        vectors = before.vectors
        engine = before.engine.base if isinstance(before.engine, SegmentedEngine) else before.engine
    else:
        with _reading(folder / "vectors.npy") as file:
            vectors = np.load(file, mmap_mode="r")
        with _reading(folder / "index.faiss") as file:
            engine = open_engine(vectors, file, manifest.recipe, options or EngineOptions())
    if before is not None and "product_ids.npy" in shared:
        product_ids = before.product_ids
    else:
        with _reading(folder / "product_ids.npy") as file:
            product_ids = np.load(file)
    if before is not None and "attributes.parquet" in shared:
        attributes = before.attributes
    else:
        with _reading(folder / "attributes.parquet") as file:
            attributes = pq.read_table(file)
    counts = {
        "manifest.json": manifest.rows,
        "vectors.npy": len(vectors) + manifest.delta,
        "product_ids.npy": len(product_ids),
        "attributes.parquet": attributes.num_rows,
        "index.faiss": engine.rows + manifest.delta,
    }
    dims = {"manifest.json": manifest.dim, "vectors.npy": vectors.shape[1], "index.faiss": engine.dim}
    delta, alive = None, None
    if manifest.delta:
        with _reading(folder / "delta.npy") as file:
            delta = np.load(file, mmap_mode="r")  # the engine holds a copy
        counts["delta.npy"] = len(vectors) + len(delta)
        dims["delta.npy"] = delta.shape[1]
    if manifest.dead:
        with _reading(folder / "alive.npy") as file:
            alive = RowMask(np.load(file))
        counts["alive.npy"] = len(alive)
        counts["alive.npy, False counted by manifest.json"] = alive.count + manifest.dead
    if before is not None and "lexical" in shared:
        lexical = before.lexical
    else:
        lexical = LexicalIndex.read(folder / "lexical") if (folder / "lexical").exists() else None
    if lexical is not None:
        counts["lexical"] = lexical.rows
    if len(set(counts.values())) != 1 or len(set(dims.values())) != 1:
        raise IndexUnfit(f"{folder}: parts disagree: rows {counts}, dimensions {dims}")
    if read_manifest(folder) != manifest:
        raise IndexUnfit(f"{folder}: another index replaced it while it was being read; read it again")
    return IndexFolder(
        manifest=manifest,
        vectors=vectors,
        product_ids=product_ids,
        attributes=attributes,
        engine=engine if delta is None else SegmentedEngine(engine, vectors, delta),
        lexical=lexical,
        delta=delta,
        alive=alive,
        marks=marks,
    )


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json`. Write it last, because this file makes a folder an index folder."""
    (folder / MANIFEST).write_text(json.dumps(asdict(manifest), indent=2) + "\n")


@contextmanager
def _reading(file: Path) -> Iterator[Path]:
    try:
        yield file
    except (OSError, EOFError, ValueError, RuntimeError, pa.ArrowException) as error:
        raise IndexUnfit(f"{file}: {error}") from error


def write_index(
    folder: Path,
    *,
    manifest: Manifest,
    vectors: np.ndarray,
    product_ids: np.ndarray,
    attributes: pa.Table,
    engine: FaissCpuEngine,
    skipped: str,
    lexical: LexicalIndex | None = None,
    content: np.ndarray | None = None,
) -> None:
    """Write an index folder as a whole: a reader finds either the previous one or this one.

    Args:
        folder: the folder to write. An index that is already there is replaced.
        manifest: see `Manifest`.
        vectors: (rows, dim) float32.
        product_ids: (rows,) int64.
        attributes: one row per product.
        engine: the built engine.
        skipped: the text of skipped.csv.
        lexical: the lexical channel; None leaves it out.
        content: (rows,) uint64, see `shopwindow.retrieval.embedding.content_hash`; without them the index cannot be
            updated.
    """
    with replacing(folder, MANIFEST) as new:
        np.save(new / "vectors.npy", vectors)
        np.save(new / "product_ids.npy", product_ids)
        pq.write_table(attributes, new / "attributes.parquet")
        if manifest.recipe.kind != "flat":
            engine.write(new / "index.faiss")
        if lexical is not None:
            lexical.write(new / "lexical")
        if content is not None:
            np.save(new / "content.npy", content)
        (new / "skipped.csv").write_text(skipped)
        write_manifest(new, manifest)
