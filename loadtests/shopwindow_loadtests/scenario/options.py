"""The options of a load test, as one value that also travels to the Locust processes."""

from __future__ import annotations

import json
import math
import random
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from shopwindow_client import RetrievalClient
from shopwindow_client._values.option_files import client_options
from shopwindow_loadtests.scenario.shapes import Shape

_SEEDS = 10**6  # short enough to type again


@dataclass(frozen=True, kw_only=True)
class LoadTestOptions:
    """One load test.

    Attributes:
        url: `host:port` of the server's gRPC service.
        tls: Encrypt the connection. Each of the next three encrypts it too.
        tls_ca: Authorities that sign the server's certificate, PEM; None: the system's.
        tls_certificate: The caller's own certificate, PEM.
        tls_key: Its private key, PEM.
        key_file: File with the caller's key and nothing else.
        users: Closed loop: the number of users. Each sends its next request when it has the answer to the last one.
            Some shapes take more than one number.
        rate: Open loop: requests per second, sent whether or not earlier ones were answered. Give users or rate, not
            both.
        shape: How users or rate change over the test: soak, steps, spike or ramp; see `Shape`.
        arrivals: When an open-loop request is due: "poisson" (like shoppers who come independently) or "constant".
        max_in_flight: Open loop: the most requests that may wait for their answers. Any further one fails as `NotSent`.
        duration_s: Length of the test in seconds.
        mix: YAML file of the requests, see `read_mix`. None sends `queries`, `batch` of them in each request.
        queries: Without `mix`: queries, the most popular first. Parquet with a column `text`, or text with one per
            line.
        batch: Without `mix`: queries in one request.
        top_k: Products for each query, unless the mix says so.
        zipf: How strongly popular queries dominate, unless the mix says so: rank r is drawn in proportion to
            `r ** -zipf`.
        recall_share: Share of the distinct queries whose exact answers are computed before the test, 0 to 1.
        recall_k: The k of recall@k.
        repository: Model repository whose query tower embeds them.
        index: Index folder or index home that is searched exactly; give the one that the server serves.
        seed: Of all draws; the same seed draws the same requests. By default it changes with each test: the server may
            have cached earlier requests, and two tests of the same draws would only confirm each other.
        timeout_s: Deadline of a request in seconds.
        slo: YAML file with limits, see `read_slo`.
        max_p95_ms: Without `slo`: limit on the 95th percentile; a failed request is slower than any limit.
        max_p99_ms: The same for the 99th percentile.
        max_error_share: Without `slo`: limit on the share of failed requests.
        min_samples: Without `slo`: answered requests needed. None: enough for ten beyond the highest limited
            percentile.
        max_late_ms: If 1 % of the requests were sent later than this, a missed limit counts as a harness failure.
        baseline: `samples.parquet` of an earlier test, or its folder, to compare with.
        noise: Smaller changes of timings and throughput count as noise, whatever the samples say. A share, such as
            0.12.
        workers: Number of processes that send.
        elsewhere: How many of them are started on other machines, with `join`.
        port: Port on which workers connect to this test; 0 picks one.
        join: `host:port` of another test. This process becomes one of its workers; the other options must be the same.
        out: Folder for the report and the raw samples.

    Raises:
        ValueError: A value is out of range, or a file is missing.
    """

    url: str = "localhost:8001"
    tls: bool = False
    tls_ca: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    key_file: Path | None = None
    users: tuple[float, ...] = ()
    rate: tuple[float, ...] = ()
    shape: str = "soak"
    arrivals: str = "poisson"
    max_in_flight: int = 256
    duration_s: float = 30.0
    mix: Path | None = None
    queries: Path | None = None
    batch: int = 1
    top_k: int = 100
    zipf: float = 1.0
    recall_share: float = 0.0
    recall_k: int = 10
    repository: Path = Path("build/model_repository")
    index: Path = Path("build/index")
    seed: int = field(default_factory=lambda: random.randrange(_SEEDS))
    timeout_s: float = 5.0
    slo: Path | None = None
    max_p95_ms: float | None = None
    max_p99_ms: float | None = None
    max_error_share: float = 0.0
    min_samples: int | None = None
    max_late_ms: float = 100.0
    baseline: Path | None = None
    noise: float = 0.12
    workers: int = 1
    elsewhere: int = 0
    port: int = 0
    join: str | None = None
    out: Path = Path("build/loadtest")

    def __post_init__(self) -> None:
        for name in ("batch", "top_k", "recall_k", "max_in_flight", "workers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)!r}")
        if self.min_samples is not None and self.min_samples < 1:
            raise ValueError(f"min_samples must be at least 1, got {self.min_samples!r}")
        for name in ("duration_s", "timeout_s", "max_p95_ms", "max_p99_ms", "max_late_ms"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} must be finite and above 0, got {value!r}")
        for name in ("zipf", "noise"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be finite and at least 0, got {getattr(self, name)!r}")
        for name in ("max_error_share", "recall_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be between 0 and 1, got {getattr(self, name)!r}")
        if bool(self.users) == bool(self.rate):
            raise ValueError(f"give users (closed loop) or rate (open loop), got users {self.users}, rate {self.rate}")
        if self.arrivals not in ("poisson", "constant"):
            raise ValueError(f"arrivals must be poisson or constant, got {self.arrivals!r}")
        if (self.mix is None) == (self.queries is None):
            raise ValueError(f"give mix or queries, got mix {self.mix} and queries {self.queries}")
        for name in ("mix", "queries", "slo", "baseline", "tls_ca", "tls_certificate", "tls_key", "key_file"):
            path = getattr(self, name)
            if path is not None and not path.exists():
                raise ValueError(f"{name} must be a file, and there is none at {path}")
        if not 0 <= self.elsewhere <= self.workers:
            raise ValueError(f"elsewhere must be 0 to workers={self.workers}, got {self.elsewhere!r}")
        if self.open_loop and self.max_in_flight < self.workers:
            raise ValueError(f"max_in_flight must be at least workers={self.workers}, got {self.max_in_flight!r}")
        if min(self.load.levels) < self.workers and not self.open_loop:
            raise ValueError(f"users must be at least workers={self.workers}, got {min(self.users):g}")

    @property
    def open_loop(self) -> bool:
        """Whether requests are sent at fixed times and not after each answer."""
        return bool(self.rate)

    @property
    def load(self) -> Shape:
        """Users, or requests per second, over time."""
        return Shape(kind=self.shape, levels=self.rate or self.users, duration_s=self.duration_s)

    def client(self) -> RetrievalClient:
        """Return a new client of the server. It never retries: that would hide failures, and count its own pauses.

        Raises:
            ValueError: A certificate or the key cannot be used.
        """
        return RetrievalClient(self.url, timeout_s=self.timeout_s, retry=None, **client_options(self))

    @property
    def samples_file(self) -> Path:
        """The file with the raw samples."""
        return self.out / "samples.parquet"

    @property
    def answers_file(self) -> Path:
        """The file with the exact answers, if there are any."""
        return self.out / "exact_answers.json"

    def to_json(self) -> str:
        """Return the options as JSON."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> LoadTestOptions:
        """Return the options that `to_json` wrote."""
        values = json.loads(text)
        for one in fields(cls):
            value = values[one.name]
            if isinstance(value, list):
                values[one.name] = tuple(value)
            elif value is not None and str(one.type).startswith("Path"):
                values[one.name] = Path(value)
        return cls(**values)
