"""Read a catalogue as the user says, and where the user says nothing, as its names and values propose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from shopwindow.indexing.catalogue.options import CatalogOptions
from shopwindow.indexing.catalogue.reading import Catalog
from shopwindow.indexing.errors import CatalogError
from shopwindow.indexing.inspection.proposal import Proposal
from shopwindow.indexing.inspection.raw import RawColumns, accepted, propose_more, raw_columns
from shopwindow.indexing.inspection.survey import Survey, survey
from shopwindow.retrieval.embedding.bundle import PHOTOS_PER_PRODUCT


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of the attempt.

    Attributes:
        raw: the columns as they are.
        proposal: what was proposed beside the user's options, and taken.
        found: what the catalogue would become; None if it cannot be read so.
        problem: why it cannot be indexed; empty if it can.
        not_taken: what was proposed and does not fit the values, with the reason; empty if there is nothing.
    """

    raw: RawColumns
    proposal: Proposal
    found: Survey | None = None
    problem: str = ""
    not_taken: str = ""


def read_as_proposed(inputs: Sequence[Path], given: CatalogOptions, *, progress: bool = True) -> Outcome:
    """Read files. Of photos, only the first are read, and none is fetched unless the user says so.

    Args:
        inputs: as in `shopwindow.indexing.catalogue.files.catalog_files`.
        given: what the user says.
        progress: show a bar.

    Raises:
        CatalogError: a file cannot be read at all.
    """
    raw = raw_columns(inputs)
    proposal = propose_more(raw, given)
    outcome = _attempt(inputs, given, Outcome(raw=raw, proposal=proposal), progress)
    # A proposal comes from a sample, and a later value may not fit it. Texts always do.
    texts = replace(proposal, numbers=(), lists={}, dates=())
    if outcome.found is None and texts != proposal:
        again = _attempt(inputs, given, Outcome(raw=raw, proposal=texts), progress)
        if again.found is not None:
            return replace(again, not_taken=outcome.problem)
    return outcome


def _attempt(inputs: Sequence[Path], given: CatalogOptions, outcome: Outcome, progress: bool) -> Outcome:
    try:
        catalog = Catalog(inputs, accepted(outcome.proposal, given))
        found = survey(catalog, progress=progress)
    except CatalogError as error:
        return replace(outcome, problem=str(error))
    try:
        found.check()
        if not outcome.proposal.fetch:
            catalog.check_photos(PHOTOS_PER_PRODUCT)
    except CatalogError as error:
        return replace(outcome, found=found, problem=str(error))
    return replace(outcome, found=found)
