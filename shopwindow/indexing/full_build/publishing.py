"""The end of a build: publish its index folder, and finish a publishing that a kill interrupted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from shopwindow.indexing.errors import CatalogError
from shopwindow.indexing.full_build.embedded_parts import Building, clear, read_progress
from shopwindow.indexing.full_build.removed_meanwhile import ServedProducts
from shopwindow.indexing.generation_report import write_report
from shopwindow.retrieval.index.checksums import MANIFEST, folder_sums
from shopwindow.retrieval.index.folder import Manifest, read_manifest, write_manifest
from shopwindow.retrieval.index.home import IndexHome

Say = Callable[[str], None]


def publish_build(
    home: IndexHome,
    building: Building,
    manifest: Manifest,
    began: ServedProducts,
    options: dict[str, Any],
    say: Say,
    *,
    report: dict[str, Any],
) -> Manifest:
    """Publish a build as the next generation, without the products that were removed since it began.

    Waits until updates under way have ended.

    Args:
        home: the home to publish in.
        building: the build, complete except for the manifest.
        manifest: manifest of the build. This function fills in the number of the generation and the removed products.
        began: what was served when the build began.
        options: options of the build beside its inputs.
        say: receives messages, a line at a time.
        report: what report.json says beside the figures of the manifest.

    Returns:
        The published manifest.

    Raises:
        CatalogError: every product was removed meanwhile.
    """
    sums = folder_sums(building.index, {})  # without the lock, because it reads all files
    with home.writing(wait=True):
        now = ServedProducts.now(home)
        alive = ~np.isin(building.product_ids, now.removed_since(began))
        dead = len(alive) - int(np.count_nonzero(alive))
        if dead == len(alive):
            raise CatalogError("catalog: all of its products were removed from the index since the build began")
        if dead:
            np.save(building.index / "alive.npy", alive)
        if now.generation != began.generation:
            say(
                f"generation {now.generation} replaced {began.generation} while this build ran: {dead} products that "
                "were removed meanwhile stay removed, everything else is as in the catalogue; apply changes that the "
                "catalogue lacks again with 'shopwindow update'"
            )
        generation = home.next_generation
        published = replace(manifest, generation=generation, count=manifest.count - dead, dead=dead)
        figures = {"rows": building.progress.rows, "products": published.count, "removed_meanwhile": dead}
        write_report(building.index, "index", published, {**figures, **report})
        write_manifest(building.index, published, sums)
        building.publishing({"generation": generation, **options})
        home.publish(building.index, generation)
        building.remove()
        return published


def finish_interrupted(home: IndexHome, inputs: dict[str, Any], options: dict[str, Any], say: Say) -> Manifest | None:
    """Finish the publishing of a build, if a kill interrupted it.

    Args:
        home: the home; hold its `filling` lock.
        inputs: inputs of the requested build, see `Progress`.
        options: options of the requested build, see `publish_build`.
        say: receives messages, a line at a time.

    Returns:
        The manifest of the generation that is served now; None if no publishing was interrupted, or the interrupted
        build cannot be used.
    """
    left = read_progress(home.building)
    if left is None or left.published is None or left.inputs != inputs or (home.building / "index").exists():
        return None
    generation = left.published["generation"]
    with home.writing(wait=True):
        order = home.pointer.order if home.pointer else []
        served, whole = order[:1] == [generation], (home.folder(generation) / MANIFEST).exists()
        same = left.published == {"generation": generation, **options}
        usable = whole and same and (served or generation not in order)
        if usable and not served:
            home.point(generation)
        clear(home.building)
    if not usable:
        say(
            f"starting over: the interrupted build had become generation {generation}, which was removed or is no "
            "longer served, or was made with another --recipe, --with-towers or --stop-words"
        )
        return None
    say(f"the interrupted build was complete: it is served as generation {generation}")
    return read_manifest(home.folder(generation))
