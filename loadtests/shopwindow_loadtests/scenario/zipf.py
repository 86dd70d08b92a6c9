"""More queries than a file has, so that a Zipf mix has a tail that no cache holds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def widen(queries: Sequence[str], count: int, seed: int = 0) -> list[str]:
    """The queries, then new ones of their words, as long as those are.

    Args:
        queries: Distinct.
        count: Of all together; fewer where their words allow no more.
        seed: Of the draws.
    """
    random = np.random.default_rng(seed)
    lengths = [len(query.split()) for query in queries]
    words = np.array(sorted({word for query in queries for word in query.split()}))
    wide = dict.fromkeys(queries[:count])
    for _ in range(50 * count):
        if len(wide) >= count:
            break
        length = lengths[random.integers(len(lengths))]
        wide[" ".join(words[random.integers(len(words), size=length)].tolist())] = None
    return list(wide)
