"""What a load test is told, as one value that also travels to the Locust process."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class LoadTestOptions:
    """One load test.

    Attributes:
        queries: Queries, the most popular first: a parquet file with a column `text`, or a text file, one a line.
        url: `host:port` of the server's gRPC service.
        users: Users at the same time. Each sends its next request when it has the answer to the last one.
        spawn_rate: Users started a second; all at once when None.
        duration_s: Length of the test in whole seconds.
        queries_per_request: Queries in one request.
        top_k: Products a query.
        zipf_exponent: How much popular queries dominate: the query of rank r is drawn in proportion to
            `r ** -zipf_exponent`; 0 draws all alike.
        seed: Seed of the draw; the same seed draws the same queries in the same order.
        timeout_s: Deadline of a request in seconds.
        out: Folder of the CSV and HTML reports and the raw samples.
        max_p99_ms: The test fails when the 99th percentile of the answered requests is above; no limit when None.
        max_error_rate: The test fails when the share of failed requests is above.
        min_samples: The test fails with fewer answered requests than this: too few for a p99 to mean anything.

    Raises:
        ValueError: A value is out of range, or the queries file is missing.
    """

    queries: Path
    url: str = "localhost:8001"
    users: int = 8
    spawn_rate: float | None = None
    duration_s: int = 30
    queries_per_request: int = 1
    top_k: int = 100
    zipf_exponent: float = 1.0
    seed: int = 0
    timeout_s: float = 5.0
    out: Path = Path("build/loadtest")
    max_p99_ms: float | None = None
    max_error_rate: float = 0.0
    min_samples: int = 100

    def __post_init__(self) -> None:
        for name in ("users", "duration_s", "queries_per_request", "top_k", "min_samples"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)!r}")
        for name in ("spawn_rate", "timeout_s", "max_p99_ms"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} must be finite and above 0, got {value!r}")
        if not 0 <= self.zipf_exponent < math.inf:
            raise ValueError(f"zipf_exponent must be finite and at least 0, got {self.zipf_exponent!r}")
        if not 0 <= self.max_error_rate <= 1:
            raise ValueError(f"max_error_rate must be between 0 and 1, got {self.max_error_rate!r}")
        if not self.queries.is_file():
            raise ValueError(f"queries must be a parquet or text file, and there is none at {self.queries}")

    def to_json(self) -> str:
        """Write the options as JSON."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> LoadTestOptions:
        """Read what `to_json` wrote."""
        values = json.loads(text)
        return cls(**{**values, "queries": Path(values["queries"]), "out": Path(values["out"])})
