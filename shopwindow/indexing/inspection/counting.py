"""Count what the rows of a catalogue hold and lack, in constant memory beside 8 to 20 bytes for each id."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from shopwindow.base.product_keys import key_numbers
from shopwindow.base.skipped_rows import Reasons
from shopwindow.indexing.catalogue.catalog_file import CatalogFile
from shopwindow.indexing.catalogue.columns import refused_rows
from shopwindow.indexing.catalogue.id_set import IdSet
from shopwindow.indexing.catalogue.options import ID, IMAGE, TITLE
from shopwindow.indexing.inspection.photo_column import has_photo_bytes
from shopwindow.indexing.inspection.values import SAMPLED, is_empty, sample_of


class RowCounts:
    """Counts over the rows of a catalogue.

    Attributes:
        held: column -> number of rows that have a value.
        sample: column -> its first values.
        left_out: the rows that are left out, by reason.
        id_type: type of the ids.
    """

    def __init__(self) -> None:
        self.held: Counter[str] = Counter()
        self.sample: dict[str, list[Any]] = defaultdict(list)
        self.left_out = Reasons()
        self.id_type = pa.null()
        self._seen = IdSet()

    def add(self, file: CatalogFile, start: int, records: pa.RecordBatch) -> None:
        """Count rows of a file. `start` is the number of the first one, over all files."""
        self.id_type = records.column(ID).type
        empty = {name: is_empty(records.column(name)) for name in records.schema.names}
        for name, where in empty.items():
            self.held[name] += len(where) - int(where.sum())
            if len(self.sample[name]) < SAMPLED:
                self.sample[name] += sample_of(records.column(name), SAMPLED - len(self.sample[name]))
        reasons = refused_rows(records)
        if not has_photo_bytes(file):
            nothing = empty.get(TITLE, np.array(True)) & empty.get(IMAGE, np.array(True))
            for row in np.flatnonzero(np.broadcast_to(nothing, records.num_rows)).tolist():
                reasons.setdefault(row, "neither title nor photo")
        usable = np.ones(records.num_rows, bool)
        usable[list(reasons)] = False
        rows = np.flatnonzero(usable)
        for row in rows[self._repeated(records.column(ID).take(pa.array(rows)))].tolist():
            reasons[row] = f"{ID}: appears twice"
        self._leave_out(start, records.column(ID), reasons)

    def _repeated(self, ids: pa.Array) -> np.ndarray:
        """Return which ids came before, (rows,) bool. Only the first row of an id is indexed."""
        if pa.types.is_integer(ids.type) or pa.types.is_decimal(ids.type):
            numbers = ids.cast(pa.int64()).to_numpy(zero_copy_only=False)
        else:
            numbers = key_numbers(ids.to_pylist())
        repeated: np.ndarray = np.ones(len(numbers), bool)
        repeated[np.unique(numbers, return_index=True)[1]] = False
        repeated |= self._seen.known(numbers)
        self._seen.add(numbers[~repeated])
        return repeated

    def _leave_out(self, start: int, ids: pa.Array, reasons: Mapping[int, str]) -> None:
        for row in sorted(reasons):
            found = sample_of(ids[row : row + 1], 1)
            self.left_out.add(start + row, found[0] if found else None, reasons[row])
