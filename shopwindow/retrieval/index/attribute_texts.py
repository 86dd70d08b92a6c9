"""What a reply shows of products: titles and attributes as JSON texts, in a file that is memory-mapped.

The file is Arrow IPC with a column of large_binary for each column of attributes.parquet, and a text for each of its
rows, see `shopwindow.retrieval.index.json_texts`. An empty text is a missing value. It comes in batches of some
megabytes, so that an index of any size is written in little memory. A value takes 8 bytes beside its text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from shopwindow.retrieval.index.json_texts import has_texts, json_texts

FILE = "attributes.arrow"
_BATCH_ROWS, _BATCH_BYTES = 65_536, 16 * 2**20  # of the attributes


@dataclass(frozen=True, kw_only=True)
class AttributeTexts:
    """An opened file. It takes no memory of its own beside about a kilobyte for each batch.

    Attributes:
        rows: number of rows.
        starts: (batches,) int64, the first row of each batch.
        columns: name -> for each batch the places where texts begin and end, (rows of the batch + 1,) integers, and all
            texts, one after the other.
    """

    rows: int
    starts: np.ndarray
    columns: dict[str, list[tuple[memoryview, memoryview]]]


def write_texts(folder: Path, attributes: pa.Table) -> None:
    """Write the texts of all attribute rows of an index folder. See `writing_texts`."""
    with writing_texts(folder, attributes.schema) as write:
        write(attributes)


@contextmanager
def writing_texts(folder: Path, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """Write the texts of the attribute rows of an index folder, part by part.

    Args:
        folder: the index folder. A file that is already there is replaced.
        schema: schema of the attribute rows. Columns of a type without JSON texts are left out.

    Yields:
        A function that adds rows.
    """
    names = [field.name for field in schema if has_texts(field.type)]

    def write(rows: pa.Table) -> None:
        rows = rows.select(names)
        fits = _BATCH_BYTES * rows.num_rows // max(1, rows.nbytes)
        step = max(1, min(_BATCH_ROWS, fits))
        for start in range(0, rows.num_rows, step):
            some = rows.slice(start, step).combine_chunks()
            texts = [json_texts(pa.concat_arrays(column.chunks)) for column in some.columns]
            writer.write_batch(pa.record_batch(texts, schema=written))

    written = pa.schema([(name, pa.large_binary()) for name in names])
    with pa.OSFile(str(folder / FILE), "wb") as file, pa.ipc.new_file(file, written) as writer:
        yield write


def read_texts(folder: Path) -> AttributeTexts | None:
    """Open the texts of an index folder, memory-mapped; None if it has none, as folders of earlier versions.

    Only where the texts begin and end is read and checked: 8 bytes a value, so half a gigabyte for 10 million rows of 6
    columns.

    Raises:
        OSError, ValueError, pa.ArrowException: the file cannot be read or holds something else.
    """
    file = folder / FILE
    if not file.exists():
        return None
    reader = pa.ipc.open_file(pa.memory_map(str(file)))
    names = reader.schema.names
    if any(kind != pa.large_binary() for kind in reader.schema.types) or len(set(names)) < len(names):
        raise ValueError(f"must have columns of large_binary with different names, got {reader.schema}")
    starts: list[int] = []
    columns: dict[str, list[tuple[memoryview, memoryview]]] = {name: [] for name in names}
    rows = 0
    for number in range(reader.num_record_batches):
        batch = reader.get_batch(number)
        starts.append(rows)
        rows += batch.num_rows
        for name, column in zip(names, batch.columns, strict=True):
            columns[name].append(_views(name, column))
    return AttributeTexts(rows=rows, starts=np.array(starts or [0], np.int64), columns=columns)


def _views(name: str, column: pa.Array) -> tuple[memoryview, memoryview]:
    """Return the offsets of a column and its texts. A wrong offset would show parts of other products."""
    _, offsets, texts = column.buffers()
    if not len(column):
        return np.zeros(1, np.int64).data, memoryview(b"")
    ends = np.frombuffer(offsets, np.int64, len(column) + 1, 8 * column.offset)
    size = 0 if texts is None else texts.size
    if ends[0] < 0 or ends[-1] > size or (ends[1:] < ends[:-1]).any():
        raise ValueError(f"column {name!r} has texts that do not lie one after the other in its {size} bytes")
    return ends.data, memoryview(b"" if texts is None else texts)


def rows_as_json(texts: AttributeTexts, rows: np.ndarray, fields: Sequence[str]) -> np.ndarray:
    """Return attributes of rows as JSON.

    Args:
        texts: from `read_texts`.
        rows: (n, k) int64, row numbers, -1 for none.
        fields: columns of `texts`.

    Returns:
        (n, k) bytes objects: for each row a JSON object in UTF-8 with the fields in their order, `null` where a value
        is missing; empty where there is no row.
    """
    columns = [texts.columns[field] for field in fields]
    parts: list[bytes | memoryview] = []  # of an object; the values of each row replace those of the row before
    for before, field in zip("{" + "," * len(fields), fields, strict=False):
        parts += [f"{before}{json.dumps(field, ensure_ascii=False)}:".encode(), b""]
    parts.append(b"}")
    flat = rows.ravel()
    batches = texts.starts.searchsorted(flat, side="right") - 1
    within = flat - texts.starts[batches]
    found = np.full(flat.size, b"", np.object_)
    for place, (batch, row) in enumerate(zip(batches.tolist(), within.tolist(), strict=True)):
        if batch < 0:
            continue
        at = 1
        for column in columns:
            ends, values = column[batch]
            start, end = ends[row], ends[row + 1]
            parts[at] = values[start:end] if start < end else b"null"
            at += 2
        found[place] = b"".join(parts)
    return found.reshape(rows.shape)
