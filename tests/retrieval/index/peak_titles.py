"""Script: print the peak memory for building the lexical channel, in bytes per title.

Arguments: number of titles, language.
"""

from __future__ import annotations

import random
import re
import sys
from pathlib import Path

from shopwindow.retrieval.index.lexical import LexicalIndex

WORDS, WORDS_A_TITLE = 20_000, 6
CHARACTERS, CHARACTERS_A_TITLE = 3_000, 30


def kib(name: str) -> int:
    """Return a memory figure of this process in KiB. The peak that getrusage gives may be the parent's."""
    return int(re.findall(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())[0])


def english() -> str:
    """Return a title. As in shops, a few words are in many titles."""
    return " ".join(f"w{int(WORDS * rng.random() ** 3)}" for _ in range(WORDS_A_TITLE))


def chinese() -> str:
    """Return a title, a few of whose characters are in many titles."""
    return "".join(chr(0x4E00 + int(CHARACTERS * rng.random() ** 3)) for _ in range(CHARACTERS_A_TITLE))


count, rng = int(sys.argv[1]), random.Random(0)
make = {"english": english, "chinese": chinese}[sys.argv[2]]
LexicalIndex.build(["a red mug"])  # import the library before measuring
before = kib("VmRSS")
LexicalIndex.build([make() for _ in range(count)])
print((kib("VmHWM") - before) * 1024 / count)
