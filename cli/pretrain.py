"""shopwindow pretrain

On several GPUs, or as several processes: torchrun --nproc-per-node 2 -m cli.main pretrain --config ...
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cli.common import ROOT, SHOP


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = (
        "Several GPUs or processes: torchrun --nproc-per-node 2 -m cli.main pretrain ... from the checkout, with the "
        "same options. batch_size is per process. A run that was stopped goes on when it is started again."
    )
    parser.add_argument(
        "--config",
        type=Path,
        default=ROOT / "towers" / "configs" / "demo.json",
        metavar="FILE",
        help="sizes and training settings (default: the demo's)",
    )
    parser.add_argument(
        "--catalog",
        type=Path,
        default=SHOP / "products.parquet",
        metavar="FILE",
        help="parquet with product_id, title, image (default: the demo shop's)",
    )
    parser.add_argument(
        "--clicks",
        type=Path,
        default=SHOP / "clicks.parquet",
        metavar="FILE",
        help="parquet with query, product_id and optionally count (default: the demo shop's)",
    )
    parser.add_argument(
        "--pairs", type=Path, metavar="FILE", help="parquet with trigger_id, recall_id, for the same-style losses"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="checkpoint folder to write")
    parser.add_argument("--seed", type=int, help="instead of the config's")


def run(options: argparse.Namespace) -> int:
    """Train and write the checkpoint."""
    from towers.training.pretrain import pretrain

    pretrain(
        options.config,
        catalog_file=options.catalog,
        clicks_file=options.clicks,
        pairs_file=options.pairs,
        out=options.out,
        seed=options.seed,
    )
    return 0
