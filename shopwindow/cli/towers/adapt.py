"""shopwindow adapt"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "source",
        type=Path,
        metavar="SOURCE",
        help="Hugging Face folder: config.json, model.safetensors, tokenizer.json, preprocessor_config.json",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="checkpoint folder to write")
    parser.add_argument(
        "--title-weight",
        type=float,
        default=0.5,
        metavar="W",
        help="weight of the title in a product that also has a photo, above 0 and below 1 (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    """Write the checkpoint, and print the next step."""
    from shopwindow.towers.architecture.from_hugging_face import adapt

    adapt(options.source, options.out, title_weight=options.title_weight)
    print(f"wrote {options.out}; next: shopwindow export --checkpoint {options.out} --sample YOUR_CATALOGUE")
    return 0
