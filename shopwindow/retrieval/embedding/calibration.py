"""Which precision a cosine similarity stands for: measured by `shopwindow evaluate`, kept in bundle.json."""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from shopwindow.retrieval.errors import BundleUnfit

FILE = "calibration.json"  # beside a checkpoint; an export puts it into the bundle


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """For each precision, the score from which on that share of the products is right.

    It holds for queries in words and the scores of the embedding channel.

    Attributes:
        towers: hash of the towers whose scores these are.
        source: the files of judgements it was made from, in words.
        queries: number of judged queries.
        products: number of products they were searched among.
        points: (precision, score) pairs, both rising.
    """

    towers: str
    source: str
    queries: int
    products: int
    points: tuple[tuple[float, float], ...]

    @classmethod
    def read(cls, values: Any, file: Path) -> Calibration:
        """Read a calibration from parsed JSON.

        Args:
            values: its attributes by name.
            file: where it comes from, for the error.

        Raises:
            BundleUnfit: it is no calibration.
        """
        try:
            points = tuple((float(precision), float(score)) for precision, score in values["points"])
            calibration = cls(**{**values, "points": points})
        except (TypeError, ValueError, KeyError) as error:
            raise BundleUnfit(f"{file}: not a calibration ({error!r}); {_REMEDY}") from error
        rising = all(low[0] < high[0] and low[1] <= high[1] for low, high in pairwise(points))
        if not points or not rising or not all(map(math.isfinite, (number for point in points for number in point))):
            raise BundleUnfit(f"{file}: the points of the calibration do not rise; {_REMEDY}")
        return calibration

    @classmethod
    def beside(cls, checkpoint: Path, tower_hash: str) -> Calibration | None:
        """Return the calibration beside a checkpoint; None if there is none.

        Raises:
            BundleUnfit: it is unreadable, or of other towers than `tower_hash`.
        """
        file = checkpoint / FILE
        if not file.exists():
            return None
        try:
            values = json.loads(file.read_text())
        except ValueError as error:
            raise BundleUnfit(f"{file}: not a calibration ({error}); {_REMEDY}") from error
        calibration = cls.read(values, file)
        if calibration.towers != tower_hash:
            raise BundleUnfit(
                f"{file} is of towers {calibration.towers[:12]}, the checkpoint is {tower_hash[:12]}; {_REMEDY}"
            )
        return calibration

    def write_beside(self, checkpoint: Path) -> Path:
        """Write it beside a checkpoint, and return the file."""
        file = checkpoint / FILE
        file.write_text(json.dumps(asdict(self), indent=2) + "\n")
        return file

    @property
    def highest(self) -> float:
        """The highest precision that has a score."""
        return self.points[-1][0]

    def score_for(self, precision: float) -> float | None:
        """Return the score from which on at least this share of the products is right.

        It is that of the next listed precision, so that it is rather too high than too low. None: no score is known to
        reach it.
        """
        place = bisect_left(self.points, precision, key=lambda point: point[0])
        return self.points[place][1] if place < len(self.points) else None


_REMEDY = "make one with 'shopwindow evaluate --calibrate', or remove it"
