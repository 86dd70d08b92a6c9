"""The training loop: steps, validations, and the saved state from which a stopped run goes on."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from shopwindow.base.progress_bar import progress_bar
from shopwindow.towers.architecture.both_towers import Towers
from shopwindow.towers.architecture.layers import Encoder
from shopwindow.towers.data.training_data import Clicks, TrainingCatalog
from shopwindow.towers.objectives.cross_device import rank, sum_over_ranks, world_size
from shopwindow.towers.training.batches import ClickBatches
from shopwindow.towers.training.config import TrainingConfig
from shopwindow.towers.training.log import RECALL, append_log, cut_log
from shopwindow.towers.training.objective import Objective
from shopwindow.towers.training.pairs import PairBatches
from shopwindow.towers.training.processes import average_gradients, check_same, move, share_weights
from shopwindow.towers.training.schedule import Schedule
from shopwindow.towers.training.state import load_state, save_state
from shopwindow.towers.training.validation import Best, Validation

STATE = "training_state"
LOG = "training_log.jsonl"
_LOG_EVERY = 20
_CPU = torch.device("cpu")


def fit(
    towers: Towers,
    tokenizer: Tokenizer,
    catalog: TrainingCatalog,
    clicks: Clicks,
    training: TrainingConfig,
    *,
    pairs: PairBatches | None = None,
    validation: Validation | None = None,
    folder: Path | None = None,
    device: torch.device = _CPU,
) -> None:
    """Train the towers in place; they end on the CPU in evaluation mode.

    Args:
        towers: the towers to train.
        tokenizer: tokeniser of both towers.
        catalog: the products.
        clicks: the click log.
        training: the settings.
        pairs: pairs for the same-style losses. They count only if `training` gives these losses a weight.
        validation: measures the towers during the training. The towers end with the best weights that it saw.
        folder: holds the saved state and training_log.jsonl with the loss. None keeps neither. Every process reads it,
            and only the first process writes it.
        device: device to train on.
    """
    batches = ClickBatches(towers.config, tokenizer, catalog, clicks, training)
    objective = Objective(towers, training).to(device)
    schedule = Schedule(objective, towers, training)
    optimizer = schedule.optimizer
    fingerprint = _fingerprint(towers, tokenizer, catalog, clicks, training, pairs, validation)
    first, best = 0, Best()
    if folder is not None:
        first = load_state(folder / STATE, fingerprint=fingerprint, model=objective, optimizer=optimizer, best=best)
    check_same("settings, data and training state", f"{fingerprint} {first}")
    share_weights(objective)
    output = folder if rank() == 0 else None
    if output is not None:
        cut_log(output / LOG, first)
    if training.compile:
        for module in towers.modules():
            if isinstance(module, Encoder):
                module.compile()
    objective.train()
    with progress_bar(total=training.steps, desc="training", unit="step", enabled=rank() == 0) as bar:
        bar.update(first)
        for step in range(first, training.steps):
            if training.patience and best.since >= training.patience:
                break
            schedule.start(step)
            parts = _losses(objective, batches, pairs, step, device)
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(torch.stack(list(parts.values())).sum())
            average_gradients(objective)
            torch.nn.utils.clip_grad_norm_(objective.parameters(), 1.0)
            optimizer.step()
            if step % _LOG_EVERY == 0:
                values = _averages(parts)
                bar.set_postfix(loss=f"{values['loss']:.3f}", refresh=False)
                if output is not None:
                    append_log(output / LOG, step=step, **values, learning_rate=optimizer.param_groups[-1]["lr"])
            done = step + 1
            # While texts are trained alone, the other weights are untrained, so these steps must not count as the best.
            due = done % training.validate_every == 0 or done == training.steps
            if validation is not None and due and not training.texts_only(step):
                recall = validation.recall(towers)
                best.update(recall, towers)
                if rank() == 0:
                    bar.write(f"step {done:,}: validation recall@10 {recall:.4f}, best {best.recall:.4f}")
                if output is not None:
                    append_log(output / LOG, **{"step": step, RECALL: recall})
            bar.update()
            if output is not None and training.save_every and done % training.save_every == 0:
                save_state(
                    output / STATE,
                    step=done,
                    fingerprint=fingerprint,
                    model=objective,
                    optimizer=optimizer,
                    best=best,
                )
    schedule.end()
    if best.weights:
        towers.load_state_dict(best.weights)
    towers.to(_CPU).eval()


def _losses(
    objective: Objective, batches: ClickBatches, pairs: PairBatches | None, step: int, device: torch.device
) -> dict[str, Tensor]:
    """Return the weighted parts of a step's loss, on this process's batch.

    Everything random in a step follows from the seed, the process and the step. So a stopped training can go on without
    the state of any random generator.
    """
    training = objective.training_config
    rng = np.random.default_rng((training.seed, rank(), step))
    torch.manual_seed(int(rng.integers(2**63)))
    texts_only = training.texts_only(step)
    parts = objective(move(batches.draw(rng, texts_only=texts_only), device), step)
    if pairs is not None and training.same_style and not texts_only:
        trigger, partner = pairs.draw(training.pair_batch_size, rng)
        parts["same_style"] = objective.same_style(move(trigger, device), move(partner, device))
    losses: dict[str, Tensor] = parts
    return losses


def _averages(parts: dict[str, Tensor]) -> dict[str, float]:
    """Return the loss and its parts as numbers, averaged over the ranks."""
    values = (sum_over_ranks(torch.stack(list(parts.values()))) / world_size()).tolist()
    return {"loss": math.fsum(values), **dict(zip(parts, values, strict=True))}


def _fingerprint(
    towers: Towers,
    tokenizer: Tokenizer,
    catalog: TrainingCatalog,
    clicks: Clicks,
    training: TrainingConfig,
    pairs: PairBatches | None,
    validation: Validation | None,
) -> str:
    """Return a hash that identifies a run by its sizes, settings, number of processes, vocabulary and data."""
    digest = hashlib.sha256()
    facts = [towers.config.to_json(), vars(training), world_size()]
    digest.update(json.dumps(facts, sort_keys=True).encode())
    digest.update(tokenizer.to_str().encode())
    digest.update(json.dumps([catalog.titles, clicks.queries]).encode())
    arrays = [catalog.product_ids, catalog.pixels, catalog.has_image]
    for log in [clicks] if validation is None else [clicks, validation.clicks]:
        arrays += [log.query, log.product, log.weight]
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    if pairs is not None:
        digest.update(pairs.identity)
    return digest.hexdigest()
