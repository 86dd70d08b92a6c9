"""Validation on clicks kept out of training, and the best weights that one has seen."""

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
_SPLIT, _CANDIDATES = 1, 2  # apart from each other and from the steps' random numbers


def split_clicks(clicks: Clicks, share: float, seed: int) -> tuple[Clicks, Clicks]:
    """Keep some queries with all their clicks out of training.

    Args:
        clicks: all.
        share: of the queries, above 0 and below 1; at least one is kept out.
        seed: decides which.

    Returns:
        The clicks to train on and those to validate with.

    Raises:
        ValueError: there is no second query to train on.
    """
    count = max(1, round(share * len(clicks.queries)))
    if count >= len(clicks.queries):
        raise ValueError(
            f"validation_share: {share} of {len(clicks.queries)} queries leaves none to train on; lower it"
        )
    kept_out = np.zeros(len(clicks.queries), dtype=bool)
    kept_out[np.random.default_rng((seed, _SPLIT)).permutation(len(kept_out))[:count]] = True
    return _only(clicks, ~kept_out), _only(clicks, kept_out)


def _only(clicks: Clicks, chosen: np.ndarray) -> Clicks:
    """The clicks of some queries, (queries,) bool."""
    pairs, numbers = chosen[clicks.query], np.cumsum(chosen) - 1
    return Clicks(
        queries=[clicks.queries[query] for query in np.flatnonzero(chosen)],
        query=numbers[clicks.query[pairs]],
        product=clicks.product[pairs],
        weight=clicks.weight[pairs],
        clicked=[clicks.clicked[query] for query in np.flatnonzero(chosen)],
    )


class Validation:
    """Recall of clicks kept out of training.

    Args:
        config: of the towers.
        tokenizer: of both towers.
        catalog: what can be clicked.
        clicks: kept out of training.
        products: how many products are ranked: those clicked, and others drawn at random to make up the number.
        seed: decides which others.
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
        """Mean over the queries of the share of their clicked products among the first 10, the same on every rank.

        Products are embedded with title and photo, as far as they have them; the first rank does the work.
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
    """The best of the validations so far.

    Attributes:
        recall: its recall; -1 before the first.
        since: validations after it, none of them better.
        weights: the towers' at that moment, on the CPU; empty before the first.
    """

    recall: float = -1.0
    since: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)

    def tell(self, recall: float, towers: Towers) -> None:
        """Take note of a validation of the towers as they are now."""
        self.since += 1
        if recall > self.recall:
            self.recall, self.since = recall, 0
            self.weights = {name: tensor.detach().cpu().clone() for name, tensor in towers.state_dict().items()}
