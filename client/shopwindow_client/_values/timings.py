"""What a server tells of how it searched, beside what it found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import VersionMismatch

TIMING_OUTPUTS = ("timings_us", "effort", "generation")

_COLUMNS = 6  # of timings_us


@dataclass(frozen=True, eq=False)
class Timings:
    """How long the server took over each row, and how it searched. A row shares the times with its batch.

    What the call took beyond `queue_ms` and `total_ms` is the network and the client. nan is what another model of the
    server did, or another request: a vector that is searched with has no tower before it, and of a composed query only
    the search is told.

    Attributes:
        prepare_ms: (n,) float64, milliseconds: tokenising the words or decoding the photos.
        tower_ms: (n,) float64, milliseconds: embedding; 0 where none was computed: kept from before, or not needed.
        search_ms: (n,) float64, milliseconds: searching the index.
        total_ms: (n,) float64, milliseconds: these three, and what lies between them.
        queue_ms: (n,) float64, milliseconds: waiting before that in the server's queue, at most; nan when the server
            can't say, as more was waiting than it could take up at once.
        batch_rows: (n,) int64: the rows that the server searched for together, those of other callers included.
        effort: (n,) int64: the effort searched with; below the one asked for where `allow_lower_effort` was used.
        generation: (n,) int64: the generation of the index that answered.
    """

    prepare_ms: npt.NDArray[np.float64]
    tower_ms: npt.NDArray[np.float64]
    search_ms: npt.NDArray[np.float64]
    total_ms: npt.NDArray[np.float64]
    queue_ms: npt.NDArray[np.float64]
    batch_rows: npt.NDArray[np.int64]
    effort: npt.NDArray[np.int64]
    generation: npt.NDArray[np.int64]

    @classmethod
    def from_reply(cls, reply: Mapping[str, npt.NDArray[Any]]) -> Timings:
        """Read the outputs `TIMING_OUTPUTS`.

        Raises:
            VersionMismatch: They have another form.
        """
        told = reply["timings_us"]
        if told.shape[1] != _COLUMNS:
            raise VersionMismatch(
                f"timings_us: {_COLUMNS} columns were expected, got {told.shape[1]}. Install the client that belongs "
                "to the server, or ask without timings."
            )
        prepare, tower, search, total = np.where(told[:, :4] < 0, np.nan, told[:, :4] / 1e3).T
        rows, queue = told[:, 4], np.where(told[:, 5] < 0, np.nan, told[:, 5] / 1e3)
        return cls(prepare, tower, search, total, queue, rows, reply["effort"][:, 0], reply["generation"][:, 0])
