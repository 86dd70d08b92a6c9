"""`python -m loadtests.stand`: towers, repository and index of the size at which serving is measured.

A query tower of 6 layers x 384 over 200,000 x 128 vectors. The weights are drawn: they take as long as trained ones, and
what they find is compared with what the same towers find in process, not judged.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from export.index import build_index
from export.repository import export_repository
from loadtests.peers.zipf import widen
from towers.checkpoint import save_checkpoint
from towers.config import TowerConfig, read_json
from towers.model import Towers
from towers.tokenizer import train_tokenizer


def main(arguments: Sequence[str] | None = None) -> None:
    """Make what is missing; a repository and an index that are there are kept."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.stand", description=__doc__)
    parser.add_argument("--titles", type=Path, default=Path("build/demo/shop/products.parquet"), help="(%(default)s)")
    parser.add_argument("--config", type=Path, default=Path("towers/configs/bench.json"), help="(%(default)s)")
    parser.add_argument("--products", type=int, default=200_000, help="(%(default)s)")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "int8"], help="(%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("build/stand"), help="(%(default)s)")
    options = parser.parse_args(arguments)
    catalogue, repository = options.out / "products.parquet", options.out / "model_repository"
    options.out.mkdir(parents=True, exist_ok=True)
    if not catalogue.exists():
        write_catalogue(options.titles, catalogue, options.products)
    if not (repository / "bundle.json").exists():
        write_checkpoint(options.config, catalogue, options.out / "checkpoint")
        export_repository(options.out / "checkpoint", repository, catalogue, precision=options.precision)
    build_index(catalogue, repository, options.out / "index", recipe="ivf", say=print)


def write_catalogue(titles: Path, out: Path, products: int) -> None:
    """Products without photos: the titles of a catalogue, then new ones of the same words."""
    words = pq.read_table(titles, columns=["title"]).column("title").to_pylist()
    made = widen(list(dict.fromkeys(title for title in words if title)), products)
    new = out.with_suffix(".new")
    pq.write_table(pa.table({"product_id": range(len(made)), "title": made, "image": [b""] * len(made)}), new)
    new.replace(out)


def write_checkpoint(config: Path, catalogue: Path, out: Path) -> None:
    """Towers of a configuration, their weights drawn, with a tokeniser for a catalogue's words."""
    settings = read_json(config)
    tokenizer = train_tokenizer(pq.read_table(catalogue).column("title").to_pylist(), settings["vocab_size"])
    torch.manual_seed(7)
    towers = Towers(TowerConfig.from_json({"vocab_size": tokenizer.get_vocab_size(), **settings["towers"]}))
    save_checkpoint(out, towers.eval(), tokenizer)


if __name__ == "__main__":
    main()
