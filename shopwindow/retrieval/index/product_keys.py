"""The texts of product ids, in a file of an index folder that is memory-mapped: see `shopwindow.base.product_keys`.

The file is Arrow IPC with one batch and one column of large_string, a text for each row of product_ids.npy. It is
absent if the ids are whole numbers. A product takes 8 bytes beside its text.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

FILE = "product_keys.arrow"
_NAME = "product_keys"


def write_keys(folder: Path, keys: pa.Array) -> None:
    """Write the text ids of an index folder, large_string, one for each row."""
    batch = pa.record_batch({_NAME: keys.cast(pa.large_string())})
    with pa.OSFile(str(folder / FILE), "wb") as file, pa.ipc.new_file(file, batch.schema) as writer:
        writer.write_batch(batch)


def read_keys(folder: Path) -> pa.Array | None:
    """Return the text ids of an index folder, (rows,) large_string and memory-mapped; None if it has whole numbers.

    Raises:
        OSError, ValueError, pa.ArrowException: the file cannot be read or holds something else.
    """
    file = folder / FILE
    if not file.exists():
        return None
    table = pa.ipc.open_file(pa.memory_map(str(file))).read_all()
    if table.schema != pa.schema({_NAME: pa.large_string()}) or table[_NAME].num_chunks != 1:
        raise ValueError(f"must have one batch with one column {_NAME!r} of large_string, got {table.schema}")
    keys = table[_NAME].chunk(0)
    keys.validate(full=True)  # or a wrong offset would read memory of something else
    return keys


def keys_of(keys: pa.Array, rows: np.ndarray) -> np.ndarray:
    """Return the text ids of rows as UTF-8.

    Args:
        keys: from `read_keys`.
        rows: row numbers of any shape, int64; below 0 for none.

    Returns:
        bytes objects in the shape of `rows`; empty where there is no row.
    """
    wanted = pa.array(rows.ravel(), mask=None if rows.min(initial=0) >= 0 else (rows < 0).ravel())
    found: np.ndarray = keys.view(pa.large_binary()).take(wanted).to_numpy(zero_copy_only=False)
    if wanted.null_count:
        found[rows.ravel() < 0] = b""
    return found.reshape(rows.shape)


def unlike_keys(keys: pa.Array, rows: np.ndarray, texts: list[str]) -> np.ndarray:
    """Return at which places a row has another text id than the one that was looked for, (places,) bool.

    Args:
        keys: from `read_keys`.
        rows: (places,) int64, row numbers, -1 for none.
        texts: the text ids that were looked for by their numbers.
    """
    wanted = np.array([text.encode("utf-8", "replace") for text in texts], np.object_)
    return np.asarray((rows >= 0) & (keys_of(keys, rows) != wanted))
