"""How a server searched, as it reports beside the products."""

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
    """How long the server took for each row, and how it searched. All rows of a batch share their times.

    The rest of the call's time, beyond `queue_ms` and `total_ms`, went to the network and the client. nan marks a step
    that another model or another request did. A search by vectors has no tower step, and for a composed query only the
    search is reported.

    Attributes:
        prepare_ms: (n,) float64, milliseconds: tokenising the words or decoding the photos.
        tower_ms: (n,) float64, milliseconds: embedding. 0 if the embedding was kept from before or not needed.
        search_ms: (n,) float64, milliseconds: searching the index.
        total_ms: (n,) float64, milliseconds: these three steps, and the time between them.
        queue_ms: (n,) float64, milliseconds: the longest that the row can have waited in the server's queue before
            that. nan if the server cannot say, because more was waiting than it could take up at once.
        batch_rows: (n,) int64: how many rows the server searched for together, including those of other callers.
        effort: (n,) int64: the effort used. It can be below the requested one if you set `allow_lower_effort`.
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
            VersionMismatch: `timings_us` has another number of columns.
        """
        times = reply["timings_us"]
        if times.shape[1] != _COLUMNS:
            raise VersionMismatch(
                f"timings_us must have {_COLUMNS} columns, got {times.shape[1]}. Install the client that belongs to "
                "the server, or search without timings."
            )
        prepare, tower, search, total = np.where(times[:, :4] < 0, np.nan, times[:, :4] / 1e3).T
        rows, queue = times[:, 4], np.where(times[:, 5] < 0, np.nan, times[:, 5] / 1e3)
        return cls(prepare, tower, search, total, queue, rows, reply["effort"][:, 0], reply["generation"][:, 0])
