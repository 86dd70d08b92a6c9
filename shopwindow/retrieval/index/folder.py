"""Index folders: the files that a build writes and a server reads.

manifest.json        what the index is, how it was built, how well it finds, and checksums of all files
vectors.npy          (base rows, dim) float32, for exact search and rebuilding
product_ids.npy      (rows,) int64; of text ids, their numbers
product_keys.arrow   the text ids, see `shopwindow.retrieval.index.product_keys`; absent if ids are whole numbers
content.npy          (rows,) uint64, see `shopwindow.retrieval.embedding.content_hash`; only updates read it
attributes.parquet   title and attribute columns, one row per product
attributes.arrow     the same as JSON texts for replies, see `shopwindow.retrieval.index.attribute_texts`; absent in
                     folders of earlier versions
index.faiss          the FAISS index of the base rows; absent for the flat recipe, which searches vectors.npy
index.rows.npy       (base rows,) int64: the first row with an equal vector. Of those, index.faiss holds only the first.
                     Absent if index.faiss holds a vector for each row
lexical/             BM25 over the titles; absent if no product has a title, and in folders of earlier versions
skipped.csv          rows of the catalogue, or of the changes, that could not be indexed, with reasons
unread_photos.csv    rows of the catalogue, or of the changes, that were indexed without some of their photos, with
                     reasons; absent in folders of earlier versions
report.json          what made the generation, and what became of each row; absent in folders of earlier versions

An index that was updated after its build also has

delta.npy            (delta rows, dim) float32: products added or embedded again, numbered after the base rows
alive.npy            (rows,) bool: False for removed products, and for rows that a delta row replaces

Then rows = base rows + delta rows, and all files with `rows` entries describe both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
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
from shopwindow.retrieval.errors import IndexUnfit, Unfit
from shopwindow.retrieval.index.attribute_texts import FILE as ATTRIBUTE_TEXTS
from shopwindow.retrieval.index.attribute_texts import AttributeTexts, read_texts, write_texts
from shopwindow.retrieval.index.checksums import (
    MANIFEST,
    Checked,
    Checksums,
    Verify,
    check_folder,
    folder_sums,
    read_sealed,
    seal,
)
from shopwindow.retrieval.index.home import resolve_index
from shopwindow.retrieval.index.lexical import LexicalIndex
from shopwindow.retrieval.index.product_keys import FILE as PRODUCT_KEYS
from shopwindow.retrieval.index.product_keys import read_keys, write_keys

_LARGE = ("index.faiss", "vectors.npy")
_BASE = frozenset({*_LARGE, "index.rows.npy"})
# Updates may leave these unchanged.
_PARTS = _BASE | {"product_ids.npy", PRODUCT_KEYS, "attributes.parquet", ATTRIBUTE_TEXTS, "lexical"}


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
        unread_photos: number of rows that were indexed without some of their photos, because these cannot be read.
        build_seconds: wall time of embedding and indexing.
        catalog: path of the catalogue, from which photos are shown.
        unfilterable: columns of the catalogue that are no attributes, most because of their types.
        delta: number of rows that updates added to the base.
        dead: number of rows that can no longer be found. Compaction removes them.
        built_from: the inputs of the build, which identify it. Updates and compaction leave them unchanged. Empty in
            folders of earlier versions.
        reading: how the catalogue's files were read, see `shopwindow.indexing.catalogue.options`. Updates read changes
            in the same way. Empty for the defaults, and in folders of earlier versions.
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
    reading: Mapping[str, Any] = field(default_factory=dict)
    unread_photos: int = 0
    metric: str = "inner_product"

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
        product_keys: the text ids, (rows,) large_string, memory-mapped; None if ids are whole numbers.
        attribute_texts: title and attributes as JSON, `rows` rows, memory-mapped; None in folders of earlier versions.
        delta: (delta rows, dim) float32, memory-mapped; None if there are no delta rows.
        alive: the rows that can be found; None if all can.
        marks: the marks of the files it was read from. A folder that shares some of them does not load those again.
        checked: the files that were compared with their checksums. A folder that shares some does not read those again.
    """

    manifest: Manifest
    vectors: np.ndarray
    product_ids: np.ndarray
    attributes: pa.Table
    engine: SearchEngine
    lexical: LexicalIndex | None = None
    product_keys: pa.Array | None = None
    attribute_texts: AttributeTexts | None = None
    delta: np.ndarray | None = None
    alive: RowMask | None = None
    marks: Mapping[str, FileMark | None] = field(default_factory=dict)
    checked: Checked = field(default_factory=dict)

    @property
    def all_vectors(self) -> Vectors:
        """The vectors of all rows, (rows, dim) float32."""
        return self.vectors if self.delta is None else JoinedVectors(self.vectors, self.delta)

    @property
    def live_rows(self) -> np.ndarray:
        """The numbers of the rows that can be found, (count,) int64 in rising order."""
        return np.arange(len(self.product_ids)) if self.alive is None else np.flatnonzero(self.alive.rows)


def read_manifest(folder: Path, verify: Verify | None = None) -> Manifest:
    """Read only `manifest.json`.

    Args:
        folder: an index folder, or an index home, from which the served generation is read.
        verify: Verify.OFF reads a manifest that was changed after it was written; None takes it from the environment.

    Raises:
        IndexUnfit: there is no index, this version does not know its format, or the manifest was changed.
    """
    folder = resolve_index(folder)
    fields, _ = read_sealed(folder, verify)
    try:
        fields["unfilterable"] = tuple(fields.get("unfilterable", ()))
        return Manifest(**{**fields, "recipe": Recipe(**fields["recipe"])})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IndexUnfit(f"{folder / MANIFEST}: not a manifest ({error!r})", kind=Unfit.UNREADABLE) from error


def shared_parts(folder: Path, before: IndexFolder | None) -> frozenset[str]:
    """Return the names of the parts that an index folder has in common with a loaded one.

    These are the parts that an update left unchanged. If the base differs, no part counts as shared.
    """
    if before is None:
        return frozenset()
    shared = {name for name in _PARTS if mark_of(folder / name) == before.marks.get(name)}
    # The memory map of `before` keeps its vectors.npy alive, so no other file can have the same mark.
    if not shared >= _BASE or read_manifest(folder, Verify.OFF).recipe != before.manifest.recipe:
        return frozenset()
    return frozenset(shared)


def read_index(
    folder: Path,
    options: EngineOptions | None = None,
    before: IndexFolder | None = None,
    *,
    verify: Verify | None = None,
) -> IndexFolder:
    """Load an index folder, and check that its files are what was written and belong together.

    Args:
        folder: an index folder, or an index home, from which the served generation is read.
        options: the engine to search with; None searches on the CPU.
        before: a folder that was loaded with the same options. The parts that both share are not loaded again.
        verify: how thoroughly the files are compared with their checksums; None takes it from the environment.

    Raises:
        IndexUnfit: a file is missing, changed or unreadable, or counts or dimensions disagree.
        EngineUnfit: the requested engine cannot hold this index.
    """
    folder = resolve_index(folder)  # only once, because another generation may be published meanwhile
    with _checking(folder, before, verify) as (checked, engine_checked):
        return _load(folder, options or EngineOptions(), before, verify, checked, engine_checked)


@contextmanager
def _checking(
    folder: Path, before: IndexFolder | None, verify: Verify | None
) -> Iterator[tuple[Checked, Callable[[], object]]]:
    """Compare the files of a folder with their checksums: the large ones while the block runs, the others before it.

    So the block may see wrong vectors, and then this fails at its end. No parser reads them.

    Yields:
        The files that are right, with the large ones once the block has ended. And a function that returns when
        index.faiss is known to be right, or raises: call it before FAISS reads the file.
    """
    known = before.checked if before is not None else {}
    checked = dict(check_folder(folder, verify, checked=known, leave_out=_LARGE))
    with ThreadPoolExecutor(1) as thread:
        engine, vectors = (thread.submit(check_folder, folder, verify, checked=known, only={name}) for name in _LARGE)
        try:
            yield checked, engine.result
        finally:
            checked.update({**engine.result(), **vectors.result()})  # if both fail, this error names the cause


def _load(
    folder: Path,
    options: EngineOptions,
    before: IndexFolder | None,
    verify: Verify | None,
    checked: Checked,
    engine_checked: Callable[[], object],
) -> IndexFolder:
    """Load an index folder. The arguments are as for `read_index`, or come from `_checking`."""
    manifest = read_manifest(folder, verify)
    shared = shared_parts(folder, before)
    marks = {name: mark_of(folder / name) for name in _PARTS}
    if before is not None and "product_ids.npy" in shared:
        product_ids = before.product_ids
    else:
        with _reading(folder / "product_ids.npy") as file:
            product_ids = np.load(file)
    if before is not None and PRODUCT_KEYS in shared:
        product_keys = before.product_keys
    else:
        with _reading(folder / PRODUCT_KEYS) as file:
            product_keys = read_keys(folder)
    if before is not None and "attributes.parquet" in shared:
        attributes = before.attributes
    else:
        with _reading(folder / "attributes.parquet") as file:
            attributes = pq.read_table(file)
    if before is not None and ATTRIBUTE_TEXTS in shared:
        attribute_texts = before.attribute_texts
    else:
        with _reading(folder / ATTRIBUTE_TEXTS):
            attribute_texts = read_texts(folder)
    if before is not None and "lexical" in shared:
        lexical = before.lexical
    else:
        lexical = LexicalIndex.read(folder / "lexical") if (folder / "lexical").exists() else None
    engine: SearchEngine
    if before is not None and shared >= _BASE:
        vectors = before.vectors
        engine = before.engine.base if isinstance(before.engine, SegmentedEngine) else before.engine
    else:
        with _reading(folder / "vectors.npy") as file:
            vectors = np.load(file, mmap_mode="r")
        engine_checked()
        with _reading(folder / "index.faiss") as file:
            engine = open_engine(vectors, file, manifest.recipe, options)
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
    if product_keys is not None:
        counts[PRODUCT_KEYS] = len(product_keys)
    if attribute_texts is not None:
        counts[ATTRIBUTE_TEXTS] = attribute_texts.rows
    if lexical is not None:
        counts["lexical"] = lexical.rows
    if len(set(counts.values())) != 1 or len(set(dims.values())) != 1:
        raise IndexUnfit(f"{folder}: parts disagree: rows {counts}, dimensions {dims}", kind=Unfit.UNREADABLE)
    if read_manifest(folder, verify) != manifest:
        raise IndexUnfit(f"{folder}: another index replaced it while it was being read; read it again")
    return IndexFolder(
        manifest=manifest,
        vectors=vectors,
        product_ids=product_ids,
        attributes=attributes,
        engine=engine if delta is None else SegmentedEngine(engine, vectors, delta),
        lexical=lexical,
        product_keys=product_keys,
        attribute_texts=attribute_texts,
        delta=delta,
        alive=alive,
        marks=marks,
        checked=checked,
    )


def write_manifest(folder: Path, manifest: Manifest, known: Checksums | None = None) -> None:
    """Write `manifest.json` with the checksums of all other files.

    Write it last, because this file makes a folder an index folder, and no file may change after it.

    Args:
        folder: the index folder.
        manifest: what to write.
        known: checksums of files that are already known; the other files are read.
    """
    (folder / MANIFEST).write_text(seal(asdict(manifest), folder_sums(folder, known or {})))


@contextmanager
def _reading(file: Path) -> Iterator[Path]:
    try:
        yield file
    except (OSError, EOFError, ValueError, RuntimeError, pa.ArrowException) as error:
        raise IndexUnfit(f"{file}: {error}", kind=Unfit.UNREADABLE) from error


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
    product_keys: pa.Array | None = None,
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
        product_keys: the text ids, (rows,) large_string; None if ids are whole numbers.
    """
    with replacing(folder, MANIFEST) as new:
        np.save(new / "vectors.npy", vectors)
        np.save(new / "product_ids.npy", product_ids)
        if product_keys is not None:
            write_keys(new, product_keys)
        pq.write_table(attributes, new / "attributes.parquet")
        write_texts(new, attributes)
        if manifest.recipe.kind != "flat":
            engine.write(new / "index.faiss")
        if lexical is not None:
            lexical.write(new / "lexical")
        if content is not None:
            np.save(new / "content.npy", content)
        (new / "skipped.csv").write_text(skipped)
        write_manifest(new, manifest)
