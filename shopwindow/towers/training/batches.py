"""Click pairs to a step's tensors, augmented."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from shopwindow.retrieval.embedding.text import TextEncoder
from shopwindow.towers.architecture.config import TowerConfig
from shopwindow.towers.data.augment import drop_words, jitter, some_words
from shopwindow.towers.data.colours import colour_words, without_words
from shopwindow.towers.data.edits import QueryEdits
from shopwindow.towers.data.mining import keyword_sets
from shopwindow.towers.data.training_data import Clicks, TrainingCatalog
from shopwindow.towers.training.config import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One training step's inputs.

    Attributes:
        query: ids and mask, (queries, tokens): the query of each row, then keyword queries.
        title: ids and mask, (batch, tokens).
        pixels: (batch, size, size, 3) uint8; no rows where texts are trained alone.
        has_image: (batch,) bool.
        has_title: (batch,) bool.
        whole: (batch,) bool, False where title and photo answer the query only together, so that neither may be
            trained on alone.
        title_tells: (batch,) bool, `whole`, and the title is one that has kept its colour words, not some words of
            the query: it may be trained on alone.
        positive: (queries, batch) bool, the product that a query is trained towards.
        products: (batch,) int64, the catalogue rows trained on.
        known_products: for each query, the catalogue rows known or likely to answer it: never negatives.
    """

    query: tuple[Tensor, Tensor]
    title: tuple[Tensor, Tensor]
    pixels: Tensor
    has_image: Tensor
    has_title: Tensor
    whole: Tensor
    title_tells: Tensor
    positive: Tensor
    products: Tensor
    known_products: list[Tensor]

    def known_among(self, products: Tensor) -> Tensor:
        """Which of some catalogue rows, (rows,) int64, are known to answer each query: (queries, rows) bool."""
        return torch.stack([torch.isin(products, known) for known in self.known_products])


class ClickBatches:
    """Draws training batches from a click log.

    Args:
        config: of the towers; their maximum text lengths.
        tokenizer: of both towers.
        catalog: what can be clicked.
        clicks: the log.
        training: batch size and augmentation.
    """

    def __init__(
        self,
        config: TowerConfig,
        tokenizer: Tokenizer,
        catalog: TrainingCatalog,
        clicks: Clicks,
        training: TrainingConfig,
    ) -> None:
        self._queries = TextEncoder(tokenizer, config.query_max_tokens)
        self._titles = TextEncoder(tokenizer, config.title_max_tokens)
        self._catalog = catalog
        self._clicks = clicks
        self._edits = QueryEdits(clicks.queries)
        self._probability = clicks.weight / clicks.weight.sum()
        self._training = training
        self._colourless = without_words(catalog.titles, colour_words())
        pairs = zip(catalog.titles, self._colourless, strict=True)
        self._coloured = np.array([title != colourless for title, colourless in pairs])
        self._keywords = keyword_sets(clicks) if training.keyword_queries else [[] for _ in clicks.queries]

    def draw(self, rng: np.random.Generator, *, texts_only: bool = False) -> Batch:
        """A batch of click pairs, drawn by weight; see `make`."""
        training = self._training
        size = (texts_only and training.text_batch_size) or training.batch_size
        pairs = rng.choice(len(self._probability), size, p=self._probability)
        return self.make(pairs, rng, texts_only=texts_only)

    def make(self, pairs: np.ndarray, rng: np.random.Generator, *, texts_only: bool = False) -> Batch:
        """The batch of given click pairs, (batch,) integer, augmented at random.

        Args:
            pairs: rows of the click log.
            rng: decides about the changes.
            texts_only: leave out all photos, and what needs them: composed queries and titles without their colours.
        """
        catalog, clicks, training = self._catalog, self._clicks, self._training
        queries, products = clicks.query[pairs], clicks.product[pairs]
        titles, shown, whole = [], products.copy(), np.ones(len(pairs), dtype=bool)
        title_tells = np.ones(len(pairs), dtype=bool)
        for row, (query, product) in enumerate(zip(queries, products, strict=True)):
            # What a title no longer says, or not alone, a photo has to.
            seen = not texts_only and catalog.has_image[product]
            if not seen or rng.random() >= training.composed_share:
                colourless = seen and self._coloured[product] and rng.random() < training.colour_dropout
                title = self._colourless[product] if colourless else catalog.titles[product]
                titles.append(drop_words(title, rng, training.word_dropout))
                title_tells[row] = not colourless
            elif (edit := self._draw_edit(query, rng)) is not None:
                shown[row], word = edit
                titles.append(word)
                whole[row] = title_tells[row] = False
            else:
                titles.append(some_words(clicks.queries[query], rng))
                title_tells[row] = False
        asked, answer = self._with_keywords(queries, products, rng)
        known = [clicks.clicked[query] | {products[row]} for query, row in zip(asked, answer, strict=True)]
        return Batch(
            query=_tensors(self._queries.encode([clicks.queries[query] for query in asked])),
            title=_tensors(self._titles.encode(titles)),
            pixels=torch.from_numpy(_jittered(catalog.pixels, shown[:0] if texts_only else shown, rng)),
            has_image=torch.from_numpy(catalog.has_image[shown] & (not texts_only)),
            has_title=torch.tensor([bool(title) for title in titles]),
            whole=torch.from_numpy(whole),
            title_tells=torch.from_numpy(title_tells),
            positive=torch.from_numpy(answer[:, None] == np.arange(len(pairs))[None, :]),
            products=torch.from_numpy(products),
            known_products=[torch.tensor(sorted(rows)) for rows in known],
        )

    def _draw_edit(self, query: int, rng: np.random.Generator) -> tuple[int, str] | None:
        """For half the queries, where there is one: a product with a photo, and the word that leads to the query."""
        edit = self._edits.draw(query, rng) if rng.random() < 0.5 else None
        if edit is None:
            return None
        other, word = edit
        shown = [row for row in sorted(self._clicks.clicked[other]) if self._catalog.has_image[row]]
        return (int(rng.choice(shown)), word) if shown else None

    def _with_keywords(
        self, queries: np.ndarray, products: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """The queries and, behind them, keyword queries; and the row that each is trained towards.

        The keyword queries of a click are those of its query's set that clicked the product too: "red mug" and "mug"
        share clicks, but only on red mugs do they mean the same.
        """
        asked, answer = list(queries), list(range(len(queries)))
        for row, (query, product) in enumerate(zip(queries, products, strict=True)):
            similar = [other for other in self._keywords[query] if product in self._clicks.clicked[other]]
            if similar:
                asked.append(similar[rng.integers(len(similar))])
                answer.append(row)
        return np.array(asked, np.int64), np.array(answer, np.int64)


def _jittered(pixels: np.ndarray, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Some of the photos, (rows, size, size, 3) uint8."""
    return np.stack([jitter(pixels[row], rng) for row in rows]) if len(rows) else pixels[:0]


def _tensors(arrays: tuple[np.ndarray, np.ndarray]) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(arrays[0]), torch.from_numpy(arrays[1])
