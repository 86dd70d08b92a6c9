"""`shopwindow update`: write changed and removed products as a delta beside the index that was built."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shopwindow.base.machine import usable_cores
from shopwindow.base.progress_bar import progress_bar
from shopwindow.base.skipped_rows import Skipped
from shopwindow.indexing.catalogue.columns import ID, TITLE
from shopwindow.indexing.catalogue.reading import CatalogRows, prepare
from shopwindow.indexing.errors import CatalogError
from shopwindow.indexing.update.attribute_rows import Merge, merge_attributes
from shopwindow.indexing.update.changes import Change, ChangedRows, ChangeFile, LiveProducts
from shopwindow.indexing.update.next_generation import Generation, changing, link_files
from shopwindow.retrieval.embedding.bundle import Bundle, towers_of
from shopwindow.retrieval.embedding.content_hash import content_hash
from shopwindow.retrieval.embedding.product_inputs import ProductBatch
from shopwindow.retrieval.engines.recipes import FLAT_ROWS
from shopwindow.retrieval.errors import IndexUnfit
from shopwindow.retrieval.index.folder import MANIFEST, Manifest, write_manifest
from shopwindow.retrieval.index.lexical import LexicalIndex
from shopwindow.retrieval.pipeline import InProcessPipeline
from shopwindow.retrieval.request.attribute_columns import AttributeTable

# Compaction pays beyond this share of dead and delta rows: searches read dead rows in vain, and delta rows one by one.
_COMPACT_SHARE = 0.1


@dataclass(frozen=True, kw_only=True)
class Update:
    """What an update did.

    Attributes:
        generation: number of the generation that is served now.
        added: products that are new.
        embedded_again: products whose title or photo changed.
        attributes_only: products that had only attributes given or changed.
        removed: products that can no longer be found.
        unknown: ids to remove that the index does not have.
        skipped: rows of the change file that were left out.
        reasons: for the first five skipped rows. If a generation was published, its skipped.csv has all.
        manifest: the generation's manifest.
    """

    generation: int
    added: int
    embedded_again: int
    attributes_only: int
    removed: int
    unknown: tuple[int, ...]
    skipped: int
    reasons: tuple[str, ...]
    manifest: Manifest

    @property
    def published(self) -> bool:
        """Whether there was anything to change."""
        return bool(self.added or self.embedded_again or self.attributes_only or self.removed)

    @property
    def compaction_pays(self) -> bool:
        """Whether so much was updated that searches became slower."""
        delta, dead = self.manifest.delta, self.manifest.dead
        return delta + dead > _COMPACT_SHARE * self.manifest.rows or delta > FLAT_ROWS


def update_index(
    home: Path, repository: Path, *, changes: Path | None = None, removed: Sequence[int] = (), progress: bool = True
) -> Update:
    """Publish a new generation: the served one with some products added, changed or removed.

    Only changes are written. The base's vectors and its FAISS index are shared with the generation before. If a row was
    added, the lexical channel is built again from all titles: some 65 µs a title, over five minutes for 5 million.
    Removals and changed attributes leave it as it is.

    Args:
        home: an index home.
        repository: its product tower embeds; it is read only if there is something to embed. If the generation carries
            its towers, those are used instead.
        changes: see `shopwindow.indexing.update.changes`.
        removed: ids of products to remove; a row of `changes` for one of them is skipped.
        progress: show a bar.

    Raises:
        CatalogError: the change file does not fit the index, or no product would be left.
        IndexUnfit: there is no index, another process writes there, or the repository has other towers than the index.
        ValueError: neither changes nor products to remove were given.
    """
    if changes is None and not len(removed):
        raise ValueError("changes, removed: nothing to do: give a file of changes, or ids to remove, or both")
    started = time.perf_counter()
    with changing(home) as (place, served, folder):
        delta = _Delta(served, repository, removed)
        if changes is not None:
            file = ChangeFile(changes, delta.products)
            with progress_bar(total=file.rows, desc="updating", unit="product", enabled=progress) as bar:
                for rows in file.read():
                    delta.apply(rows)
                    bar.update(len(rows.ids))
        if not delta.changed:  # an equal generation would push out an older one that a rollback may need
            return delta.result(served.manifest)
        delta.write(folder)
        number = place.next_generation
        manifest = replace(
            served.manifest,
            generation=number,
            count=int(delta.alive.sum()),
            delta=served.manifest.delta + delta.merge.new_rows,
            dead=int((~delta.alive).sum()),
            skipped=len(delta.skipped.rows),
            build_seconds=round(time.perf_counter() - started, 1),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        if manifest.count == 0:
            raise CatalogError(
                f"removed: none of the index's {served.manifest.count} products would be left; remove fewer"
            )
        write_manifest(folder, manifest)
        place.publish(folder, number, onto=served.number)
        return delta.result(manifest)


class _Delta:
    """Collects changes row by row, and embeds what needs it.

    Args:
        served: the generation to change.
        repository: the repository with the towers.
        removed: ids of products to remove.
    """

    def __init__(self, served: Generation, repository: Path, removed: Sequence[int]) -> None:
        self.products = LiveProducts(served)
        self.skipped = Skipped()
        self.merge = Merge(len(served.product_ids))
        self._served, self._repository = served, repository
        self._pipeline: InProcessPipeline | None = None
        self._vectors: list[np.ndarray] = []
        self._ids: list[int] = []
        self._content: list[int] = []
        self._seen: set[int] = set()
        self._removed = dict.fromkeys(removed)
        possible = [product if 0 <= product < 2**63 else -1 for product in self._removed]
        rows = self.products.find(np.array(possible, np.int64))
        self.unknown = tuple(product for product, row in zip(self._removed, rows.tolist(), strict=True) if row < 0)
        self._dead = rows[rows >= 0]
        self.removed = len(self._dead)

    @property
    def changed(self) -> bool:
        """Whether the next generation differs from the served one."""
        return bool(self.removed or self.merge.rows)

    @property
    def alive(self) -> np.ndarray:
        """Which rows of the next generation can be found, (rows,) bool."""
        alive: np.ndarray = np.concatenate([self._served.alive, np.ones(self.merge.new_rows, bool)])
        alive[self._dead] = False
        alive[self.merge.superseded] = False
        return alive

    def apply(self, rows: ChangedRows) -> None:
        """Add rows of the change file, and embed those that need it."""
        to_embed = {
            position: change
            for position, change in rows.changes.items()
            if change.content is not None and change.product_id not in self._removed
        }
        batch, unfit = self._prepare(to_embed)
        refused, kept = dict(rows.refused), {}
        for position, change in rows.changes.items():
            if change.product_id in self._removed:
                refused[position] = f"{ID}: this update also removes it"
            elif change.product_id in self._seen:
                refused[position] = f"{ID}: appears twice"
            elif position in unfit:
                refused[position] = unfit[position]
            else:
                kept[position] = change
                self._seen.add(change.product_id)
        if batch is not None:
            self._embed(batch, [kept.get(position) for position in to_embed if position not in unfit])
        self.merge.add(rows.attributes, {position: (c.row, c.content is not None) for position, c in kept.items()})
        for position in sorted(refused):
            self.skipped.add(rows.start + position, rows.ids[position], refused[position])

    def _prepare(self, changes: dict[int, Change]) -> tuple[ProductBatch | None, dict[int, str]]:
        """Return the tower's inputs, and position -> reason of the rows that cannot be embedded."""
        if not changes:
            return None, {}
        self._pipeline = self._pipeline or self._open_towers()
        contents = [change.content or ("", b"") for change in changes.values()]
        rows = CatalogRows(
            start=0,
            ids=[change.product_id for change in changes.values()],
            titles=[title for title, _ in contents],
            images=[image for _, image in contents],
            refused={},
            attributes=pa.table({}),
        )
        batch, unfit = prepare(rows, self._pipeline.preprocessor)
        positions = list(changes)
        return batch, {positions[place]: reason for place, reason in unfit.items()}

    def _embed(self, batch: ProductBatch, changes: list[Change | None]) -> None:
        """Embed the kept rows of a batch. `changes` has None for a row that is not kept."""
        assert self._pipeline is not None  # it prepared the batch
        kept = [(place, change) for place, change in enumerate(changes) if change is not None]
        if not kept:
            return
        places = [place for place, _ in kept]
        chosen = ProductBatch(**{name: array[places] for name, array in batch.tensors().items()})
        self._vectors.append(self._pipeline.embed_prepared(chosen)[0])
        for _, change in kept:
            self._ids.append(change.product_id)
            self._content.append(content_hash(*(change.content or ("", b""))))

    def _open_towers(self) -> InProcessPipeline:
        towers = towers_of(self._served.folder, self._repository)
        index_hash, found = self._served.manifest.tower_hash, Bundle.read(towers).tower_hash
        if index_hash != found:
            raise IndexUnfit(
                f"{self._served.folder} was filled by towers {index_hash[:12]}, {towers} has towers {found[:12]}: "
                "update with the repository that the index was built with, or build it again with 'shopwindow index'"
            )
        return InProcessPipeline(towers, threads=usable_cores())

    def write(self, folder: Path) -> None:
        """Write all files except the manifest."""
        served, alive = self._served, self.alive
        written = {MANIFEST, "skipped.csv"}
        (folder / "skipped.csv").write_text(self.skipped.to_csv())
        if not alive.all():
            written.add("alive.npy")
            np.save(folder / "alive.npy", alive)
        if self.merge.rows:
            written.add("attributes.parquet")
            attributes = merge_attributes(served.attributes, self.merge)
            AttributeTable(attributes)  # raises if the table could not be served
            pq.write_table(attributes, folder / "attributes.parquet")
        if self._vectors:
            written |= {"delta.npy", "product_ids.npy", "content.npy", "lexical"}
            np.save(folder / "delta.npy", np.concatenate([served.delta, *self._vectors]))
            np.save(folder / "product_ids.npy", np.concatenate([served.product_ids, np.array(self._ids, np.int64)]))
            np.save(folder / "content.npy", np.concatenate([served.content, np.array(self._content, np.uint64)]))
            write_lexical(folder, attributes, alive)
        link_files(served.folder, folder, written)

    def result(self, manifest: Manifest) -> Update:
        """Return what the update did. `manifest` belongs to the generation now served."""
        added = len(self._ids) - len(self.merge.superseded)
        return Update(
            generation=manifest.generation,
            added=added,
            embedded_again=len(self.merge.superseded),
            attributes_only=self.merge.rows - len(self._ids),
            removed=self.removed,
            unknown=self.unknown,
            skipped=len(self.skipped.rows),
            reasons=tuple(f"row {row}: {reason}" for row, _, reason in self.skipped.rows[:5]),
            manifest=manifest,
        )


def write_lexical(folder: Path, attributes: pa.Table, alive: np.ndarray) -> None:
    """Build and write the lexical channel of an index folder. Rows that are not alive count as having no title."""
    titles = attributes[TITLE].to_pylist() if TITLE in attributes.column_names else []
    lexical = LexicalIndex.build([title or "" if here else "" for title, here in zip(titles, alive, strict=False)])
    if lexical is not None:
        lexical.write(folder / "lexical")
