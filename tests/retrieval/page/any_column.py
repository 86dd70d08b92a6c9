"""Columns of single values of every type, with few values, so that rows are often equal."""

from __future__ import annotations

import math
from datetime import date, datetime

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

HALVES = st.sampled_from([-1.5, -0.0, 0.0, 0.5, 2.0, math.nan, math.inf])
# The last two are in another order in UTF-16.
WORDS = st.sampled_from(["", "a", "B", "é", "e\u0301", "\uffee", "\U0001f600"])
DAYS = [date(1969, 12, 31), date(1970, 1, 1), date(2026, 2, 28), date(2026, 3, 1)]
MOMENTS = [datetime(1969, 12, 31, 23, 59, 59, 999_999), datetime(2026, 3, 1), datetime(2026, 3, 1, 0, 0, 0, 1)]
COLUMNS: dict[str, tuple[pa.DataType, st.SearchStrategy]] = {
    "text": (pa.string(), WORDS),
    "float64": (pa.float64(), HALVES),
    "float32": (pa.float32(), HALVES),
    "float16": (pa.float16(), HALVES.map(np.float16)),
    "int8": (pa.int8(), st.sampled_from([-128, -1, 0, 127])),
    "int64": (pa.int64(), st.sampled_from([-(2**63), -(2**53) - 1, -(2**53), 0, 2**53, 2**53 + 1, 2**63 - 1])),
    "uint64": (pa.uint64(), st.sampled_from([0, 1, 2**53, 2**53 + 1, 2**64 - 2, 2**64 - 1])),
    "bool": (pa.bool_(), st.booleans()),
    "date": (pa.date32(), st.sampled_from(DAYS)),
    "timestamp": (pa.timestamp("us"), st.sampled_from(MOMENTS)),
}
