"""Pre-training from files: a catalogue, its clicks and its same-style pairs to a checkpoint."""

from __future__ import annotations

import shutil
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
from shopwindow.towers.training.processes import join_processes, quiet
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
    """Train from scratch, or go on where a stopped run of the same settings was, and write a checkpoint folder.

    Beside the checkpoint it leaves training_log.jsonl and loss.png. Several processes train together when torchrun
    starts them: `torchrun --nproc-per-node 2 -m shopwindow.cli.main pretrain ...`, through gloo on CPUs and NCCL on
    GPUs; all of them need the same files, `out` among them, and the first one writes.

    Args:
        config_file: JSON with `towers` (see TowerConfig, without vocab_size), `vocab_size` and `training`.
        catalog_file: parquet with product_id, title, image.
        clicks_file: parquet with query, product_id and optionally count.
        pairs_file: parquet with trigger_id and recall_id, for the same-style losses; None leaves them out.
        out: checkpoint folder to write; while training it also holds the state to go on from.
        seed: replaces the config's.

    Raises:
        ValueError: an unknown or unfit setting, pairs that no loss would use, or a file without what it should hold.
    """
    settings = read_json(config_file)
    training = TrainingConfig.from_json({**settings["training"], **({} if seed is None else {"seed": seed})})
    if pairs_file is not None and not training.same_style:
        raise ValueError(f"pairs: {pairs_file} would be of no use: same_style is 0; give it a weight in {config_file}")
    with join_processes(training.device) as device:
        torch.manual_seed(training.seed)
        image_size = settings["towers"].get("image_size", TowerConfig.image_size)
        with quiet():
            everything = load_catalog(catalog_file, image_size)
        catalog = leave_out(everything, held_out(everything.product_ids, training.hold_out))
        clicks, kept_out = load_clicks(clicks_file, catalog), None
        if training.validation_share:
            clicks, kept_out = split_clicks(clicks, training.validation_share, training.seed)
        tokenizer = train_tokenizer([*catalog.titles, *clicks.queries], settings["vocab_size"])
        towers = Towers(TowerConfig.from_json({"vocab_size": tokenizer.get_vocab_size(), **settings["towers"]}))
        out.mkdir(parents=True, exist_ok=True)  # found out now, not after the training, if it cannot be
        pairs = PairBatches(towers.config, tokenizer, catalog, pairs_file) if pairs_file else None
        if pairs is not None and training.locality and min(pairs.styles, training.pair_batch_size) < NEIGHBOURS:
            raise ValueError(
                f"locality: needs at least {NEIGHBOURS} pairs of different styles a batch, got {pairs.styles} styles "
                f"and pair_batch_size {training.pair_batch_size}; set it to 0, or mine more pairs"
            )
        validation = None
        if kept_out is not None:
            products = training.validation_products
            validation = Validation(towers.config, tokenizer, catalog, kept_out, products=products, seed=training.seed)
        if rank() == 0:
            print(
                f"training on {len(catalog.titles):,} products, {len(clicks.queries):,} queries and "
                f"{len(clicks.query):,} clicks; held out: {len(everything.titles) - len(catalog.titles):,} products, "
                f"{len(kept_out.query) if kept_out else 0:,} clicks to validate with; processes: {world_size()}; "
                f"device: {device.type}; parameters: {sum(p.numel() for p in towers.parameters()):,}",
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


def leave_out(catalog: TrainingCatalog, gone: np.ndarray) -> TrainingCatalog:
    """The catalogue without some products, (products,) bool; so their clicks and pairs are of unknown products."""
    if not gone.any():
        return catalog
    ids = catalog.product_ids[~gone]
    return TrainingCatalog(
        product_ids=ids,
        titles=[title for title, left in zip(catalog.titles, gone, strict=True) if not left],
        pixels=catalog.pixels[~gone],
        has_image=catalog.has_image[~gone],
        row_of={int(product): row for row, product in enumerate(ids)},
    )
