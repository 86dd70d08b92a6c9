"""Tensor shapes, compared as Triton compares them."""

from __future__ import annotations

from collections.abc import Sequence

WILDCARD = -1  # any size


def same_shape(left: Sequence[int], right: Sequence[int]) -> bool:
    """Whether two shapes can be of one tensor: equal rank, and equal sizes where neither is a wildcard."""
    return len(left) == len(right) and all(a == b or WILDCARD in (a, b) for a, b in zip(left, right, strict=True))


def show_dims(dims: Sequence[int]) -> str:
    """Dims as in a config: `[ -1, 64 ]`."""
    return f"[ {', '.join(map(str, dims))} ]"
