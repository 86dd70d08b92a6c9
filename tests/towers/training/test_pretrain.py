"""Pre-training on a catalogue of coloured squares: data, batches, learning, reproducibility and resuming."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from shopwindow.retrieval.embedding.text import TextEncoder
from shopwindow.towers.architecture.checkpoint import hash_checkpoint, load_checkpoint
from shopwindow.towers.architecture.config import TowerConfig
from shopwindow.towers.data.tokenizer import train_tokenizer
from shopwindow.towers.data.training_data import load_catalog, load_clicks
from shopwindow.towers.training.batches import ClickBatches
from shopwindow.towers.training.config import TrainingConfig
from shopwindow.towers.training.fit import LOG, STATE, fit
from shopwindow.towers.training.objective import Objective
from shopwindow.towers.training.pretrain import pretrain
from tests.conftest import ROOT
from tests.towers.small import SIZES, small_towers, write_catalog, write_clicks

CONFIGS = ROOT / "shopwindow" / "towers" / "configs"


def write_config(folder: Path, **training: Any) -> Path:
    settings = {"vocab_size": 60, "towers": SIZES, "training": {"steps": 3, "batch_size": 8, **training}}
    (folder / "config.json").write_text(json.dumps(settings))
    return folder / "config.json"


def run(folder: Path, out: str, *, seed: int | None = None, configured: int = 7) -> Path:
    pretrain(
        write_config(folder, seed=configured),
        catalog_file=write_catalog(folder),
        clicks_file=write_clicks(folder),
        out=folder / out,
        seed=seed,
    )
    return folder / out


@pytest.mark.parametrize("name", ["small.json", "chinese.json", "demo.json"])
def test_a_small_config_that_comes_with_the_project_trains(tmp_path: Path, name: str) -> None:
    settings = json.loads((CONFIGS / name).read_text())
    settings["training"] |= {"steps": 2, "text_steps": 1, "batch_size": 8, "text_batch_size": 8, "memory_warmup": 0}
    (tmp_path / name).write_text(json.dumps(settings))
    files = {"catalog_file": write_catalog(tmp_path), "clicks_file": write_clicks(tmp_path)}
    pretrain(tmp_path / name, **files, out=tmp_path / "out")
    sizes = load_checkpoint(tmp_path / "out").towers.config
    assert (sizes.query_max_tokens, sizes.query_layers) == (
        settings["towers"].get("query_max_tokens", TowerConfig.query_max_tokens),
        settings["towers"].get("query_layers", TowerConfig.query_layers),
    )


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    catalog = load_catalog(write_catalog(tmp_path), 16)
    clicks = load_clicks(write_clicks(tmp_path), catalog)
    tokenizer = train_tokenizer([*catalog.titles, *clicks.queries], 60)
    towers = small_towers(vocab_size=tokenizer.get_vocab_size())
    training = TrainingConfig(steps=40, batch_size=32, learning_rate=5e-3)

    def loss() -> float:
        rng = np.random.default_rng(99)
        with torch.inference_mode():
            pairs = np.arange(len(clicks.query))
            batch = ClickBatches(towers.config, tokenizer, catalog, clicks, training).make(pairs, rng)
            return float(sum(Objective(towers, training)(batch, 0).values()))

    before = loss()
    fit(towers, tokenizer, catalog, clicks, training)
    assert loss() < 0.6 * before
    assert not towers.training


def test_the_same_seed_gives_the_same_checkpoint_and_another_seed_another(tmp_path: Path) -> None:
    first, again, other = run(tmp_path, "a"), run(tmp_path, "b"), run(tmp_path, "c", seed=8)
    assert hash_checkpoint(first) == hash_checkpoint(again)
    weights = [load_checkpoint(folder).towers.state_dict() for folder in (first, other)]
    assert not torch.equal(weights[0]["query.head.weight"], weights[1]["query.head.weight"])
    assert (first / "tokenizer.json").read_bytes() == (other / "tokenizer.json").read_bytes()


def test_the_seed_argument_replaces_the_one_in_the_config(tmp_path: Path) -> None:
    configured, replaced = run(tmp_path, "a", configured=8), run(tmp_path, "b", seed=8)
    assert hash_checkpoint(configured) == hash_checkpoint(replaced)


def test_the_catalogue_keeps_products_whose_photo_is_missing_or_broken(tmp_path: Path) -> None:
    catalog = load_catalog(write_catalog(tmp_path), 16)
    assert catalog.product_ids.tolist() == list(range(100, 116))
    assert np.flatnonzero(~catalog.has_image).tolist() == [3, 4]
    assert (catalog.pixels[[3, 4]] == 255).all()
    assert catalog.pixels[0, 0, 0].tolist() == [220, 30, 60]
    assert catalog.row_of[104] == 4


def test_a_click_on_an_unknown_product_is_left_out(tmp_path: Path) -> None:
    catalog = load_catalog(write_catalog(tmp_path), 16)
    unknown = [{"query": "red mug", "product_id": 7, "count": 9}, {"query": "boat", "product_id": 8, "count": 9}]
    clicks = load_clicks(write_clicks(tmp_path, *unknown), catalog)
    assert len(clicks.query) == 32
    assert "boat" not in clicks.queries
    assert clicks.clicked[clicks.queries.index("red mug")] == {0}
    assert clicks.clicked[clicks.queries.index("mug")] == {0, 4, 8, 12}
    assert clicks.weight[:2].tolist() == [2.0, 1.0]  # square roots of the counts


def test_clicks_without_counts_have_equal_weights(tmp_path: Path) -> None:
    catalog = load_catalog(write_catalog(tmp_path), 16)
    pq.write_table(pa.table({"query": ["mug", "lamp"], "product_id": [100, 101]}), tmp_path / "clicks.parquet")
    assert load_clicks(tmp_path / "clicks.parquet", catalog).weight.tolist() == [1.0, 1.0]


def test_only_clicks_on_unknown_products_are_an_error(tmp_path: Path) -> None:
    catalog = load_catalog(write_catalog(tmp_path), 16)
    pq.write_table(pa.table({"query": ["mug"], "product_id": [7]}), tmp_path / "clicks.parquet")
    with pytest.raises(ValueError, match=r"clicks\.parquet: no click names a product of the catalogue"):
        load_clicks(tmp_path / "clicks.parquet", catalog)


def test_a_click_on_a_blank_query_is_left_out(tmp_path: Path) -> None:
    catalog = load_catalog(write_catalog(tmp_path), 16)
    blank = [{"query": query, "product_id": 100, "count": 9} for query in ("", "  \t", "\u200b", None)]
    clicks = load_clicks(write_clicks(tmp_path, *blank), catalog)
    assert len(clicks.query) == 32
    assert all(query.strip().isprintable() for query in clicks.queries)


@pytest.mark.parametrize("title", [None, "", " \u200b", "mug " * 300], ids=["none", "empty", "invisible", "too long"])
def test_a_product_without_a_usable_title_trains_without_it(tmp_path: Path, title: str | None) -> None:
    table = pq.read_table(write_catalog(tmp_path))
    titles = pa.array([title, *table["title"].to_pylist()[1:]], pa.string())
    pq.write_table(table.set_column(table.column_names.index("title"), "title", titles), tmp_path / "products.parquet")
    catalog = load_catalog(tmp_path / "products.parquet", 16)
    clicks = load_clicks(write_clicks(tmp_path), catalog)
    tokenizer = train_tokenizer([*catalog.titles, *clicks.queries], 60)
    training = TrainingConfig(steps=1, composed_share=0.0, colour_dropout=0.0)
    pairs = np.array([0, 2])  # red mug -> 0, red lamp -> 1
    config = TowerConfig(vocab_size=60, **SIZES)
    batch = ClickBatches(config, tokenizer, catalog, clicks, training).make(pairs, np.random.default_rng(0))
    assert batch.has_title.tolist() == [False, True]
    assert batch.has_image.tolist() == [True, True]
    assert batch.title[1].sum(1).tolist()[0] == 0
    parts = Objective(small_towers(vocab_size=tokenizer.get_vocab_size()), training)(batch, 0)
    assert torch.isfinite(parts["contrast"])


def test_a_batch_knows_its_positives(tmp_path: Path) -> None:
    catalog = load_catalog(write_catalog(tmp_path), 16)
    clicks = load_clicks(write_clicks(tmp_path), catalog)
    tokenizer = train_tokenizer([*catalog.titles, *clicks.queries], 60)
    pairs = np.array([0, 1, 3, 9])  # red mug -> 0, mug -> 0, lamp -> 1, mug -> 4 (green)
    training = TrainingConfig(steps=1, composed_share=0.0, colour_dropout=0.0)
    config = TowerConfig(vocab_size=60, **SIZES)
    batch = ClickBatches(config, tokenizer, catalog, clicks, training).make(pairs, np.random.default_rng(0))
    assert batch.known_among(batch.products).tolist() == [
        [True, True, False, False],
        [True, True, False, True],
        [False, False, True, False],
        [True, True, False, True],
    ]
    assert batch.has_image.tolist() == [True, True, True, False]
    assert batch.own_photo.tolist() == [True] * 4
    ids, mask = TextEncoder(tokenizer, 9).encode(["red mug", "red mug", "red lamp", "green mug"])
    assert batch.title[0].tolist() == ids.tolist()
    assert batch.title[1].tolist() == mask.tolist()


def test_some_titles_lose_their_colour_and_are_not_trained_alone(tmp_path: Path) -> None:
    catalog = load_catalog(write_catalog(tmp_path), 16)
    clicks = load_clicks(write_clicks(tmp_path), catalog)
    tokenizer = train_tokenizer([*catalog.titles, *clicks.queries], 60)
    training = TrainingConfig(steps=1, composed_share=0.0, colour_dropout=0.5, title_weight=1.0, photo_weight=0.0)
    config = TowerConfig(vocab_size=60, **SIZES)
    batches = ClickBatches(config, tokenizer, catalog, clicks, training)
    batch = batches.make(np.zeros(200, dtype=np.int64), np.random.default_rng(0))  # red mug -> 0
    red, mug = (tokenizer.encode(word, add_special_tokens=False).ids for word in ("red", "mug"))
    titles = [[int(token) for token, real in zip(*row, strict=True) if real] for row in zip(*batch.title, strict=True)]
    assert {tuple(title) for title in titles} == {tuple(red + mug), tuple(mug)}
    assert batch.own_title.tolist() == [title == red + mug for title in titles]
    assert 60 < int(batch.own_title.sum()) < 140
    assert batch.own_photo.all()


def test_a_composed_query_shows_another_product_and_names_the_change(tmp_path: Path) -> None:
    catalog = load_catalog(write_catalog(tmp_path), 16)
    clicks = load_clicks(write_clicks(tmp_path), catalog)
    tokenizer = train_tokenizer([*catalog.titles, *clicks.queries], 60)
    pairs = np.zeros(200, dtype=np.int64)  # red mug -> 0
    training = TrainingConfig(steps=1, composed_share=1.0)
    config = TowerConfig(vocab_size=60, **SIZES)
    batch = ClickBatches(config, tokenizer, catalog, clicks, training).make(pairs, np.random.default_rng(0))
    edited = ~batch.own_photo.numpy()
    assert 60 < edited.sum() < 140  # about half; the others keep their photo and show words of the query
    red, mug = (tokenizer.encode(word, add_special_tokens=False).ids for word in ("red", "mug"))
    for row in np.flatnonzero(edited):
        title = [token for token, real in zip(*(part[row].tolist() for part in batch.title), strict=True) if real]
        colour = batch.pixels[row, 8, 8].tolist()
        if title == red:  # the photo shows a mug of another colour
            assert colour in ([30, 60, 220], [10, 10, 10])  # never green: that mug has a broken photo
        else:  # the photo shows another red thing
            assert title == mug
            assert colour == [220, 30, 60]
    assert batch.has_image.all()
    assert not batch.own_title.any()  # words of the query must not stand for the product alone


def test_the_title_of_a_product_without_photo_is_not_changed(tmp_path: Path) -> None:
    catalog = load_catalog(write_catalog(tmp_path), 16)
    clicks = load_clicks(write_clicks(tmp_path), catalog)
    tokenizer = train_tokenizer([*catalog.titles, *clicks.queries], 60)
    training = TrainingConfig(steps=1, composed_share=0.5, colour_dropout=0.5)
    assert not catalog.has_image[3]
    batches = ClickBatches(TowerConfig(vocab_size=60, **SIZES), tokenizer, catalog, clicks, training)
    batch = batches.make(np.full(200, 6), np.random.default_rng(0))  # the clicks of product 3
    ids, mask = TextEncoder(tokenizer, TowerConfig.title_max_tokens).encode([catalog.titles[3]] * 200)
    assert batch.title[0].tolist() == ids.tolist() and batch.title[1].tolist() == mask.tolist()
    assert batch.own_title.all() and batch.own_photo.all()


def test_queries_that_differ_only_in_case_and_spaces_count_as_one(tmp_path: Path) -> None:
    catalog = load_catalog(write_catalog(tmp_path), 16)
    again = {"query": " Red  MUG", "product_id": 104, "count": 1}
    clicks = load_clicks(write_clicks(tmp_path, again), catalog)
    assert clicks.queries.count("red mug") == 1 and "Red  MUG" not in clicks.queries
    assert clicks.clicked[clicks.queries.index("red mug")] == {0, 4}


@pytest.mark.parametrize("part", ["training", "towers"])
def test_an_unknown_setting_is_refused(tmp_path: Path, part: str) -> None:
    config = write_config(tmp_path)
    settings = json.loads(config.read_text())
    settings[part]["speed"] = 5
    config.write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=rf"{part}: unknown keys \['speed'\]"):
        pretrain(config, catalog_file=write_catalog(tmp_path), clicks_file=write_clicks(tmp_path), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_keyword_queries_are_additional_positives_and_never_negatives(tmp_path: Path) -> None:
    catalog = load_catalog(write_catalog(tmp_path), 16)
    clicks = load_clicks(write_clicks(tmp_path), catalog)
    tokenizer = train_tokenizer([*catalog.titles, *clicks.queries], 60)
    training = TrainingConfig(steps=1, composed_share=0.0, colour_dropout=0.0, keyword_queries=True)
    config = TowerConfig(vocab_size=60, **SIZES)
    pairs = np.array([0, 2, 8])  # red mug -> 0, red lamp -> 1, green mug -> 4
    batches = ClickBatches(config, tokenizer, catalog, clicks, training)
    batch = batches.make(pairs, np.random.default_rng(0))
    # "red mug" and "mug" share one click of 1 and 4: cosine 1 / 2. So do "red lamp" and "lamp", "green mug" and "mug".
    words = [[tokenizer.id_to_token(int(i)) for i in row if i] for row in batch.query[0]]
    assert words[3:] == [["mug"], ["lamp"], ["mug"]]
    assert batch.positive.tolist() == [[row == answer for row in range(3)] for answer in (0, 1, 2, 0, 1, 2)]
    mug, lamp = [True, False, True], [False, True, False]
    assert batch.known_among(batch.products).tolist() == [
        [True, False, False],
        lamp,
        [False, False, True],
        mug,
        lamp,
        mug,
    ]


class Killed(Exception):
    """Stops a training in the middle."""


def test_a_resumed_training_gives_the_same_result_as_a_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {
        "steps": 7,
        "text_steps": 3,
        "save_every": 2,
        "keyword_queries": True,
        "masked_words": 0.5,
        "masked_patches": 0.5,
        "memory_bank": 20,
        "memory_warmup": 1,
    }

    def train(out: str, **changed: Any) -> None:
        config = write_config(tmp_path, **{**settings, **changed})
        pretrain(config, catalog_file=write_catalog(tmp_path), clicks_file=write_clicks(tmp_path), out=tmp_path / out)

    train("whole")

    forward = Objective.forward

    def until_the_sixth(*arguments: Any) -> dict[str, torch.Tensor]:
        calls.append(arguments)
        if len(calls) == 6:
            raise Killed
        return forward(*arguments)

    calls: list[Any] = []
    with monkeypatch.context() as patch:
        patch.setattr(Objective, "forward", until_the_sixth)
        with pytest.raises(Killed):
            train("stopped")
    assert (tmp_path / "stopped" / STATE).is_dir()
    assert not (tmp_path / "stopped" / "model.safetensors").exists()

    counted: list[Any] = []
    with monkeypatch.context() as patch:
        patch.setattr(Objective, "forward", lambda *arguments: counted.append(arguments) or forward(*arguments))
        train("stopped")
    assert len(counted) == 3  # the state was saved after the fourth step, so steps five to seven are run
    assert hash_checkpoint(tmp_path / "stopped") == hash_checkpoint(tmp_path / "whole")
    assert not (tmp_path / "stopped" / STATE).exists()
    logs = [(tmp_path / out / LOG).read_text() for out in ("whole", "stopped")]
    assert logs[0] == logs[1]


def test_a_run_ignores_the_state_of_another_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"catalog_file": write_catalog(tmp_path), "clicks_file": write_clicks(tmp_path)}
    calls: list[Any] = []

    forward = Objective.forward

    def until_the_third(*arguments: Any) -> dict[str, torch.Tensor]:
        calls.append(arguments)
        if len(calls) == 3:
            raise Killed
        return forward(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Objective, "forward", until_the_third)
        with pytest.raises(Killed):
            pretrain(write_config(tmp_path, steps=4, save_every=1), out=tmp_path / "out", **files)
    pretrain(write_config(tmp_path, steps=4, save_every=1, seed=8), out=tmp_path / "out", **files)
    pretrain(write_config(tmp_path, steps=4, save_every=1, seed=8), out=tmp_path / "fresh", **files)
    assert hash_checkpoint(tmp_path / "out") == hash_checkpoint(tmp_path / "fresh")
