"""Script: print the peak memory for building the lexical channel, in bytes per title. Argument: number of titles."""

from __future__ import annotations

import random
import re
import sys
from pathlib import Path

from shopwindow.retrieval.index.lexical import LexicalIndex

WORDS, WORDS_A_TITLE = 20_000, 6


def kib(name: str) -> int:
    """Return a memory figure of this process in KiB. The peak that getrusage gives may be the parent's."""
    return int(re.findall(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())[0])


count, rng = int(sys.argv[1]), random.Random(0)
LexicalIndex.build(["a red mug"])  # import the library before measuring
before = kib("VmRSS")
# As in shops, a few words are in many titles.
LexicalIndex.build([" ".join(f"w{int(WORDS * rng.random() ** 3)}" for _ in range(WORDS_A_TITLE)) for _ in range(count)])
print((kib("VmHWM") - before) * 1024 / count)
