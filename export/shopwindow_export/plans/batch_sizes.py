"""The batch sizes at which a model on a GPU is tuned and warmed up."""

from __future__ import annotations


def middle_batch(largest: int) -> int:
    """The power of two nearest below the geometric middle of 1 and `largest`: 8 for 64, 4 for 32.

    Traffic is spread over batches by ratio, not by difference: as much of it lies below this batch as above.
    """
    return int(2 ** ((largest.bit_length() - 1) // 2))


def typical_batches(largest: int) -> tuple[int, ...]:
    """The smallest, the middle and the largest batch, each once."""
    return tuple(sorted({1, middle_batch(largest), largest}))
