"""shopwindow evaluate"""

from __future__ import annotations

import argparse
from pathlib import Path

from cli.common import SHOP, add_index, add_repository


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_repository(parser)
    add_index(parser)
    parser.add_argument(
        "--queries",
        type=Path,
        default=SHOP / "queries.parquet",
        metavar="FILE",
        help="parquet with query_id, text (default: the demo shop's)",
    )
    parser.add_argument(
        "--qrels",
        type=Path,
        default=SHOP / "qrels.parquet",
        metavar="FILE",
        help="parquet with query_id, product_id, relevance (default: the demo shop's)",
    )


def run(options: argparse.Namespace) -> int:
    """Evaluate in process and print the figures."""
    from retrieval import InProcessPipeline
    from retrieval.repository_layout import default_index
    from towers.evaluate import evaluate, read_judgements

    pipeline = InProcessPipeline(options.repository, options.index or default_index(options.repository))
    quality = evaluate(pipeline, read_judgements(options.queries, options.qrels))
    print(
        f"{quality.queries} judged queries over {pipeline.index.manifest.count} products: "
        f"nDCG@10 {quality.ndcg_at_10:.4f}, recall@100 {quality.recall_at_100:.4f}"
    )
    return 0
