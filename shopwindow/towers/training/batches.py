"""Turn click pairs into the augmented tensors of a training step."""

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
    """The inputs of one training step.

    Attributes:
        query: ids and mask, (queries, tokens), of the query of each row and then of the keyword queries.
        title: ids and mask, (batch, tokens).
        pixels: (batch, size, size, 3) uint8. It has no rows if texts are trained alone.
        has_image: (batch,) bool.
        has_title: (batch,) bool.
        own_photo: (batch,) bool, True where the photo is the product's. Where it is False, title and photo answer the
            query only together, so neither is trained alone.
        own_title: (batch,) bool, True where photo and title are the product's and the title still has its colour
            words. Only such a title is trained alone.
        positive: (queries, batch) bool, True for the product that a query is trained towards.
        products: (batch,) int64, rows of the catalogue that are trained on.
        known_products: for each query, the catalogue rows known or likely to answer it. They are never negatives.
    """

    query: tuple[Tensor, Tensor]
    title: tuple[Tensor, Tensor]
    pixels: Tensor
    has_image: Tensor
    has_title: Tensor
    own_photo: Tensor
    own_title: Tensor
    positive: Tensor
    products: Tensor
    known_products: list[Tensor]

    def known_among(self, products: Tensor) -> Tensor:
        """Mark which of these catalogue rows, (rows,) int64, are known to answer each query; (queries, rows) bool."""
        return torch.stack([torch.isin(products, known) for known in self.known_products])


class ClickBatches:
    """Draws training batches from a click log.

    Args:
        config: config of the towers, for the maximum text lengths.
        tokenizer: tokeniser of both towers.
        catalog: the products.
        clicks: the click log.
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
        """Draw click pairs by weight and return their batch; see `make`."""
        training = self._training
        size = (texts_only and training.text_batch_size) or training.batch_size
        pairs = rng.choice(len(self._probability), size, p=self._probability)
        return self.make(pairs, rng, texts_only=texts_only)

    def make(self, pairs: np.ndarray, rng: np.random.Generator, *, texts_only: bool = False) -> Batch:
        """Return the batch of these click pairs, augmented at random.

        Args:
            pairs: (batch,) rows of the click log.
            rng: source of all random changes.
            texts_only: leave out all photos and what needs them: composed queries and titles without colour words.
        """
        catalog, clicks, training = self._catalog, self._clicks, self._training
        queries, products = clicks.query[pairs], clicks.product[pairs]
        titles, photos_of = [], products.copy()
        own_photo, own_title = np.ones(len(pairs), dtype=bool), np.ones(len(pairs), dtype=bool)
        for row, (query, product) in enumerate(zip(queries, products, strict=True)):
            # Only a product with a photo may lose its colour words or have its title replaced.
            has_photo = not texts_only and catalog.has_image[product]
            if not has_photo or rng.random() >= training.composed_share:
                colourless = has_photo and self._coloured[product] and rng.random() < training.colour_dropout
                title = self._colourless[product] if colourless else catalog.titles[product]
                titles.append(drop_words(title, rng, training.word_dropout))
                own_title[row] = not colourless
            elif (edit := self._draw_edit(query, rng)) is not None:
                photos_of[row], word = edit
                titles.append(word)
                own_photo[row] = own_title[row] = False
            else:
                titles.append(some_words(clicks.queries[query], rng))
                own_title[row] = False
        all_queries, answers = self._with_keywords(queries, products, rng)
        known = [clicks.clicked[query] | {products[row]} for query, row in zip(all_queries, answers, strict=True)]
        return Batch(
            query=_tensors(self._queries.encode([clicks.queries[query] for query in all_queries])),
            title=_tensors(self._titles.encode(titles)),
            pixels=torch.from_numpy(_jittered(catalog.pixels, photos_of[:0] if texts_only else photos_of, rng)),
            has_image=torch.from_numpy(catalog.has_image[photos_of] & (not texts_only)),
            has_title=torch.tensor([bool(title) for title in titles]),
            own_photo=torch.from_numpy(own_photo),
            own_title=torch.from_numpy(own_title),
            positive=torch.from_numpy(answers[:, None] == np.arange(len(pairs))[None, :]),
            products=torch.from_numpy(products),
            known_products=[torch.tensor(sorted(rows)) for rows in known],
        )

    def _draw_edit(self, query: int, rng: np.random.Generator) -> tuple[int, str] | None:
        """Draw an edit with probability 1/2.

        Returns:
            The row of a product with a photo, and the word that turns its query into this one. None if no edit is drawn
            or there is none.
        """
        edit = self._edits.draw(query, rng) if rng.random() < 0.5 else None
        if edit is None:
            return None
        other, word = edit
        with_photo = [row for row in sorted(self._clicks.clicked[other]) if self._catalog.has_image[row]]
        return (int(rng.choice(with_photo)), word) if with_photo else None

    def _with_keywords(
        self, queries: np.ndarray, products: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Add a keyword query to each click that has one.

        A click's keyword query is drawn from the keyword set of its query, and the product must have been clicked for
        it too. "red mug" and "mug" share clicks, but they mean the same only for red mugs.

        Returns:
            The queries followed by the keyword queries, and for each the row of the batch that it is trained towards.
        """
        all_queries, answers = list(queries), list(range(len(queries)))
        for row, (query, product) in enumerate(zip(queries, products, strict=True)):
            similar = [other for other in self._keywords[query] if product in self._clicks.clicked[other]]
            if similar:
                all_queries.append(similar[rng.integers(len(similar))])
                answers.append(row)
        return np.array(all_queries, np.int64), np.array(answers, np.int64)


def _jittered(pixels: np.ndarray, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the photos of these rows with jitter, (rows, size, size, 3) uint8."""
    return np.stack([jitter(pixels[row], rng) for row in rows]) if len(rows) else pixels[:0]


def _tensors(arrays: tuple[np.ndarray, np.ndarray]) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(arrays[0]), torch.from_numpy(arrays[1])
