"""Callers who ask a tower itself: what is out of bounds is refused with the field, the limit and the value."""

from __future__ import annotations

from typing import Any

import numpy as np

from shopwindow.retrieval import InProcessPipeline
from tests.server.stranger import ask
from tests.whole_server.test_bad_input import assert_refused


def tokens(*ids: int) -> np.ndarray:
    return np.array([ids], np.int32)


WRONG_TOKENS = {
    "an id below 0": (tokens(1, -1), tokens(1, 1), ("ids[0]", "from 0 to", "got -1")),
    "an id beyond the vocabulary": (tokens(2**30), tokens(1), ("ids[0]", "from 0 to", f"got {2**30}")),
    "no tokens": (tokens(), tokens(), ("ids", "1 to", "got 0")),
    "too many tokens": (tokens(*[1] * 900), tokens(*[1] * 900), ("ids", "1 to", "got 900")),
    "fewer marks than tokens": (tokens(1, 2, 3), tokens(1), ("mask", "shape of", "(1, 3), got (1, 1)")),
    "a mark of 2": (tokens(1, 2), tokens(1, 2), ("mask[0]", "0 or 1", "got 2")),
}


def test_wrong_tokens_are_refused_before_a_tower_sees_them(served_ensemble: Any, pipeline: InProcessPipeline) -> None:
    side = pipeline.bundle.image_size
    product = {"pixels": np.zeros((1, side, side, 3), np.uint8), "modality_mask": np.ones((1, 2), np.float32)}
    for case, (ids, mask, reason) in WRONG_TOKENS.items():
        query = {"input_ids": ids, "attention_mask": mask}
        assert_refused(ask, served_ensemble, "query_tower", query, {}, reason, case)
        title = {"title_ids": ids, "title_mask": mask, **product}
        assert_refused(ask, served_ensemble, "product_tower", title, {}, reason, case)
    title = {"title_ids": tokens(1), "title_mask": tokens(1), "pixels": product["pixels"]}
    for given, reason in (
        ((1, 0.5), "0 or 1, got 0.5"),
        ((0, np.nan), "0 or 1, got nan"),
        ((0, 0), "at least one is 1"),
    ):
        modality = {"modality_mask": np.array([given], np.float32)}
        assert_refused(ask, served_ensemble, "product_tower", {**title, **modality}, {}, ("modality_mask[0]", reason))
