"""A training begins with texts alone and goes on with photos, while the texts change little or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from shopwindow.towers.data.tokenizer import train_tokenizer
from shopwindow.towers.data.training_data import load_catalog, load_clicks
from shopwindow.towers.training.batches import ClickBatches
from shopwindow.towers.training.config import TrainingConfig
from shopwindow.towers.training.objective import Objective
from shopwindow.towers.training.schedule import Schedule, learning_rate
from tests.towers.small import small_towers, write_catalog, write_clicks

PARTS = {
    "texts": ("query", "product.title", "product.head"),
    "photos": ("product.image",),
}


@pytest.mark.parametrize("rate", [0.0, 0.1], ids=["fixed texts", "slow texts"])
@pytest.mark.parametrize("share", [False, True], ids=["two text encoders", "one"])
def test_texts_learn_first_and_then_photos(tmp_path: Path, share: bool, rate: float) -> None:
    catalog = load_catalog(write_catalog(tmp_path), 16)
    clicks = load_clicks(write_clicks(tmp_path), catalog)
    tokenizer = train_tokenizer([*catalog.titles, *clicks.queries], 60)
    towers = small_towers(vocab_size=tokenizer.get_vocab_size(), share_text_encoder=share)
    training = TrainingConfig(
        steps=4, text_steps=2, batch_size=8, text_batch_size=12, text_rate=rate, weight_decay=0.5, bf16=False,
        masked_words=1.0, masked_patches=1.0, memory_bank=50,
    )  # fmt: skip
    batches = ClickBatches(towers.config, tokenizer, catalog, clicks, training)
    objective = Objective(towers, training)
    schedule = Schedule(objective, towers, training)

    def weights() -> dict[str, torch.Tensor]:
        return {
            kind: torch.cat([p.detach().flatten() for name in names for p in towers.get_submodule(name).parameters()])
            for kind, names in PARTS.items()
        }

    rng = np.random.default_rng(0)
    moved, losses, sizes = [], [], []
    for step in range(4):
        before = weights()
        schedule.start(step)
        batch = batches.draw(rng, texts_only=training.texts_only(step))
        losses.append(objective(batch, step))
        sizes.append((len(batch.title[0]), len(batch.pixels), len(objective.bank.read()[1])))
        schedule.optimizer.zero_grad()
        torch.autograd.backward(torch.stack(list(losses[-1].values())).sum())
        schedule.optimizer.step()
        moved.append({kind for kind, values in weights().items() if not torch.equal(values, before[kind])})
    assert moved == [{"texts"}] * 2 + [{"photos", "texts"} if rate else {"photos"}] * 2
    assert [set(loss) for loss in losses] == [{"contrast", "words"}] * 2 + [{"contrast", "patches"}] * 2
    assert [size[:2] for size in sizes] == [(12, 0), (12, 0), (8, 8), (8, 8)]
    assert [size[2] > 0 for size in sizes] == [False, False, True, True]  # the bank does not keep titles alone
    schedule.end()
    assert all(parameter.requires_grad for parameter in towers.parameters())


def test_text_steps_must_be_below_steps() -> None:
    with pytest.raises(ValueError, match="text_steps: must be below steps 5, got 5"):
        TrainingConfig(steps=5, text_steps=5)


def test_the_learning_rate_rises_and_falls_once_for_texts_and_once_for_photos() -> None:
    rates = [learning_rate(step, 2.0, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.4)
    assert max(rates) == rates[4] == pytest.approx(2.0)
    assert rates[52] == pytest.approx(1.0, abs=0.02)
    assert rates[99] < 1e-3
    towers = small_towers()
    schedule = Schedule(towers, towers, TrainingConfig(steps=150, text_steps=50, text_rate=0.1, learning_rate=2.0))
    found = []
    for step in range(150):
        schedule.start(step)
        found.append([group["lr"] for group in schedule.optimizer.param_groups])
    assert found[:50] == [[rate, rate] for rate in (learning_rate(step, 2.0, 50) for step in range(50))]
    assert found[50:] == [[0.1 * rate, rate] for rate in rates]
