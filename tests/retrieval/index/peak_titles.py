"""Run as a script: prints the peak memory, in bytes a title, of building the lexical channel. Argument: titles."""

from __future__ import annotations

import random
import re
import sys
from pathlib import Path

from shopwindow.retrieval.index.lexical import LexicalIndex

WORDS, WORDS_A_TITLE = 20_000, 6


def kib(name: str) -> int:
    """A figure of this process alone, which getrusage does not tell."""
    return int(re.findall(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())[0])


count, rng = int(sys.argv[1]), random.Random(0)
LexicalIndex.build(["a red mug"])  # loads what it needs
before = kib("VmRSS")
# Few words are in many titles, as in shops.
LexicalIndex.build([" ".join(f"w{int(WORDS * rng.random() ** 3)}" for _ in range(WORDS_A_TITLE)) for _ in range(count)])
print((kib("VmHWM") - before) * 1024 / count)
