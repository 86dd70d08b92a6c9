"""Tensor shapes, compared as Triton compares them."""

from __future__ import annotations

from collections.abc import Sequence

WILDCARD = -1  # any size


def same_shape(left: Sequence[int], right: Sequence[int]) -> bool:
    """Return whether two shapes can belong to one tensor: equal rank, and equal sizes unless one is a wildcard."""
    return len(left) == len(right) and all(a == b or WILDCARD in (a, b) for a, b in zip(left, right, strict=True))


def show_dims(dims: Sequence[int]) -> str:
    """Return dims as in a config: `[ -1, 64 ]`."""
    return f"[ {', '.join(map(str, dims))} ]"
