"""The batch sizes at which a model on a GPU is tuned and warmed up."""

from __future__ import annotations


def middle_batch(largest: int) -> int:
    """Return the power of two at or just below the geometric mean of 1 and `largest`: 8 for 64, 4 for 32.

    Traffic spreads over batch sizes by ratio, not by difference. So as much of it lies below this size as above.
    """
    return int(2 ** ((largest.bit_length() - 1) // 2))


def typical_batches(largest: int) -> tuple[int, ...]:
    """Return the smallest, the middle and the largest batch size, each once."""
    return tuple(sorted({1, middle_batch(largest), largest}))
