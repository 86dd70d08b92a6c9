"""The lexical channel: BM25 over titles, stored in a folder of memory-mapped files."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shopwindow.retrieval.embedding.folding import fold
from shopwindow.retrieval.errors import IndexUnfit, Unfit
from shopwindow.retrieval.index.lexical_words import WORDS_FILE, WordSplitter

# Titles hardly ever repeat a word, and a repeated word says little. With a low k1 it adds little to the score.
_K1 = 0.5


class LexicalIndex:
    """BM25 scores of titles. The build computes a score for every word of every title, and a search adds them up.

    The method is that of Lù 2024, "BM25S". To build, a title of six words takes about 65 µs, 650 bytes of memory (all
    titles are in memory at once) and 50 bytes of disk. A Chinese title of n characters takes as much as 2n words. A
    search adds up the scores of the titles that share a word with the query, and reads one number for every title. So
    its time grows with the catalogue.

    Args:
        scores: the library's index, a `bm25s.BM25`.
        splitter: split the titles, and splits queries.
    """

    def __init__(self, scores: Any, splitter: WordSplitter) -> None:
        self._scores = scores
        self.splitter = splitter

    @classmethod
    def build(cls, titles: Sequence[str], splitter: WordSplitter | None = None) -> LexicalIndex | None:
        """Index titles.

        Args:
            titles: one for each product, empty for a product without a title. They are folded here.
            splitter: splits them into words; None takes the usual one.

        Returns:
            The index, or None if no title has a word.
        """
        import bm25s

        splitter = splitter or WordSplitter()
        # Numbered here, in the order of the titles: the library's own numbers, and so the files, differ in each run.
        numbers: dict[str, int] = {}
        rows = [[numbers.setdefault(word, len(numbers)) for word in splitter.title(fold(title))] for title in titles]
        if not numbers:
            return None
        scores = bm25s.BM25(k1=_K1)
        scores.index((rows, numbers), create_empty_token=False, show_progress=False)
        return cls(scores, splitter)

    @classmethod
    def read(cls, folder: Path) -> LexicalIndex:
        """Open an index on disk. Only the vocabulary is loaded; the rest is memory-mapped.

        If an earlier version wrote it, the log says what it does not find.

        Raises:
            IndexUnfit: a file is missing or unreadable, of an unknown format, or the files do not belong together.
        """
        import bm25s

        splitter = WordSplitter.read(folder)
        try:
            scores = bm25s.BM25.load(folder, mmap=True)
            data, indices, ends = (scores.scores[name] for name in ("data", "indices", "indptr"))
            fits = len(ends) == len(scores.vocab_dict) + 1 and len(data) == len(indices) == ends[-1]
        except (OSError, EOFError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise IndexUnfit(f"{folder}: {error!r}", kind=Unfit.UNREADABLE) from error
        if not fits:
            raise IndexUnfit(
                f"{folder}: parts disagree: {len(scores.vocab_dict)} words, {len(ends)} ends, {len(data)} scores, "
                f"{len(indices)} rows",
                kind=Unfit.UNREADABLE,
            )
        if not (folder / WORDS_FILE).exists():
            logging.getLogger(__name__).warning(
                "%s: an earlier version split these titles into words. Chinese, Japanese and Korean titles, and words "
                "in HTML or in full-width letters, are not found by words until 'shopwindow index' builds the index "
                "again, or an update adds or changes a product",
                folder,
            )
        return cls(scores, splitter)

    def write(self, folder: Path) -> None:
        """Write the index into a folder. The folder is created if it is missing."""
        self._scores.save(folder, show_progress=False)
        self.splitter.write(folder)

    @property
    def rows(self) -> int:
        """Number of indexed titles, including empty ones."""
        return int(self._scores.scores["num_docs"])

    def scores(self, query: str, mask: np.ndarray | None = None) -> np.ndarray:
        """Return the score of every title, (rows,) float32; 0 for those that share no word with the query.

        Args:
            query: the words to search for, folded.
            mask: (rows,) bool, True for titles that may be found; None allows all.
        """
        words = self._scores.get_tokens_ids(self.splitter.query(query))
        scores: np.ndarray = self._scores.get_scores_from_ids(words, weight_mask=mask)
        return scores

    def search(self, query: str, k: int, mask: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return the titles with the best scores.

        Args:
            query: the words to search for, folded.
            k: number of titles to return at most, 1 or more.
            mask: (rows,) bool, True for titles that may be found; None allows all.

        Returns:
            Scores (found,) float32 above 0 in descending order, and row numbers (found,) int64. Equal scores are in row
            order. `found` may be less than k, because only titles that share a word with the query are found.
        """
        scores = self.scores(query, mask)
        rows = np.flatnonzero(scores > 0)
        scores = scores[rows]
        if len(rows) > k:
            worst = np.partition(scores, len(scores) - k)[len(scores) - k]
            rows, scores = rows[scores >= worst], scores[scores >= worst]
        order = np.argsort(-scores, kind="stable")[:k]
        return scores[order], rows[order]
