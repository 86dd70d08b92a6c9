"""What each channel finds alone, and what only that channel finds, counted query by query."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shopwindow.retrieval import InProcessPipeline
from shopwindow.towers.evaluation.channels import INCREMENT, channels_table, found_alone
from shopwindow.towers.evaluation.retrieval_quality import RECALL
from shopwindow.towers.judging.judgements import read_judgements
from shopwindow.towers.judging.metrics import Estimate
from tests.towers.judged import judged_by


def test_found_alone_is_a_share_of_the_relevant_products() -> None:
    judged = judged_by(queries=["a", "b", "c"], relevant=[{1, 2, 3, 4}, {5}, {6}])
    ours = np.array([[1, 9, 2], [5, 7, -1], [-1, -1, -1]])
    theirs = np.array([[2, 3, 9], [8, -1, -1], [6, -1, -1]])
    assert found_alone(ours, theirs, judged).tolist() == [0.25, 1.0, 0.0]
    assert found_alone(theirs, ours, judged).tolist() == [0.25, 0.0, 1.0]


def test_the_table_holds_each_channel_and_its_increment(pipeline: InProcessPipeline, shop: Path) -> None:
    judged = read_judgements(shop / "queries.parquet", shop / "qrels.parquet")
    found: dict[str, list[set[int]]] = {}
    for channels in ("embedding", "lexical", "embedding,lexical"):
        ranked = [pipeline.retrieve([query], top_k=100, channels=channels).product_ids[0] for query in judged.queries]
        found[channels] = [set(ids.tolist()) & answers for ids, answers in zip(ranked, judged.relevant, strict=True)]

    rows = channels_table(pipeline, judged, seed=0).rows
    embedding, lexical, fused = (row for row in rows if row["slice"] == "all")
    assert [row["channel"] for row in (embedding, lexical, fused)] == ["embedding", "lexical", "fused"]
    for row, hits in zip((embedding, lexical, fused), found.values(), strict=True):
        expected = np.mean([len(some) / len(answers) for some, answers in zip(hits, judged.relevant, strict=True)])
        assert isinstance(row[RECALL], Estimate) and row[RECALL].mean == pytest.approx(expected, abs=1e-3)
    for row, ours, theirs in ((embedding, "embedding", "lexical"), (lexical, "lexical", "embedding")):
        alone = [
            len(here - there) / len(answers)
            for here, there, answers in zip(found[ours], found[theirs], judged.relevant, strict=True)
        ]
        assert isinstance(row[INCREMENT], Estimate)
        assert row[INCREMENT].mean == pytest.approx(np.mean(alone), abs=1e-3)
        assert row[INCREMENT].low <= row[INCREMENT].mean <= row[INCREMENT].high
    assert fused[INCREMENT] is None
    chinese = [row for row in rows if row["slice"] == "script: Chinese, Japanese, Korean"]
    kinds = judged.groups["kind"]
    assert [row["queries"] for row in chinese] == 3 * [kinds.count("chinese")]
    for row, hits in zip(chinese, found.values(), strict=True):
        shares = [
            len(some) / len(answers)
            for some, answers, kind in zip(hits, judged.relevant, kinds, strict=True)
            if kind == "chinese"
        ]
        assert isinstance(row[RECALL], Estimate) and row[RECALL].mean == pytest.approx(np.mean(shares), abs=1e-3)
    assert len(rows) == 9
