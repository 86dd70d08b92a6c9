"""Raw samples: one for each request, never rounded, kept in a parquet file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

NOT_SENT = "NotSent"
HARNESS = "Harness: "  # the error of a request begins so if the load test itself failed

SCHEMA = pa.schema(
    [
        ("start_s", pa.float64()),
        ("late_ms", pa.float64()),
        ("latency_ms", pa.float64()),
        ("name", pa.string()),
        ("queries", pa.int32()),
        ("error", pa.string()),
        ("recall", pa.float64()),
        ("worker", pa.int32()),
    ]
)
_GENERATOR_CPU = b"generator_cpu"
_ROWS = 2000  # held in memory before they are written; few, because writing delays the sending process


class Sample(NamedTuple):
    """One request.

    Attributes:
        start_s: When it was due (open loop) or sent (closed loop), in seconds since the epoch.
        late_ms: How much later than that the load test sent it.
        latency_ms: From `start_s` to the answer or the error.
        name: Kind and batch size.
        queries: Number of queries in it.
        error: Why it failed; empty if it was answered.
        recall: recall@k of its queries with known answers; NaN without any.
        worker: Number of the process that sent it.
    """

    start_s: float
    late_ms: float
    latency_ms: float
    name: str
    queries: int = 1
    error: str = ""
    recall: float = float("nan")
    worker: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """Many samples, as arrays of the same length in the order of their starts; see `Sample`."""

    start_s: np.ndarray
    late_ms: np.ndarray
    latency_ms: np.ndarray
    name: np.ndarray
    queries: np.ndarray
    error: np.ndarray
    recall: np.ndarray
    worker: np.ndarray

    def __len__(self) -> int:
        return len(self.start_s)

    @property
    def answered(self) -> np.ndarray:
        """(n,) bool: which requests were answered."""
        return np.asarray(self.error == "")

    @property
    def at_s(self) -> np.ndarray:
        """(n,) float64: seconds since the first start."""
        return self.start_s - self.start_s.min() if len(self) else self.start_s

    @property
    def span_s(self) -> float:
        """Seconds from the first start to the last end."""
        return float((self.start_s + self.latency_ms / 1000).max() - self.start_s.min()) if len(self) else 0.0

    def where(self, mask: np.ndarray) -> Samples:
        """Return the samples that a mask or an index array picks."""
        return Samples(**{field.name: getattr(self, field.name)[mask] for field in fields(self)})

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Samples:
        """Return single samples as arrays."""
        return cls._from(_table(samples))

    @classmethod
    def read(cls, path: Path) -> Samples:
        """Read a file that `SampleWriter` wrote, or the one in the folder of a load test.

        Raises:
            ValueError: The file is missing or is no such file.
        """
        file = path / "samples.parquet" if path.is_dir() else path
        try:
            return cls._from(pq.read_table(file, schema=SCHEMA))
        except (OSError, pa.ArrowException) as error:
            raise ValueError(f"{file} must hold the raw samples of a load test: {error}") from error

    @classmethod
    def _from(cls, table: pa.Table) -> Samples:
        columns = {name: table[name].to_numpy(zero_copy_only=False) for name in SCHEMA.names}
        for name in ("name", "error"):
            columns[name] = columns[name].astype(str)
        order = np.argsort(columns["start_s"], kind="stable")
        return cls(**{name: column[order] for name, column in columns.items()})


class SampleWriter:
    """Writes samples as they come. The file is complete only after `close`.

    Args:
        path: The parquet file.
    """

    def __init__(self, path: Path) -> None:
        self._writer = pq.ParquetWriter(path, SCHEMA)
        self._waiting: list[Sample] = []

    def write(self, samples: Sequence[Sample]) -> None:
        """Add samples."""
        self._waiting += samples
        if len(self._waiting) >= _ROWS:
            self._flush()

    def close(self, *, generator_cpu: float) -> None:
        """Write the samples that are left and finish the file.

        Args:
            generator_cpu: Share of a core that the busiest sending process used at its busiest.
        """
        self._flush()
        self._writer.add_key_value_metadata({_GENERATOR_CPU: repr(generator_cpu)})
        self._writer.close()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(_table(self._waiting))
        self._waiting = []


def read_generator_cpu(path: Path) -> float:
    """Return the `generator_cpu` given to `SampleWriter.close`."""
    return float(pq.read_metadata(path).metadata[_GENERATOR_CPU])


def _table(samples: Sequence[Sample]) -> pa.Table:
    columns = zip(*samples, strict=True) if samples else [() for _ in SCHEMA]
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)], schema=SCHEMA
    )
