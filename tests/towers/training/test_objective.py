"""The loss of a step: what each objective adds, and which products must not count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from shopwindow.towers.data.tokenizer import train_tokenizer
from shopwindow.towers.data.training_data import load_catalog, load_clicks
from shopwindow.towers.objectives.contrast import contrast
from shopwindow.towers.training.batches import Batch, ClickBatches
from shopwindow.towers.training.config import TrainingConfig
from shopwindow.towers.training.objective import Objective
from tests.towers.small import small_towers, write_catalog, write_clicks


def training(**changes: Any) -> TrainingConfig:
    return TrainingConfig(steps=1, bf16=False, composed_share=0.0, colour_dropout=0.0, **changes)


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    """Four products, each with a different query."""
    catalog = load_catalog(write_catalog(tmp_path), 16)
    clicks = load_clicks(write_clicks(tmp_path), catalog)
    tokenizer = train_tokenizer([*catalog.titles, *clicks.queries], 40)
    batches = ClickBatches(small_towers().config, tokenizer, catalog, clicks, training())
    return batches.make(np.array([0, 2, 4, 10]), np.random.default_rng(0))


def loss(batch: Batch, *, step: int = 1_000, fill: Any = None, **changes: Any) -> float:
    objective = Objective(small_towers(), training(**changes))
    if fill is not None:
        objective.bank.push(*fill(objective))
    torch.manual_seed(0)
    with torch.inference_mode():
        return float(sum(objective(batch, step).values()))


def same_embedding(ids: list[int]) -> Any:
    """Return a function that makes bank contents: these product ids, all with the same embedding."""

    def fill(objective: Objective) -> tuple[torch.Tensor, torch.Tensor]:
        embedding = torch.nn.functional.normalize(torch.ones(len(ids), objective.towers.config.embedding_dim), dim=1)
        return embedding, torch.tensor(ids)

    return fill


def test_an_empty_bank_gives_the_plain_loss(batch: Batch) -> None:
    assert loss(batch, memory_bank=8) == pytest.approx(loss(batch), abs=1e-6)


def test_remembered_products_are_additional_negatives_after_the_warm_up(batch: Batch) -> None:
    others = same_embedding([900, 901])
    plain = loss(batch)
    assert loss(batch, memory_bank=8, fill=others) > plain + 1e-3
    assert loss(batch, memory_bank=8, fill=others, step=3, memory_warmup=4) == pytest.approx(plain, abs=1e-6)


def test_a_remembered_product_that_answers_every_query_is_never_a_negative(batch: Batch) -> None:
    known_products = [torch.cat([known, torch.tensor([900])]) for known in batch.known_products]
    changed = Batch(**{**vars(batch), "known_products": known_products})
    assert loss(changed, memory_bank=8, fill=same_embedding([900])) == pytest.approx(loss(batch), abs=1e-6)


def test_the_bank_remembers_the_products_of_the_batch(batch: Batch) -> None:
    objective = Objective(small_towers(), training(memory_bank=8))
    objective(batch, 0)
    embeddings, products = objective.bank.read()
    assert products.tolist() == batch.products.tolist()
    assert torch.allclose(embeddings.norm(dim=1), torch.ones(len(products)))


@pytest.mark.parametrize("weight", ["masked_words", "masked_patches"])
def test_a_masked_objective_adds_in_proportion_to_its_weight(batch: Batch, weight: str) -> None:
    def trained(value: float) -> float:
        objective = Objective(small_towers(), training(**{weight: 1.0}))
        objective.training_config = training(**{weight: value})
        torch.manual_seed(0)
        with torch.inference_mode():
            return float(sum(objective(batch, 0).values()))

    torch.manual_seed(1)
    plain = loss(batch)
    torch.manual_seed(1)
    one = trained(1.0)
    torch.manual_seed(1)
    two = trained(2.0)
    assert one > plain
    assert two - plain == pytest.approx(2 * (one - plain), rel=1e-3)


@pytest.mark.parametrize("kind", ["contrastive", "regression"])
def test_masked_patches_train_the_image_encoder(batch: Batch, kind: str) -> None:
    objective = Objective(small_towers(), training(masked_patches=1.0, patch_objective=kind))
    objective._patches(batch).backward()
    gradient = objective.towers.product.image.encoder.blocks[0].qkv.weight.grad
    assert gradient is not None and bool(gradient.abs().sum() > 0)


def test_an_unknown_patch_objective_is_refused() -> None:
    with pytest.raises(ValueError, match="patch_objective: must be one of contrastive, regression, got 'guess'"):
        training(patch_objective="guess")


@pytest.mark.parametrize("kind", ["am_softmax", "softmax", "sigmoid"])
def test_the_loss_of_the_full_form_is_the_configured_contrast(batch: Batch, kind: str) -> None:
    towers = small_towers()
    settings = training(contrast=kind, title_weight=0.0, photo_weight=0.0, scale=7.0, margin=0.1)
    with torch.inference_mode():
        queries = towers.query(*batch.query)
        present = torch.stack([batch.has_title, batch.has_image], 1).float()
        cosine = queries @ towers.product(*batch.title, batch.pixels, present)[0].T
        known = batch.known_among(batch.products)
        expected = sum(
            contrast(rows, positive, ignored, kind=kind, scale=7.0, margin=0.1).mean()
            for rows, positive, ignored in ((cosine, batch.positive, known), (cosine.T, batch.positive.T, known.T))
        )
        assert float(Objective(towers, settings)(batch, 0)["contrast"]) == pytest.approx(float(expected), rel=1e-5)


def test_a_title_without_its_colour_does_not_count_in_the_title_only_form(batch: Batch) -> None:
    own_title = torch.tensor([False, True, True, True])
    changed = Batch(**{**vars(batch), "own_title": own_title})
    alone = loss(changed, title_weight=1.0, photo_weight=0.0) - loss(changed, title_weight=0.0, photo_weight=0.0)
    towers = small_towers()
    with torch.inference_mode():
        title_only = torch.tensor([[1.0, 0.0]]).repeat(4, 1)
        titles = towers.product(*batch.title, batch.pixels, title_only)[0]
        cosine = (towers.query(*batch.query) @ titles.T)[:, own_title]
        known = batch.known_among(batch.products)[:, own_title]
        positive = batch.positive[:, own_title]
        counts = positive.any(1)
        expected = float(contrast(cosine, positive, known, kind="am_softmax", scale=20.0, margin=0.2)[counts].mean())
        expected += float(contrast(cosine.T, positive.T, known.T, kind="am_softmax", scale=20.0, margin=0.2).mean())
    assert alone == pytest.approx(expected, rel=1e-4)
