"""Batches of same-style pairs: row i of both sides holds two listings of one product."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from shopwindow.retrieval.duplicates.labelled_pairs import read_pairs
from shopwindow.retrieval.embedding.text import TextEncoder
from shopwindow.towers.architecture.config import TowerConfig
from shopwindow.towers.data.augment import jitter
from shopwindow.towers.data.training_data import TrainingCatalog


@dataclass(frozen=True, kw_only=True)
class Products:
    """The inputs of the product tower; see `ProductTower.forward`."""

    title_ids: Tensor
    title_mask: Tensor
    pixels: Tensor
    modality_mask: Tensor


class PairBatches:
    """Draws pairs so that no two rows of a batch show the same style.

    So in-batch negatives are never known positives, and the losses can stay exactly as their authors define them.

    Args:
        config: config of the towers.
        tokenizer: tokeniser of the product tower.
        catalog: the products.
        file: parquet with trigger_id, recall_id and optionally label. Pairs with unknown products, and those labelled
            as different, are left out.

    Raises:
        ValueError: the file is wrong, or no pair names two products of the catalogue.
    """

    def __init__(self, config: TowerConfig, tokenizer: Tokenizer, catalog: TrainingCatalog, file: Path) -> None:
        self._titles = TextEncoder(tokenizer, config.title_max_tokens)
        self._catalog = catalog
        ids = read_pairs(file).same
        rows = [(catalog.row_of.get(trigger), catalog.row_of.get(recall)) for trigger, recall in ids]
        pairs = [(trigger, recall) for trigger, recall in rows if trigger is not None and recall is not None]
        if not pairs:
            raise ValueError(f"{file}: no pair names two products of the catalogue")
        self._styles = _styles(pairs)

    @property
    def styles(self) -> int:
        """Number of styles, which are groups of products linked by pairs. It is also the largest possible batch."""
        return len(self._styles)

    @property
    def identity(self) -> bytes:
        """Bytes that are equal for the same pairs of the same catalogue."""
        return repr(self._styles).encode()

    def draw(self, size: int, rng: np.random.Generator) -> tuple[Products, Products]:
        """Draw triggers and their partners, `size` rows each or as many as there are styles."""
        chosen = rng.choice(len(self._styles), min(size, len(self._styles)), replace=False)
        pairs = [self._styles[style][rng.integers(len(self._styles[style]))] for style in chosen]
        return self._products([trigger for trigger, _ in pairs], rng), self._products([r for _, r in pairs], rng)

    def _products(self, rows: list[int], rng: np.random.Generator) -> Products:
        catalog = self._catalog
        titles = [catalog.titles[row] for row in rows]
        ids, mask = self._titles.encode(titles)
        present = [[bool(title), bool(catalog.has_image[row])] for title, row in zip(titles, rows, strict=True)]
        return Products(
            title_ids=torch.from_numpy(ids),
            title_mask=torch.from_numpy(mask),
            pixels=torch.from_numpy(np.stack([jitter(catalog.pixels[row], rng) for row in rows])),
            modality_mask=torch.tensor(present, dtype=torch.float32),
        )


def _styles(pairs: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """Group pairs by the connected component of their products."""
    parent: dict[int, int] = {}

    def root(row: int) -> int:
        parent.setdefault(row, row)
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for trigger, recall in pairs:
        parent[root(trigger)] = root(recall)
    groups: dict[int, list[tuple[int, int]]] = {}
    for pair in pairs:
        groups.setdefault(root(pair[0]), []).append(pair)
    return list(groups.values())
