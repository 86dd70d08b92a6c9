"""Measure what 8 bits gain on this CPU for towers of any size, before you train them.

    python -m shopwindow_export.parity.eight_bit_speed

The weights are random, so only the speed means something. An export checks whether the ranking holds.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import torch

from shopwindow.base.default_places import CHECKPOINT, SHOP, TOWER_CONFIGS
from shopwindow.base.progress_bar import progress_bar
from shopwindow.retrieval.embedding.product_inputs import ProductPreprocessor
from shopwindow.retrieval.embedding.repository_layout import RepositoryLayout
from shopwindow.retrieval.embedding.text import TextEncoder
from shopwindow.towers.architecture.both_towers import Towers
from shopwindow.towers.architecture.config import TowerConfig, read_json
from shopwindow_export.graphs.onnx_export import export_product_tower, export_query_tower
from shopwindow_export.parity import read_sample
from shopwindow_export.parity.scale_inputs import product_feeds, query_feeds
from shopwindow_export.parity.speed import ROWS, measure_speed

_SAMPLE = 64


def main() -> None:
    """Export random towers of a configuration as fp32 and as int8, and compare their throughput."""
    parser = argparse.ArgumentParser(
        prog="python -m shopwindow_export.parity.eight_bit_speed",
        description="Measure what 8 bits gain on this CPU for towers of any size, before you train them. The weights "
        "are random, so only the speed means something.",
    )
    parser.add_argument(
        "--config",
        type=Path,
        default=TOWER_CONFIGS / "base.json",
        help="tower configuration, as for 'shopwindow pretrain'",
    )
    parser.add_argument("--sample", type=Path, default=SHOP / "products.parquet", help="catalogue to embed")
    parser.add_argument("--tokenizer", type=Path, default=CHECKPOINT / "tokenizer.json")
    options = parser.parse_args()
    settings = read_json(options.config)
    config = TowerConfig.from_json({"vocab_size": settings["vocab_size"], **settings["towers"]})
    torch.manual_seed(7)
    towers = Towers(config).eval()
    with tempfile.TemporaryDirectory() as folder, progress_bar(total=4, desc="export", unit="graph") as bar:
        layouts = {precision: RepositoryLayout(Path(folder) / precision) for precision in ("fp32", "int8")}
        for layout in layouts.values():
            for file in (layout.query_tower, layout.product_tower, layout.query_tokenizer, layout.title_tokenizer):
                file.parent.mkdir(parents=True)
            for file in (layout.query_tokenizer, layout.title_tokenizer):
                shutil.copyfile(options.tokenizer, file)
        titles = TextEncoder.read(layouts["fp32"].title_tokenizer, config.title_max_tokens)
        sample = read_sample(options.sample, ProductPreprocessor(titles, config.image_size), _SAMPLE)
        queries = TextEncoder.read(layouts["fp32"].query_tokenizer, config.query_max_tokens)
        for precision, layout in layouts.items():
            quantised = precision == "int8"
            export_query_tower(towers, layout.query_tower, precision, query_feeds(sample, queries) if quantised else ())
            bar.update()
            export_product_tower(towers, layout.product_tower, precision, product_feeds(sample) if quantised else ())
            bar.update()
        speed = measure_speed(Path(folder) / "fp32", Path(folder) / "int8", sample, config.query_max_tokens)
    print(
        f"int8 over fp32 on this CPU, batches of {ROWS}, one thread: query tower {speed.query_tower:.2f} times, "
        f"product tower {speed.product_tower:.2f} times the throughput"
    )


if __name__ == "__main__":
    main()
