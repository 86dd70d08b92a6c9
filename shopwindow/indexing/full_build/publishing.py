"""The end of a build: its index folder becomes the served generation, also where a kill cut that off halfway."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from shopwindow.indexing.errors import CatalogError
from shopwindow.indexing.full_build.embedded_parts import Building, clear, read_progress
from shopwindow.indexing.full_build.removed_meanwhile import ServedProducts
from shopwindow.retrieval.index.folder import MANIFEST, Manifest, read_manifest, write_manifest
from shopwindow.retrieval.index.home import IndexHome

Say = Callable[[str], None]


def publish_build(
    home: IndexHome, building: Building, manifest: Manifest, began: ServedProducts, asked: dict[str, Any], say: Say
) -> Manifest:
    """Publish a build as the next generation, without the products that were removed since it began.

    Args:
        home: where; it is waited for updates under way.
        building: whole but for the manifest.
        manifest: of the build; the generation's number and its removed products are filled in.
        began: what was served when it began.
        asked: what was asked of the build beside its inputs.
        say: told what happens, a line at a time.

    Returns:
        The manifest published.

    Raises:
        CatalogError: every product was removed.
    """
    with home.writing(wait=True):
        now = ServedProducts.now(home)
        alive = ~np.isin(building.product_ids, now.removed_since(began))
        dead = len(alive) - int(np.count_nonzero(alive))
        if dead == len(alive):
            raise CatalogError("catalog: every product of it was removed from the index since the build began")
        if dead:
            np.save(building.index / "alive.npy", alive)
        if now.generation != began.generation:
            say(
                f"generation {now.generation} took the place of {began.generation} while this build went on: {dead} "
                "products that were removed stay removed, all else is as in the catalogue; apply what it does not know "
                "again with 'shopwindow update'"
            )
        generation = home.next_generation
        published = replace(manifest, generation=generation, count=manifest.count - dead, dead=dead)
        write_manifest(building.index, published)
        building.publishing({"generation": generation, **asked})
        home.publish(building.index, generation)
        building.remove()
        return published


def cut_off(home: IndexHome, inputs: dict[str, Any], asked: dict[str, Any], say: Say) -> Manifest | None:
    """End the publishing of a build that a kill had cut off.

    Args:
        home: where; hold `filling`.
        inputs: of the build that is wanted, see `Progress`.
        asked: see `publish_build`.
        say: told what happens, a line at a time.

    Returns:
        The manifest of the generation that is served now; None where there was nothing to end, or what there was is of
        no use.
    """
    left = read_progress(home.building)
    if left is None or left.published is None or left.inputs != inputs or (home.building / "index").exists():
        return None
    generation = left.published["generation"]
    with home.writing(wait=True):
        order = home.pointer.order if home.pointer else []
        served, whole = order[:1] == [generation], (home.folder(generation) / MANIFEST).exists()
        usable = whole and (served or generation not in order) and left.published == {"generation": generation, **asked}
        if usable and not served:
            home.point(generation)
        clear(home.building)
    if not usable:
        say(
            f"starting over: the interrupted build had become generation {generation}, which is removed or no longer "
            "served, or another recipe or towers were asked of it"
        )
        return None
    say(f"the interrupted build was whole: it is served as generation {generation}")
    return read_manifest(home.folder(generation))
