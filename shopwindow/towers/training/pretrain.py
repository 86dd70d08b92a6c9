"""Pre-training from files: turn a catalogue, clicks and same-style pairs into a checkpoint."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import torch

from shopwindow.towers.architecture.both_towers import Towers
from shopwindow.towers.architecture.checkpoint import save_checkpoint
from shopwindow.towers.architecture.config import TowerConfig, read_json
from shopwindow.towers.data.holdout import held_out
from shopwindow.towers.data.tokenizer import train_tokenizer
from shopwindow.towers.data.training_data import TrainingCatalog, load_catalog, load_clicks
from shopwindow.towers.objectives.cross_device import rank, world_size
from shopwindow.towers.objectives.same_style import NEIGHBOURS
from shopwindow.towers.training.config import TrainingConfig
from shopwindow.towers.training.curves import plot_log
from shopwindow.towers.training.fit import LOG, STATE, fit
from shopwindow.towers.training.pairs import PairBatches
from shopwindow.towers.training.processes import computes_bf16, join_processes, quiet
from shopwindow.towers.training.validation import Validation, split_clicks

CURVES = "loss.png"


def pretrain(
    config_file: Path,
    *,
    catalog_file: Path,
    clicks_file: Path,
    out: Path,
    pairs_file: Path | None = None,
    seed: int | None = None,
) -> None:
    """Train from scratch, or go on with a stopped run of the same settings, and write a checkpoint folder.

    The folder also receives training_log.jsonl and loss.png. If torchrun starts several processes, they train together:
    `torchrun --nproc-per-node 2 -m shopwindow.cli.main pretrain ...`. They use gloo on CPUs and NCCL on GPUs. All
    processes need the same files, including the folder `out`. Only the first process writes.

    Args:
        config_file: JSON with `towers` (see TowerConfig, without vocab_size), `vocab_size` and `training`.
        catalog_file: parquet with product_id, title, image.
        clicks_file: parquet with query, product_id and optionally count.
        pairs_file: parquet with trigger_id and recall_id, for the same-style losses. None leaves these losses out.
        out: checkpoint folder to write. During training it also holds the saved state.
        seed: replaces the seed of the config.

    Raises:
        ValueError: a setting is unknown or out of range, no loss would use the pairs, or a file lacks what it needs.
    """
    settings = read_json(config_file)
    training = TrainingConfig.from_json({**settings["training"], **({} if seed is None else {"seed": seed})})
    if pairs_file is not None and not training.same_style:
        raise ValueError(f"pairs: {pairs_file} would not be used, because same_style is 0; set it in {config_file}")
    with join_processes(training.device) as device:
        torch.manual_seed(training.seed)
        image_size = settings["towers"].get("image_size", TowerConfig.image_size)
        with quiet():
            whole_catalog = load_catalog(catalog_file, image_size)
        catalog = leave_out(whole_catalog, held_out(whole_catalog.product_ids, training.hold_out))
        clicks, validation_clicks = load_clicks(clicks_file, catalog), None
        for note in clicks.notes if rank() == 0 else ():
            print(note, file=sys.stderr)
        if training.validation_share:
            clicks, validation_clicks = split_clicks(clicks, training.validation_share, training.seed)
        tokenizer = train_tokenizer([*catalog.titles, *clicks.queries], settings["vocab_size"])
        towers = Towers(TowerConfig.from_json({"vocab_size": tokenizer.get_vocab_size(), **settings["towers"]}))
        out.mkdir(parents=True, exist_ok=True)  # now, so that a failure shows before the training and not after it
        pairs = PairBatches(towers.config, tokenizer, catalog, pairs_file) if pairs_file else None
        if pairs is not None and training.locality and min(pairs.styles, training.pair_batch_size) < NEIGHBOURS:
            raise ValueError(
                f"locality: needs at least {NEIGHBOURS} pairs of different styles per batch, got {pairs.styles} styles "
                f"and pair_batch_size {training.pair_batch_size}; set locality to 0, raise pair_batch_size, or mine "
                "more pairs"
            )
        validation = None
        if validation_clicks is not None:
            validation = Validation(
                towers.config,
                tokenizer,
                catalog,
                validation_clicks,
                products=training.validation_products,
                seed=training.seed,
            )
        if rank() == 0:
            print(
                f"training on {len(catalog.titles):,} products, {len(clicks.queries):,} queries and "
                f"{len(clicks.query):,} clicks; "
                f"held out: {len(whole_catalog.titles) - len(catalog.titles):,} products, "
                f"{len(validation_clicks.query) if validation_clicks else 0:,} clicks to validate with; "
                f"processes: {world_size()}; "
                f"device: {device.type}; "
                f"matrix products: {'bfloat16' if training.bf16 and computes_bf16(device) else 'float32'}; "
                f"parameters: {sum(p.numel() for p in towers.parameters()):,}",
                flush=True,
            )
        fit(
            towers,
            tokenizer,
            catalog,
            clicks,
            training,
            pairs=pairs,
            validation=validation,
            folder=out,
            device=device,
        )
        if rank() == 0:
            save_checkpoint(out, towers, tokenizer)
            plot_log(out / LOG, out / CURVES)
            shutil.rmtree(out / STATE, ignore_errors=True)
            print(f"wrote {out}")


def leave_out(catalog: TrainingCatalog, removed: np.ndarray) -> TrainingCatalog:
    """Return the catalogue without the products marked in `removed`, (products,) bool.

    Clicks and pairs of these products are then of unknown products, so they are left out too.
    """
    if not removed.any():
        return catalog
    ids = catalog.product_ids[~removed]
    return TrainingCatalog(
        product_ids=ids,
        titles=[title for title, out in zip(catalog.titles, removed, strict=True) if not out],
        pixels=catalog.pixels[~removed],
        has_image=catalog.has_image[~removed],
        row_of={int(product): row for row, product in enumerate(ids)},
    )
