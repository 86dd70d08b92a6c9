"""Validation on clicks kept out of training, and the best weights so far."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
import torch.distributed as dist
from tokenizers import Tokenizer
from torch import Tensor

from shopwindow.retrieval.embedding.text import TextEncoder
from shopwindow.towers.architecture.both_towers import Towers
from shopwindow.towers.architecture.config import TowerConfig
from shopwindow.towers.data.training_data import Clicks, TrainingCatalog
from shopwindow.towers.judging.metrics import find_hits, recall
from shopwindow.towers.judging.ranking import rank as rank_exactly
from shopwindow.towers.objectives.cross_device import rank, world_size

PLACES = 10
_AT_A_TIME = 256
_SPLIT, _CANDIDATES = 1, 2  # separate the random numbers of both draws from each other and from those of the steps


def split_clicks(clicks: Clicks, share: float, seed: int) -> tuple[Clicks, Clicks]:
    """Keep some queries with all their clicks out of training.

    Args:
        clicks: the click log.
        share: share of the queries to keep out, above 0 and below 1. At least one query is kept out.
        seed: seed of the random choice.

    Returns:
        The clicks to train on, and the clicks to validate with.

    Raises:
        ValueError: no query is left to train on.
    """
    count = max(1, round(share * len(clicks.queries)))
    if count >= len(clicks.queries):
        raise ValueError(
            f"validation_share: {share} of {len(clicks.queries)} queries leaves no query to train on; lower it"
        )
    kept_out = np.zeros(len(clicks.queries), dtype=bool)
    kept_out[np.random.default_rng((seed, _SPLIT)).permutation(len(kept_out))[:count]] = True
    return _only(clicks, ~kept_out), _only(clicks, kept_out)


def _only(clicks: Clicks, chosen: np.ndarray) -> Clicks:
    """Return the clicks of the queries marked in `chosen`, (queries,) bool."""
    pairs, numbers = chosen[clicks.query], np.cumsum(chosen) - 1
    return Clicks(
        queries=[clicks.queries[query] for query in np.flatnonzero(chosen)],
        query=numbers[clicks.query[pairs]],
        product=clicks.product[pairs],
        weight=clicks.weight[pairs],
        clicked=[clicks.clicked[query] for query in np.flatnonzero(chosen)],
    )


class Validation:
    """Measures the recall of clicks kept out of training.

    Args:
        config: config of the towers.
        tokenizer: tokeniser of both towers.
        catalog: the products.
        clicks: clicks kept out of training.
        products: number of products to rank: all clicked ones, and others drawn at random to make up the number.
        seed: seed of this draw.
    """

    def __init__(
        self,
        config: TowerConfig,
        tokenizer: Tokenizer,
        catalog: TrainingCatalog,
        clicks: Clicks,
        *,
        products: int,
        seed: int,
    ) -> None:
        self.clicks = clicks
        self._queries = TextEncoder(tokenizer, config.query_max_tokens)
        self._titles = TextEncoder(tokenizer, config.title_max_tokens)
        self._catalog = catalog
        clicked = np.unique(clicks.product)
        others = np.setdiff1d(np.arange(len(catalog.titles)), clicked)
        drawn = np.random.default_rng((seed, _CANDIDATES)).permutation(others)[: max(0, products - len(clicked))]
        self.products = np.sort(np.concatenate([clicked, drawn]))

    def recall(self, towers: Towers) -> float:
        """Return the mean share of a query's clicked products that are among the first 10.

        Products are embedded with title and photo, or with the one that they have. The first rank computes the value,
        and all ranks return the same.
        """
        device = next(towers.parameters()).device
        found = torch.zeros((), dtype=torch.float64, device=device)
        if rank() == 0:
            found += self._recall(towers, device)
        if world_size() > 1:
            dist.broadcast(found, 0)
        return float(found)

    @torch.no_grad()
    def _recall(self, towers: Towers, device: torch.device) -> float:
        training = towers.training
        towers.eval()
        queries = [self._embed_queries(towers, part, device) for part in _parts(np.arange(len(self.clicks.queries)))]
        products = [self._embed_products(towers, part, device) for part in _parts(self.products)]
        towers.train(training)
        ranked = rank_exactly(np.concatenate(queries), np.concatenate(products), self.products, PLACES)
        relevant = np.array([len(rows) for rows in self.clicks.clicked])
        return float(recall(find_hits(ranked, self.clicks.clicked), relevant, PLACES).mean())

    def _embed_queries(self, towers: Towers, numbers: np.ndarray, device: torch.device) -> np.ndarray:
        ids, mask = self._queries.encode([self.clicks.queries[number] for number in numbers])
        embedding: Tensor = towers.query(torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device))
        return embedding.cpu().numpy()

    def _embed_products(self, towers: Towers, rows: np.ndarray, device: torch.device) -> np.ndarray:
        titles = [self._catalog.titles[row] for row in rows]
        ids, mask = self._titles.encode(titles)
        present = np.stack([[bool(title) for title in titles], self._catalog.has_image[rows]], axis=1)
        inputs = (ids, mask, self._catalog.pixels[rows], present.astype(np.float32))
        embedding: Tensor = towers.product(*(torch.from_numpy(array).to(device) for array in inputs))[0]
        return embedding.cpu().numpy()


def _parts(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[start : start + _AT_A_TIME] for start in range(0, len(rows), _AT_A_TIME)]


@dataclass(kw_only=True)
class Best:
    """The best validation so far.

    Attributes:
        recall: its recall; -1 before the first validation.
        since: number of validations after it. None of them was better.
        weights: the weights of the towers at that validation, on the CPU; empty before the first validation.
    """

    recall: float = -1.0
    since: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)

    def update(self, recall: float, towers: Towers) -> None:
        """Record a validation of the towers with their current weights."""
        self.since += 1
        if recall > self.recall:
            self.recall, self.since = recall, 0
            self.weights = {name: tensor.detach().cpu().clone() for name, tensor in towers.state_dict().items()}
