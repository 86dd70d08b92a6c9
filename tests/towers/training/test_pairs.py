"""Batches of same-style pairs, and their loss."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from shopwindow.towers.data.tokenizer import train_tokenizer
from shopwindow.towers.data.training_data import load_catalog
from shopwindow.towers.objectives.same_style import locality_consistency, product_matching, self_distinctiveness
from shopwindow.towers.training.config import TrainingConfig
from shopwindow.towers.training.objective import Objective
from shopwindow.towers.training.pairs import PairBatches
from tests.towers.small import small_towers, write_catalog


def batches(folder: Path, pairs: list[tuple[int, int]]) -> PairBatches:
    catalog = load_catalog(write_catalog(folder), 16)
    table = pa.table({"trigger_id": [t for t, _ in pairs], "recall_id": [r for _, r in pairs]})
    pq.write_table(table, folder / "pairs.parquet")
    tokenizer = train_tokenizer(catalog.titles, 40)
    return PairBatches(small_towers().config, tokenizer, catalog, folder / "pairs.parquet")


def test_a_batch_never_holds_two_pairs_of_one_style(tmp_path: Path) -> None:
    # Shared products link 100 to 105, although not every two of them are a pair. 110-111 and 112-113 are separate.
    chain = list(pairwise(range(100, 106)))
    source = batches(tmp_path, [*chain, (110, 111), (112, 113), (113, 112)])
    assert source.styles == 3
    for seed in range(20):
        trigger, partner = source.draw(64, np.random.default_rng(seed))
        assert len(trigger.pixels) == len(partner.pixels) == 3


def test_pairs_of_unknown_products_are_left_out_and_only_such_pairs_are_an_error(tmp_path: Path) -> None:
    assert batches(tmp_path, [(100, 101), (100, 7)]).styles == 1
    with pytest.raises(ValueError, match=r"pairs\.parquet: no pair names two products"):
        batches(tmp_path, [(7, 8)])


def test_the_loss_is_three_ppm_two_pdc_and_two_lc(tmp_path: Path) -> None:
    # Products 103 and 104 have no photo, so their masked forms do not count.
    source = batches(tmp_path, [(100, 101), (102, 103), (104, 105), *[(106 + i, 106 + i) for i in range(10)]])
    assert source.styles == 13
    trigger, partner = source.draw(64, np.random.default_rng(0))
    towers = small_towers()
    training = TrainingConfig(
        steps=1, bf16=False, same_style=0.7, self_distinctiveness=0.5, locality=2.0, hinge_margin=0.3
    )
    with torch.inference_mode():
        found = Objective(towers, training).same_style(trigger, partner)
        offer = towers.product(**vars(partner))[0]

        def form(*present: float) -> torch.Tensor:
            mask = trigger.modality_mask * torch.tensor(present)
            inputs = {**vars(trigger), "modality_mask": mask}
            return towers.product(**inputs)[0]

        full = form(1, 1)
        both = trigger.modality_mask.prod(1) > 0
        assert 0 < int(both.sum()) < len(both)
        expected = product_matching(full, offer, margin=0.3).mean()
        for masked in (form(1, 0), form(0, 1)):
            expected = expected + product_matching(masked, offer, margin=0.3)[both].mean()
            expected = expected + 0.5 * self_distinctiveness(full, masked, margin=0.3)[both].mean()
            expected = expected + 2.0 * locality_consistency(full, masked, offer, margin=0.01)[both].mean()
    assert found.item() == pytest.approx(0.7 * expected.item(), rel=1e-5)
