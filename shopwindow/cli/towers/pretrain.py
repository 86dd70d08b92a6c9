"""shopwindow pretrain

With several GPUs or processes: torchrun --nproc-per-node 2 -m shopwindow.cli.main pretrain --config ...
"""

from __future__ import annotations

import argparse
from pathlib import Path

from shopwindow.base.default_places import TOWER_CONFIGS
from shopwindow.cli.common import add_data
from shopwindow.cli.towers.catalog_option import add_catalog, read_catalog


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = (
        "Several GPUs or processes: torchrun --nproc-per-node 2 -m shopwindow.cli.main pretrain ..., with the same "
        "options. batch_size is per process. Start a stopped run again to continue it."
    )
    parser.add_argument(
        "--config",
        type=Path,
        default=TOWER_CONFIGS / "demo.json",
        metavar="FILE",
        help="sizes and training settings (default: the demo's)",
    )
    add_data(parser, "clicks")
    add_data(parser, "pairs")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="checkpoint folder to write")
    parser.add_argument("--seed", type=int, help="seed, instead of the config's")
    add_catalog(parser, "catalogue with product_id, title, image")


def run(options: argparse.Namespace) -> int:
    """Train the towers and write the checkpoint."""
    from shopwindow.towers.training.pretrain import pretrain

    pretrain(
        options.config,
        catalog_file=read_catalog(options),
        clicks_file=options.clicks,
        pairs_file=options.pairs,
        out=options.out,
        seed=options.seed,
    )
    return 0
