"""`shopwindow update`: write changed and removed products as a delta beside the index that was built."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shopwindow.base.machine import usable_cores
from shopwindow.base.progress_bar import progress_bar
from shopwindow.base.skipped_rows import Skipped
from shopwindow.indexing.catalogue.options import ID, TITLE, CatalogOptions
from shopwindow.indexing.catalogue.product_ids import Id, numbered, of_this_kind, same_number
from shopwindow.indexing.errors import CatalogError
from shopwindow.indexing.full_build.embedded_parts import SKIPPED, UNREAD
from shopwindow.indexing.full_build.embedders import LocalEmbedder
from shopwindow.indexing.full_build.several_photos import embed_products
from shopwindow.indexing.generation_report import FILE as REPORT
from shopwindow.indexing.generation_report import write_report
from shopwindow.indexing.update.attribute_rows import Merge, merge_attributes
from shopwindow.indexing.update.changes import Change, ChangedRows, ChangeFile, Content, LiveProducts
from shopwindow.indexing.update.next_generation import Generation, changing, link_files
from shopwindow.retrieval.embedding.bundle import Bundle, towers_of
from shopwindow.retrieval.engines.recipes import FLAT_ROWS
from shopwindow.retrieval.errors import IndexUnfit
from shopwindow.retrieval.index.attribute_texts import FILE as ATTRIBUTE_TEXTS
from shopwindow.retrieval.index.attribute_texts import write_texts
from shopwindow.retrieval.index.checksums import Checksums, check_folder
from shopwindow.retrieval.index.folder import Manifest, write_manifest
from shopwindow.retrieval.index.lexical import LexicalIndex
from shopwindow.retrieval.index.lexical_words import WORDS_FILE, WordSplitter
from shopwindow.retrieval.index.product_keys import FILE as PRODUCT_KEYS
from shopwindow.retrieval.index.product_keys import write_keys
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
        unknown: ids to remove that the index does not have, as the shop has them.
        skipped: rows of the change file that were left out.
        unread_photos: rows that were taken without some of their photos, because these cannot be read.
        reasons: for the first five skipped rows. If a generation was published, its skipped.csv has all.
        manifest: the generation's manifest.
    """

    generation: int
    added: int
    embedded_again: int
    attributes_only: int
    removed: int
    unknown: tuple[Id, ...]
    skipped: int
    unread_photos: int
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
    home: Path,
    repository: Path,
    *,
    changes: Path | None = None,
    reading: CatalogOptions | None = None,
    removed: Sequence[Id] = (),
    progress: bool = True,
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
        reading: how to read the changes. Options that are not given are as when the index was built.
        removed: ids of products to remove, as the shop has them; a row of `changes` for one of them is skipped. In an
            index whose ids are whole numbers, they may be written as text.
        progress: show a bar.

    Raises:
        CatalogError: the change file or an id to remove does not fit the index, or no product would be left.
        IndexUnfit: there is no index, another process writes there, or the repository has other towers than the index.
        ValueError: neither changes nor products to remove were given.
    """
    if changes is None and not len(removed):
        raise ValueError("changes, removed: nothing to do: give a file of changes, or ids to remove, or both")
    started = time.perf_counter()
    with changing(home) as (place, served, folder):
        delta = _Delta(served, repository, removed)
        if changes is not None:
            file = ChangeFile(
                changes, delta.products, reading or CatalogOptions(), towers_of(served.folder, repository)
            )
            with progress_bar(total=file.rows, desc="updating", unit="product", enabled=progress) as bar:
                for rows in file.read():
                    delta.apply(rows)
                    bar.update(len(rows.ids))
        if not delta.changed:  # an equal generation would push out an older one that a rollback may need
            return delta.result(served.manifest)
        linked = delta.write(folder)
        number = place.next_generation
        manifest = replace(
            served.manifest,
            generation=number,
            count=int(delta.alive.sum()),
            delta=served.manifest.delta + delta.merge.new_rows,
            dead=int((~delta.alive).sum()),
            skipped=len(delta.skipped.rows),
            unread_photos=len(delta.unread.rows),
            build_seconds=round(time.perf_counter() - started, 1),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        if manifest.count == 0:
            raise CatalogError(
                f"removed: none of the index's {served.manifest.count} products would be left; remove fewer"
            )
        update = delta.result(manifest)
        write_report(folder, "update", manifest, _told(update, changes))
        write_manifest(folder, manifest, linked)
        place.publish(folder, number, onto=served.number)
        return update


def _told(update: Update, changes: Path | None) -> dict[str, Any]:
    """Return what report.json says about an update."""
    counts = {name: getattr(update, name) for name in ("added", "embedded_again", "attributes_only", "removed")}
    return {
        "changes": None if changes is None else str(changes.resolve()),
        "products": update.manifest.count,
        **counts,
        "not_in_the_index": len(update.unknown),
    }


class _Delta:
    """Collects changes row by row, and embeds what needs it.

    Args:
        served: the generation to change.
        repository: the repository with the towers.
        removed: ids of products to remove.

    Raises:
        CatalogError: an id to remove is of another kind than those of the index.
    """

    def __init__(self, served: Generation, repository: Path, removed: Sequence[Id]) -> None:
        self.products = LiveProducts(served)
        self.skipped, self.unread = Skipped(), Skipped()
        self.merge = Merge(len(served.product_ids))
        self._served, self._repository = served, repository
        self._embedder: LocalEmbedder | None = None
        self._vectors: list[np.ndarray] = []
        self._ids: list[int] = []
        self._keys: list[str] = []
        self._content: list[int] = []
        self._seen: dict[int, str | None] = {}
        named = list(dict.fromkeys(of_this_kind(removed, text=self.products.text_ids)))
        numbers, keys = numbered(named, text=self.products.text_ids)
        possible = [-1 if number is None or not 0 <= number < 2**63 else number for number in numbers]
        rows = self.products.find(np.array(possible, np.int64))
        rows[self.products.unlike(rows, None if keys is None else [key or "" for key in keys])] = -1
        self._removed = {number for number in possible if number >= 0}
        self.unknown = tuple(product for product, row in zip(named, rows.tolist(), strict=True) if row < 0)
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
            position: change.content
            for position, change in rows.changes.items()
            if change.content is not None and change.product_id not in self._removed
        }
        embedded, unfit, unread = self._embed(to_embed, rows.photo_needed)
        refused, kept = dict(rows.refused), {}
        for position, change in rows.changes.items():
            if change.product_id in self._removed:
                refused[position] = f"{ID}: this update also removes it"
            elif change.product_id in self._seen:
                same = self._seen[change.product_id] == change.key
                refused[position] = f"{ID}: appears twice" if same else same_number(change.key or "")
            elif position in unfit:
                refused[position] = unfit[position]
            else:
                kept[position] = self._keep(change, embedded.get(position))
                self._seen[change.product_id] = change.key
        self.merge.add(rows.attributes, {position: (c.row, c.content is not None) for position, c in kept.items()})
        for position in sorted(refused):
            self.skipped.add(rows.start + position, rows.ids[position], refused[position])
        for position in sorted(unread.keys() & kept.keys()):
            self.unread.add(rows.start + position, rows.ids[position], unread[position])

    def _embed(
        self, contents: dict[int, Content], photo_needed: bool
    ) -> tuple[dict[int, tuple[np.ndarray, int]], dict[int, str], dict[int, str]]:
        """Return position -> vector and content hash, of what was embedded, and two of position -> reason.

        The reasons are those of the rows that cannot be embedded, and of those that lack photos.
        """
        if not contents:
            return {}, {}, {}
        self._embedder = self._embedder or LocalEmbedder(self._open_towers())
        positions = list(contents)
        found = embed_products(
            [title for title, _ in contents.values()],
            [photos for _, photos in contents.values()],
            self._embedder,
            photo_needed=photo_needed,
        )
        at = [positions[place] for place in found.places]
        return (
            dict(zip(at, zip(found.vectors, found.content.tolist(), strict=True), strict=True)),
            {positions[place]: reason for place, reason in found.refused.items()},
            {positions[place]: reason for place, reason in found.unread.items()},
        )

    def _keep(self, change: Change, embedded: tuple[np.ndarray, int] | None) -> Change:
        """Take what was embedded, and return the change."""
        if embedded is None:
            return change
        vector, content = embedded
        if change.row >= 0 and content == int(self._served.content[change.row]):
            return replace(change, content=None)  # the product lacked the photos that cannot be read before, too
        self._vectors.append(vector[None])
        self._ids.append(change.product_id)
        self._keys += [] if change.key is None else [change.key]
        self._content.append(content)
        return change

    def _open_towers(self) -> InProcessPipeline:
        towers = towers_of(self._served.folder, self._repository)
        index_hash, found = self._served.manifest.tower_hash, Bundle.read(towers).tower_hash
        if index_hash != found:
            raise IndexUnfit(
                f"{self._served.folder} was filled by towers {index_hash[:12]}, {towers} has towers {found[:12]}: "
                "update with the repository that the index was built with, or build it again with 'shopwindow index'"
            )
        return InProcessPipeline(towers, threads=usable_cores())

    def write(self, folder: Path) -> Checksums:
        """Write all files except the manifest, and return the checksums of those that the served generation shares."""
        served, alive = self._served, self.alive
        written = {SKIPPED, UNREAD, REPORT, "alive.npy"}
        (folder / SKIPPED).write_text(self.skipped.to_csv())
        (folder / UNREAD).write_text(self.unread.to_csv())
        if not alive.all():
            np.save(folder / "alive.npy", alive)
        attributes = served.attributes
        if self.merge.rows:
            written.add("attributes.parquet")
            attributes = merge_attributes(attributes, self.merge)
            AttributeTable(attributes)  # raises if the table could not be served
            pq.write_table(attributes, folder / "attributes.parquet")
        if self.merge.rows or not served.has_texts:
            written.add(ATTRIBUTE_TEXTS)
            write_texts(folder, attributes)
        if self._vectors:
            written |= {"delta.npy", "product_ids.npy", "content.npy", "lexical"}
            np.save(folder / "delta.npy", np.concatenate([served.delta, *self._vectors]))
            np.save(folder / "product_ids.npy", np.concatenate([served.product_ids, np.array(self._ids, np.int64)]))
            if served.product_keys is not None:
                written.add(PRODUCT_KEYS)
                write_keys(folder, pa.concat_arrays([served.product_keys, pa.array(self._keys, pa.large_string())]))
            np.save(folder / "content.npy", np.concatenate([served.content, np.array(self._content, np.uint64)]))
            write_lexical(served, folder, attributes, alive)
        return link_files(served.folder, folder, written)

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
            unread_photos=len(self.unread.rows),
            reasons=tuple(f"row {row}: {reason}" for row, _, reason in self.skipped.rows[:5]),
            manifest=manifest,
        )


def write_lexical(served: Generation, folder: Path, attributes: pa.Table, alive: np.ndarray) -> None:
    """Build and write the lexical channel of an index folder. Rows that are not alive count as having no title.

    Titles are split into words as those of the served generation were.
    """
    check_folder(served.folder, only={f"lexical/{WORDS_FILE}"})  # a fault must not be written into the next generation
    titles = attributes[TITLE].to_pylist() if TITLE in attributes.column_names else []
    lexical = LexicalIndex.build(
        [title or "" if here else "" for title, here in zip(titles, alive, strict=False)],
        WordSplitter.read(served.folder / "lexical"),
    )
    if lexical is not None:
        lexical.write(folder / "lexical")
