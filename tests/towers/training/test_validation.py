"""Clicks and products kept out of training (validation, early stop, hold-out), and the files that a run writes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from shopwindow.retrieval.embedding.text import TextEncoder
from shopwindow.towers.architecture.both_towers import Towers
from shopwindow.towers.architecture.checkpoint import hash_checkpoint, load_checkpoint
from shopwindow.towers.architecture.config import TowerConfig
from shopwindow.towers.data.holdout import held_out
from shopwindow.towers.data.tokenizer import train_tokenizer
from shopwindow.towers.data.training_data import Clicks, TrainingCatalog, load_catalog, load_clicks
from shopwindow.towers.training.config import TrainingConfig
from shopwindow.towers.training.fit import LOG, STATE
from shopwindow.towers.training.log import RECALL, read_log
from shopwindow.towers.training.objective import Objective
from shopwindow.towers.training.pretrain import CURVES, leave_out, pretrain
from shopwindow.towers.training.validation import Best, Validation, split_clicks
from tests.towers.small import SIZES, small_towers, write_catalog, write_clicks
from tests.towers.training.test_pretrain import Killed, write_config


def data(folder: Path) -> tuple[TrainingCatalog, Clicks]:
    catalog = load_catalog(write_catalog(folder), 16)
    return catalog, load_clicks(write_clicks(folder), catalog)


def pairs_of(clicks: Clicks) -> set[tuple[str, int]]:
    return {(clicks.queries[query], int(row)) for query, row in zip(clicks.query, clicks.product, strict=True)}


def test_a_split_keeps_all_clicks_of_a_query_together(tmp_path: Path) -> None:
    _, clicks = data(tmp_path)
    kept, out = split_clicks(clicks, 0.3, 7)
    assert len(out.queries) == 6  # of 20
    assert set(kept.queries) | set(out.queries) == set(clicks.queries)
    assert not set(kept.queries) & set(out.queries)
    assert pairs_of(kept) | pairs_of(out) == pairs_of(clicks)
    weights = dict(zip(zip(clicks.query, clicks.product, strict=True), clicks.weight, strict=True))
    for part in (kept, out):
        for number, query in enumerate(part.queries):
            assert part.clicked[number] == clicks.clicked[clicks.queries.index(query)]
            assert part.clicked[number] == set(part.product[part.query == number].tolist())
        original = [clicks.queries.index(part.queries[query]) for query in part.query]
        assert part.weight.tolist() == [weights[pair] for pair in zip(original, part.product, strict=True)]
    assert split_clicks(clicks, 0.3, 7)[1].queries == out.queries
    assert split_clicks(clicks, 0.3, 8)[1].queries != out.queries


def test_a_split_that_leaves_nothing_to_train_on_is_refused(tmp_path: Path) -> None:
    _, clicks = data(tmp_path)
    with pytest.raises(ValueError, match=r"validation_share: 0\.99 of 20 queries leaves no query to train on"):
        split_clicks(clicks, 0.99, 7)


def test_the_recall_is_the_share_of_clicked_products_among_the_first_ten(tmp_path: Path) -> None:
    catalog, clicks = data(tmp_path)
    tokenizer = train_tokenizer([*catalog.titles, *clicks.queries], 60)
    towers = small_towers(vocab_size=tokenizer.get_vocab_size()).train()
    validation = Validation(towers.config, tokenizer, catalog, clicks, products=16, seed=7)
    found = validation.recall(towers)
    assert towers.training  # back in training mode, although measured in evaluation mode
    towers.eval()

    with torch.no_grad():
        ids, mask = (torch.from_numpy(a) for a in TextEncoder(tokenizer, 6).encode(clicks.queries))
        titles, title_mask = (torch.from_numpy(a) for a in TextEncoder(tokenizer, 9).encode(catalog.titles))
        present = torch.tensor([[1.0, float(there)] for there in catalog.has_image])
        products = towers.product(titles, title_mask, torch.from_numpy(catalog.pixels), present)[0]
        cosine = towers.query(ids, mask) @ products.T
    shares = []
    for row, clicked in zip(cosine, clicks.clicked, strict=True):
        best = sorted(range(16), key=lambda product: -float(row[product]))[:10]
        shares.append(len(clicked & set(best)) / len(clicked))
    assert found == pytest.approx(np.mean(shares))
    assert 0.2 < found < 0.95


def test_a_validation_ranks_the_clicked_products_and_random_others(tmp_path: Path) -> None:
    catalog, clicks = data(tmp_path)
    tokenizer = train_tokenizer([*catalog.titles, *clicks.queries], 60)
    _, out = split_clicks(clicks, 0.1, 7)
    clicked = set(out.product.tolist())
    config = TowerConfig(vocab_size=60, **SIZES)
    for products in (1, 9, 100):
        ranked = Validation(config, tokenizer, catalog, out, products=products, seed=7).products.tolist()
        assert clicked <= set(ranked)
        assert len(ranked) == len(set(ranked)) == min(16, max(products, len(clicked)))


def test_the_best_is_the_first_with_the_highest_recall_and_keeps_its_weights() -> None:
    best, towers = Best(), small_towers()
    first = {name: tensor.clone() for name, tensor in towers.state_dict().items()}
    best.update(0.5, towers)
    with torch.no_grad():
        towers.query.head.weight.zero_()
    best.update(0.5, towers)
    best.update(0.4, towers)
    assert (best.recall, best.since) == (0.5, 2)
    torch.testing.assert_close(best.weights, first, rtol=0, atol=0)
    best.update(0.6, towers)
    assert (best.recall, best.since) == (0.6, 0)
    assert not best.weights["query.head.weight"].any()


def set_recalls(monkeypatch: pytest.MonkeyPatch, recalls: list[float], seen: list[dict[str, torch.Tensor]]) -> None:
    """Make the validations return these recalls, and add the weights that they saw to `seen`."""
    remaining: Iterator[float] = iter(recalls)

    def recall(validation: Validation, towers: Towers) -> float:
        seen.append({name: tensor.clone() for name, tensor in towers.state_dict().items()})
        return next(remaining)

    monkeypatch.setattr(Validation, "recall", recall)


def train(folder: Path, out: str, **changes: Any) -> Path:
    settings: dict[str, Any] = {"steps": 9, "validation_share": 0.2, "validate_every": 1, "patience": 2, **changes}
    files = {"catalog_file": write_catalog(folder), "clicks_file": write_clicks(folder)}
    pretrain(write_config(folder, **settings), out=folder / out, **files)
    return folder / out


def test_training_stops_when_patience_runs_out_and_writes_the_best_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, torch.Tensor]] = []
    set_recalls(monkeypatch, [0.1, 0.3, 0.2, 0.3, 0.9], seen)
    out = train(tmp_path, "out")
    assert len(seen) == 4  # after 0.3, two validations in a row were not better
    torch.testing.assert_close(dict(load_checkpoint(out).towers.state_dict()), seen[1], rtol=0, atol=0)
    lines = [(line["step"], line[RECALL]) for line in read_log(out / LOG) if RECALL in line]
    assert lines == [(0, 0.1), (1, 0.3), (2, 0.2), (3, 0.3)]


def test_a_resumed_training_remembers_the_best_and_the_patience(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, torch.Tensor]] = []
    forward = Objective.forward

    def until_the_fourth(objective: Objective, batch: Any, step: int) -> dict[str, torch.Tensor]:
        if step == 3:
            raise Killed
        return forward(objective, batch, step)

    with monkeypatch.context() as patch:
        set_recalls(patch, [0.1, 0.3, 0.2], seen)
        patch.setattr(Objective, "forward", until_the_fourth)
        with pytest.raises(Killed):
            train(tmp_path, "out", save_every=1)
    assert (tmp_path / "out" / STATE).is_dir()
    with monkeypatch.context() as patch:
        set_recalls(patch, [0.3], seen)
        out = train(tmp_path, "out", save_every=1)
    torch.testing.assert_close(dict(load_checkpoint(out).towers.state_dict()), seen[1], rtol=0, atol=0)


def test_validations_include_the_last_step_and_do_not_change_the_training(tmp_path: Path) -> None:
    out = train(tmp_path, "some", validate_every=4, patience=0)
    assert [line["step"] for line in read_log(out / LOG) if RECALL in line] == [3, 7, 8]
    every = train(tmp_path, "every", validate_every=1, patience=0)
    losses = [[line for line in read_log(folder / LOG) if "loss" in line] for folder in (out, every)]
    assert losses[0] == losses[1]


def test_held_out_products_do_not_influence_the_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    catalog, _ = data(tmp_path)
    removed = held_out(catalog.product_ids, 0.3)
    assert 0 < removed.sum() < 16
    seen = leave_out(catalog, removed)
    assert seen.product_ids.tolist() == [product for product in range(100, 116) if not removed[product - 100]]
    assert len(seen.titles) == len(seen.pixels) == len(seen.has_image) == 16 - removed.sum()
    assert [seen.titles[seen.row_of[product]] for product in seen.row_of] == seen.titles

    whole = train(tmp_path, "held out", hold_out=0.3, validation_share=0, patience=0)
    assert f"held out: {removed.sum()} products" in capsys.readouterr().out
    # A training on files without those products ends with the same checkpoint.
    left = pq.read_table(write_catalog(tmp_path)).filter(pa.array(~removed))
    clicks = pq.read_table(write_clicks(tmp_path))
    ids = set(left["product_id"].to_pylist())
    kept = clicks.filter(pa.array([product in ids for product in clicks["product_id"].to_pylist()]))
    pq.write_table(left, tmp_path / "left.parquet")
    pq.write_table(kept, tmp_path / "kept.parquet")
    config = write_config(tmp_path, steps=9)
    files = {"catalog_file": tmp_path / "left.parquet", "clicks_file": tmp_path / "kept.parquet"}
    pretrain(config, out=tmp_path / "without", **files)
    assert hash_checkpoint(whole) == hash_checkpoint(tmp_path / "without")


def test_a_run_writes_the_log_with_all_parts_and_a_plot(tmp_path: Path) -> None:
    out = train(tmp_path, "out", masked_words=0.5, masked_patches=0.5, steps=21, patience=0, validate_every=10)
    lines = [line for line in read_log(out / LOG) if "loss" in line]
    assert [line["step"] for line in lines] == [0, 20]
    for line in lines:
        assert set(line) == {"step", "loss", "contrast", "words", "patches", "learning_rate"}
        assert line["loss"] == pytest.approx(line["contrast"] + line["words"] + line["patches"])
    with Image.open(out / CURVES) as picture:
        shown = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    assert len(np.unique(shown, axis=0)) > 100  # lines of several colours, not an empty frame


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"contrast": "guess"}, "contrast: must be one of am_softmax, softmax, sigmoid, got 'guess'"),
        ({"device": "tpu"}, "device: must be one of auto, cpu, cuda, got 'tpu'"),
        ({"hold_out": 1.0}, "hold_out: must be at least 0 and below 1, got 1.0"),
        ({"validation_share": -0.1}, "validation_share: must be at least 0 and below 1, got -0.1"),
        ({"validate_every": 0}, "validate_every: must be at least 1, got 0"),
        ({"patience": 3}, "patience: 3 needs a validation_share above 0, got 0"),
    ],
)
def test_a_setting_out_of_its_range_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainingConfig.from_json(json.loads(json.dumps({"steps": 1, **settings})))
