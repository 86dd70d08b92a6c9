"""Training both towers on clicks."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from retrieval.progress import progress_bar
from retrieval.text import TextEncoder
from towers.augment import drop_words, jitter, some_words
from towers.checkpoint import save_checkpoint
from towers.config import TowerConfig, read_json
from towers.data import Clicks, TrainingCatalog, load_catalog, load_clicks
from towers.edits import QueryEdits
from towers.model import Towers
from towers.objectives.contrast import contrast
from towers.tokenizer import train_tokenizer


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How to train.

    Attributes:
        steps: optimiser steps.
        batch_size: click pairs per step; each pair's product is the others' negative.
        learning_rate: peak, after 5 % of the steps; cosine decay to zero.
        weight_decay: AdamW.
        scale, margin: of the AM-Softmax.
        form_weight: weight of the title-only and of the photo-only form beside the full one's 1.
        word_dropout: share of title words left out.
        composed_share: share of products that become a composed query: half of them the photo of something else and
            the word that leads from it to the query (see `QueryEdits`), half the product's photo and some words of
            the query.
        bf16: matrix products in bfloat16, ten times as fast on processors that have it; losses stay in float32.
        seed: of everything random.
    """

    steps: int
    batch_size: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    scale: float = 20.0
    margin: float = 0.2
    form_weight: float = 0.5
    word_dropout: float = 0.15
    composed_share: float = 0.3
    bf16: bool = True
    seed: int = 7

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> TrainingConfig:
        """From the `training` part of a config file; unknown keys are refused."""
        unknown = values.keys() - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"training: unknown keys {sorted(unknown)}; known: {[f.name for f in fields(cls)]}")
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class TextEncoders:
    """The tokeniser at each tower's maximum length."""

    query: TextEncoder
    title: TextEncoder


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One training step's inputs.

    Attributes:
        query: ids and mask, (batch, tokens).
        title: ids and mask, (batch, tokens).
        pixels: (batch, size, size, 3) uint8.
        has_image: (batch,) bool.
        has_title: (batch,) bool.
        whole: (batch,) bool, False where title and photo answer the query only together, so that neither may be
            trained on alone.
        known_positives: (batch, batch) bool, product j is known to answer query i.
    """

    query: tuple[Tensor, Tensor]
    title: tuple[Tensor, Tensor]
    pixels: Tensor
    has_image: Tensor
    has_title: Tensor
    whole: Tensor
    known_positives: Tensor


def pretrain(config_file: Path, *, catalog_file: Path, clicks_file: Path, out: Path, seed: int | None = None) -> None:
    """Train from scratch and write a checkpoint folder.

    Args:
        config_file: JSON with `towers` (see TowerConfig, without vocab_size), `vocab_size` and `training`.
        catalog_file: parquet with product_id, title, image.
        clicks_file: parquet with query, product_id and optionally count.
        out: checkpoint folder to write.
        seed: replaces the config's.
    """
    settings = read_json(config_file)
    training = TrainingConfig.from_json({**settings["training"], **({} if seed is None else {"seed": seed})})
    torch.manual_seed(training.seed)
    image_size = settings["towers"].get("image_size", TowerConfig.image_size)
    catalog = load_catalog(catalog_file, image_size)
    clicks = load_clicks(clicks_file, catalog)
    tokenizer = train_tokenizer([*catalog.titles, *clicks.queries], settings["vocab_size"])
    towers = Towers(TowerConfig.from_json({"vocab_size": tokenizer.get_vocab_size(), **settings["towers"]}))
    out.mkdir(parents=True, exist_ok=True)  # found out now, not after the training, if it cannot be
    fit(towers, tokenizer, catalog, clicks, training)
    save_checkpoint(out, towers, tokenizer)


def fit(
    towers: Towers, tokenizer: Tokenizer, catalog: TrainingCatalog, clicks: Clicks, training: TrainingConfig
) -> None:
    """Train the towers in place."""
    rng = np.random.default_rng(training.seed)
    texts = TextEncoders(
        query=TextEncoder(tokenizer, towers.config.query_max_tokens),
        title=TextEncoder(tokenizer, towers.config.title_max_tokens),
    )
    edits = QueryEdits(clicks.queries)
    probability = clicks.weight / clicks.weight.sum()
    optimizer = torch.optim.AdamW(towers.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay)
    warmup = max(1, training.steps // 20)

    def rate(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, training.steps - warmup)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    towers.train()
    with progress_bar(total=training.steps, desc="training", unit="step") as bar:
        for _ in range(training.steps):
            pairs = rng.choice(len(probability), training.batch_size, p=probability)
            batch = make_batch(texts, catalog, clicks, edits, pairs, training, rng)
            loss = step_loss(towers, batch, training)
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(towers.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
            bar.update()
    towers.eval()


def make_batch(
    texts: TextEncoders,
    catalog: TrainingCatalog,
    clicks: Clicks,
    edits: QueryEdits,
    pairs: np.ndarray,
    training: TrainingConfig,
    rng: np.random.Generator,
) -> Batch:
    """Turn drawn click pairs into tensors, augmented."""
    queries, products = clicks.query[pairs], clicks.product[pairs]
    titles, shown, whole = [], products.copy(), np.ones(len(pairs), dtype=bool)
    for row, (query, product) in enumerate(zip(queries, products, strict=True)):
        if rng.random() >= training.composed_share:
            titles.append(drop_words(catalog.titles[product], rng, training.word_dropout))
        elif rng.random() < 0.5 and (edit := edits.draw(query, rng)) is not None:
            other, word = edit
            titles.append(word)
            shown[row] = rng.choice(sorted(clicks.clicked[other]))
            whole[row] = False
        else:
            titles.append(some_words(clicks.queries[query], rng))
    same_product = products[:, None] == products[None, :]
    clicked = np.array([[p in clicks.clicked[q] for p in products] for q in queries])
    return Batch(
        query=_tensors(texts.query.encode([clicks.queries[q] for q in queries])),
        title=_tensors(texts.title.encode(titles)),
        pixels=torch.from_numpy(np.stack([jitter(catalog.pixels[product], rng) for product in shown])),
        has_image=torch.from_numpy(catalog.has_image[shown]),
        has_title=torch.tensor([bool(title) for title in titles]),
        whole=torch.from_numpy(whole),
        known_positives=torch.from_numpy(same_product | clicked),
    )


def step_loss(towers: Towers, batch: Batch, training: TrainingConfig) -> Tensor:
    """Query-product contrast for the full, the title-only and the photo-only form of the products, both ways."""
    has_title, has_image, whole = batch.has_title.float(), batch.has_image.float(), batch.whole.float()
    absent = torch.zeros_like(has_title)
    forms = (
        # weight, which modalities count, which rows count
        (1.0, torch.stack([has_title, has_image], 1), torch.maximum(has_title, has_image)),
        (training.form_weight, torch.stack([has_title, absent], 1), has_title * whole),
        (training.form_weight, torch.stack([absent, has_image], 1), has_image * whole),
    )
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=training.bf16):
        ids, mask = batch.title
        queries = towers.query(*batch.query)
        title, patches = towers.product.title(ids, mask.float()), towers.product.image(batch.pixels)
        products = [towers.product.fuse(title, mask.float(), patches, modalities)[0] for _, modalities, _ in forms]
    own = torch.eye(len(queries), dtype=torch.bool)
    total = torch.zeros(())
    for (weight, _, rows), embedded in zip(forms, products, strict=True):
        # A form that tells another story than its product is no negative either.
        ignored = batch.known_positives | (rows == 0)
        cosine = queries @ embedded.T
        forward = contrast(cosine, own, ignored, scale=training.scale, margin=training.margin)
        backward = contrast(cosine.T, own, batch.known_positives.T, scale=training.scale, margin=training.margin)
        total = total + weight * ((forward + backward) * rows).sum() / rows.sum().clamp(min=1.0)
    return total


def _tensors(arrays: tuple[np.ndarray, np.ndarray]) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(arrays[0]), torch.from_numpy(arrays[1])
