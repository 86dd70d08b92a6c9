"""The lexical channel: BM25 over titles, in a folder of memory-mapped files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shopwindow.retrieval.errors import IndexUnfit
from shopwindow.retrieval.index.lexical_words import split_words

# Titles hardly repeat a word, and where they do it says little: a low k1, under which a repeated word hardly adds.
_K1 = 0.5


class LexicalIndex:
    """BM25 scores of titles, worked out word by word when built (Lù 2024, "BM25S"), so that a search only adds them up.

    A title of six words costs some 65 µs and, all titles being held at once, 650 bytes of memory to build, and 50 bytes
    of disk. A search adds up over the titles that share a word with the query, and passes over one number for every
    title: its time grows with the catalogue.

    Args:
        scores: the library's index, a `bm25s.BM25`.
    """

    def __init__(self, scores: Any) -> None:
        self._scores = scores

    @classmethod
    def build(cls, titles: Sequence[str]) -> LexicalIndex | None:
        """Index titles.

        Args:
            titles: one a product, empty where there is none.

        Returns:
            The index; None where no title has a word.
        """
        import bm25s

        words = split_words(titles)
        # Numbered in alphabetical order: the library's own numbers differ from run to run, and so would the files.
        numbers = {word: number for number, word in enumerate(sorted({word for title in words for word in title}))}
        if not numbers:
            return None
        scores = bm25s.BM25(k1=_K1)
        rows = [[numbers[word] for word in title] for title in words]
        scores.index((rows, numbers), create_empty_token=False, show_progress=False)
        return cls(scores)

    @classmethod
    def read(cls, folder: Path) -> LexicalIndex:
        """Open a written index; all but the vocabulary stays on disk until touched.

        Raises:
            IndexUnfit: a file is missing or unreadable, or the files do not belong together.
        """
        import bm25s

        try:
            scores = bm25s.BM25.load(folder, mmap=True)
            data, indices, ends = (scores.scores[name] for name in ("data", "indices", "indptr"))
            fits = len(ends) == len(scores.vocab_dict) + 1 and len(data) == len(indices) == ends[-1]
        except (OSError, EOFError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise IndexUnfit(f"{folder}: {error!r}") from error
        if not fits:
            raise IndexUnfit(
                f"{folder}: parts disagree: {len(scores.vocab_dict)} words, {len(ends)} ends, {len(data)} scores, "
                f"{len(indices)} rows"
            )
        return cls(scores)

    def write(self, folder: Path) -> None:
        """Write the index into a folder, which is made when missing."""
        self._scores.save(folder, show_progress=False)

    @property
    def rows(self) -> int:
        """Titles indexed, the empty ones too."""
        return int(self._scores.scores["num_docs"])

    def search(self, query: str, k: int, mask: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The titles that score best.

        Args:
            query: a text.
            k: titles wanted, at least 1.
            mask: (rows,) bool, the titles that may be found; None for all.

        Returns:
            scores (found,) float32 above 0 in falling order, and row numbers (found,) int64; equal scores in row
            order. Only titles that share a word with the query are found, so `found` may be less than k.
        """
        words = self._scores.get_tokens_ids(split_words([query])[0])
        scores: np.ndarray = self._scores.get_scores_from_ids(words, weight_mask=mask)
        rows = np.flatnonzero(scores > 0)
        scores = scores[rows]
        if len(rows) > k:
            worst = np.partition(scores, len(scores) - k)[len(scores) - k]
            rows, scores = rows[scores >= worst], scores[scores >= worst]
        order = np.argsort(-scores, kind="stable")[:k]
        return scores[order], rows[order]
