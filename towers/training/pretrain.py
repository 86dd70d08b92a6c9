"""Training both towers on clicks."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from retrieval.progress import progress_bar
from towers.checkpoint import save_checkpoint
from towers.config import TowerConfig, read_json
from towers.data import Clicks, TrainingCatalog, load_catalog, load_clicks
from towers.model import Towers
from towers.tokenizer import train_tokenizer
from towers.training.batches import ClickBatches
from towers.training.config import TrainingConfig
from towers.training.objective import Objective
from towers.training.pairs import PairBatches
from towers.training.state import load_state, save_state

STATE = "training_state"
LOG = "training_log.jsonl"
_WARMUP_SHARE = 0.05
_LOG_EVERY = 20


def pretrain(
    config_file: Path,
    *,
    catalog_file: Path,
    clicks_file: Path,
    out: Path,
    pairs_file: Path | None = None,
    seed: int | None = None,
) -> None:
    """Train from scratch, or go on where a stopped run of the same settings was, and write a checkpoint folder.

    Args:
        config_file: JSON with `towers` (see TowerConfig, without vocab_size), `vocab_size` and `training`.
        catalog_file: parquet with product_id, title, image.
        clicks_file: parquet with query, product_id and optionally count.
        pairs_file: parquet with trigger_id and recall_id, for the same-style losses; None leaves them out.
        out: checkpoint folder to write; while training it also holds the state to go on from.
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
    pairs = PairBatches(towers.config, tokenizer, catalog, pairs_file) if pairs_file else None
    fit(towers, tokenizer, catalog, clicks, training, pairs=pairs, folder=out)
    save_checkpoint(out, towers, tokenizer)
    shutil.rmtree(out / STATE, ignore_errors=True)


def fit(
    towers: Towers,
    tokenizer: Tokenizer,
    catalog: TrainingCatalog,
    clicks: Clicks,
    training: TrainingConfig,
    *,
    pairs: PairBatches | None = None,
    folder: Path | None = None,
) -> None:
    """Train the towers in place.

    Args:
        towers: what to train.
        tokenizer: of both towers.
        catalog: what can be clicked.
        clicks: the click log.
        training: how.
        pairs: for the same-style losses, which `training` must give a weight.
        folder: keeps the state to go on from, and training_log.jsonl with the loss; None keeps neither.
    """
    rng = np.random.default_rng(training.seed)
    batches = ClickBatches(towers.config, tokenizer, catalog, clicks, training)
    objective = Objective(towers, training)
    optimizer = torch.optim.AdamW(objective.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay)
    fingerprint = _fingerprint(towers, tokenizer, catalog, clicks, training, pairs)
    first = 0
    if folder is not None:
        first = load_state(folder / STATE, fingerprint=fingerprint, model=objective, optimizer=optimizer, rng=rng)
        _cut_log(folder / LOG, first)
    objective.train()
    with progress_bar(total=training.steps, desc="training", unit="step") as bar:
        bar.update(first)
        for step in range(first, training.steps):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, training)
            loss = objective(batches.draw(rng), step)
            if pairs is not None and training.same_style:
                loss = loss + objective.same_style(*pairs.draw(training.pair_batch_size, rng))
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(objective.parameters(), 1.0)
            optimizer.step()
            bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
            bar.update()
            if folder is not None:
                if step % _LOG_EVERY == 0:
                    _log(folder / LOG, step=step, loss=loss.item(), learning_rate=optimizer.param_groups[0]["lr"])
                if training.save_every and (step + 1) % training.save_every == 0:
                    save_state(
                        folder / STATE,
                        step=step + 1,
                        fingerprint=fingerprint,
                        model=objective,
                        optimizer=optimizer,
                        rng=rng,
                    )
    towers.eval()


def learning_rate(step: int, training: TrainingConfig) -> float:
    """Linear warm-up over the first 5 % of the steps, then cosine decay to zero."""
    warmup = max(1, round(_WARMUP_SHARE * training.steps))
    if step < warmup:
        return training.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, training.steps - warmup)
    return training.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def _fingerprint(
    towers: Towers,
    tokenizer: Tokenizer,
    catalog: TrainingCatalog,
    clicks: Clicks,
    training: TrainingConfig,
    pairs: PairBatches | None,
) -> str:
    """Identifies a run: sizes, settings, vocabulary and data."""
    digest = hashlib.sha256()
    digest.update(json.dumps([towers.config.to_json(), vars(training)], sort_keys=True).encode())
    digest.update(tokenizer.to_str().encode())
    for array in (catalog.product_ids, catalog.pixels, clicks.query, clicks.product, clicks.weight):
        digest.update(np.ascontiguousarray(array).tobytes())
    if pairs is not None:
        digest.update(pairs.identity)
    return digest.hexdigest()


def _cut_log(file: Path, first: int) -> None:
    """Leave out what was logged after the state that training goes on from, or by another run."""
    lines = file.read_text().splitlines() if file.exists() else []
    kept = [line for line in lines if json.loads(line)["step"] < first]
    file.write_text("".join(f"{line}\n" for line in kept))


def _log(file: Path, **values: float) -> None:
    with file.open("a") as log:
        log.write(json.dumps(values) + "\n")
