"""shopwindow ablate"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from shopwindow.cli.common import add_data
from shopwindow.cli.towers.catalog_option import add_catalog, beside_catalog, read_catalog


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--spec",
        type=Path,
        required=True,
        metavar="FILE",
        help='JSON: {"base": config file or settings, "changes": {"training": {"steps": 400}}, "variants": '
        '{"full": {}, "no memory bank": {"training": {"memory_bank": 0}}, ...}}; a variant may have "processes" and '
        '"compare_with" (default: "full")',
    )
    add_data(parser, "clicks", ", to train on")
    add_data(parser, "queries", ", to evaluate on")
    add_data(parser, "qrels", ", to evaluate on")
    add_data(parser, "pairs")
    parser.add_argument(
        "--same-style",
        type=Path,
        metavar="FILE",
        help="parquet with trigger_id, recall_id, to evaluate on (default: same_style.parquet beside the catalogue)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("build/ablation"),
        metavar="DIR",
        help="folder for the variants and the report; a second run keeps finished variants and continues a stopped "
        "training (default: %(default)s)",
    )
    parser.add_argument("--report", type=Path, metavar="DIR", help="also write the report here")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed of intervals and samples (default: %(default)s)"
    )
    add_catalog(parser, "catalogue with product_id, title, image, to train on and to rank")


def run(options: argparse.Namespace) -> int:
    """Train and score the variants, print a line for each, and write the report."""
    from shopwindow.towers.ablation.report import make_tables, write_ablation
    from shopwindow.towers.ablation.run import JudgingFiles, run_ablation
    from shopwindow.towers.ablation.spec import read_spec
    from shopwindow.towers.ablation.train import TrainingFiles

    variants = read_spec(options.spec)
    same_style = options.same_style or beside_catalog(options, "same_style.parquet")
    results = run_ablation(
        variants,
        options.out,
        TrainingFiles(catalog=read_catalog(options), clicks=options.clicks, pairs=options.pairs),
        JudgingFiles(
            queries=options.queries,
            qrels=options.qrels,
            # A file that the user named must exist.
            same_style=same_style if options.same_style or same_style.exists() else None,
        ),
        seed=options.seed,
    )
    folders = [options.out, *([options.report] if options.report else [])]
    files = write_ablation(folders, make_tables(variants, results, seed=options.seed))
    print(f"wrote {', '.join(map(str, files))}", file=sys.stderr)
    return 0
