"""The exact answers to some queries, computed before a test, and how many of them a reply contains."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shopwindow_loadtests.scenario.mix import Mix
from shopwindow_loadtests.scenario.options import LoadTestOptions

_SPARE = 32  # products after the k best that may tie with the last of them
_TIE = 1e-6  # a smaller difference comes from adding in another order


@dataclass(frozen=True, kw_only=True)
class ExactAnswers:
    """The results of an exact search.

    Attributes:
        k: The k of recall@k.
        ids: Filter as JSON -> query -> ids of the k best products and of those that tie with the last of them.
    """

    k: int
    ids: Mapping[str, Mapping[str, frozenset[int]]]

    def recall(self, filter_json: str, queries: Sequence[str], found: np.ndarray) -> float:
        """Return the mean recall@k of the queries with known answers.

        Args:
            filter_json: The filter that they were sent with; empty for none.
            queries: The queries that were sent.
            found: (queries, at least k) int64: the product ids that came back, -1 for none.

        Returns:
            0 to 1; NaN if no query has known answers.
        """
        known = self.ids.get(filter_json, {})
        recalls = []
        for query, row in zip(queries, found, strict=True):
            right = known.get(query)
            if right:
                recalls.append(len(right.intersection(row[: self.k].tolist())) / min(self.k, len(right)))
        return float(np.mean(recalls)) if recalls else float("nan")

    def write(self, path: Path) -> None:
        """Write the answers to a JSON file."""
        ids = {name: {query: sorted(right) for query, right in known.items()} for name, known in self.ids.items()}
        path.write_text(json.dumps({"k": self.k, "ids": ids}))

    @classmethod
    def read(cls, path: Path) -> ExactAnswers:
        """Return the answers that `write` wrote."""
        given = json.loads(path.read_text())
        ids = {
            name: {query: frozenset(right) for query, right in known.items()} for name, known in given["ids"].items()
        }
        return cls(k=given["k"], ids=ids)


def exact_answers(options: LoadTestOptions, mix: Mix) -> ExactAnswers:
    """Search the index exactly for a share of the queries, with each filter of the mix.

    The repository's query tower embeds the queries in this process. So a server with wrong towers, a wrong index or a
    wrong search finds other products.

    Raises:
        ValueError: The mix has no text requests, or asks for fewer than k products.
        RetrievalError: Repository and index do not belong together, or a filter does not fit the index.
    """
    from shopwindow.retrieval import InProcessPipeline, parse_parameters
    from shopwindow.retrieval.search.exact import exact_search

    texts = [request for request in mix.requests if request.kind == "text"]
    if not texts or mix.queries is None:
        raise ValueError("recall_share: recall is measured on text requests, and the mix has none")
    for request in texts:
        if request.top_k < options.recall_k:
            raise ValueError(f"recall_k={options.recall_k}: {request.name} asks for only {request.top_k} products")
    queries = mix.texts()
    picked = np.random.default_rng(options.seed).permutation(len(queries))
    known = [queries[row] for row in sorted(picked[: max(1, round(options.recall_share * len(queries)))])]
    pipeline = InProcessPipeline(options.repository, options.index)  # refuses an index built by other towers
    embeddings, index = pipeline.embed_query(known), pipeline.index
    folder = index.folder
    if folder is None:
        raise ValueError(
            f"recall_share: the products of {options.index} are not in the folder, so no exact search is possible"
        )
    ids = {}
    for request in texts:
        parameters = parse_parameters({"filter": request.filter_json or None})
        index.check_parameters(parameters)
        mask = index.mask(parameters.filter)
        rows = np.arange(len(folder.product_ids)) if mask is None else mask.numbers
        k = min(options.recall_k, len(rows))
        scores, best = exact_search(embeddings, folder.all_vectors, rows, min(k + _SPARE, len(rows)))
        right = scores >= scores[:, k - 1 : k] - _TIE if k else np.zeros(best.shape, bool)
        ids[request.filter_json] = {
            query: frozenset(folder.product_ids[row[good]].tolist())
            for query, row, good in zip(known, best, right, strict=True)
        }
    return ExactAnswers(k=options.recall_k, ids=ids)
