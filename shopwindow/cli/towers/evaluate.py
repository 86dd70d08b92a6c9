"""shopwindow evaluate"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from shopwindow.cli.common import add_data, add_index, add_repository


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_repository(parser)
    add_index(parser)
    add_data(parser, "queries", "; further columns, or a query_meta.parquet beside it, define slices")
    add_data(parser, "qrels")
    add_data(parser, "catalog", text="parquet that the index was built from; needed for everything but the headline")
    parser.add_argument(
        "--same-style",
        type=Path,
        metavar="FILE",
        help="parquet with trigger_id, recall_id (default: same_style.parquet beside the catalogue)",
    )
    parser.add_argument("--category-column", metavar="NAME", help="default: category or master_category")
    parser.add_argument("--colour-column", metavar="NAME", help="default: colour or base_colour")
    parser.add_argument(
        "--unseen",
        type=float,
        metavar="SHARE",
        help="the hold_out that the towers were trained with; also ranks the products that training never saw",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("build/evaluation"),
        metavar="DIR",
        help="folder for report.json, report.md and the plots (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed of intervals and samples (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> int:
    """Evaluate in process, print the headline, and write the report."""
    from shopwindow.retrieval import InProcessPipeline
    from shopwindow.retrieval.embedding.repository_layout import default_index
    from shopwindow.retrieval.index.home import resolve_index
    from shopwindow.towers.data.holdout import held_out
    from shopwindow.towers.evaluation.retrieval_quality import NDCG, RECALL, score_pipeline
    from shopwindow.towers.evaluation.sections import Inputs, make_sections
    from shopwindow.towers.judging.judgements import read_judgements
    from shopwindow.towers.judging.report import write_report

    index = resolve_index(options.index or default_index(options.repository))
    pipeline = InProcessPipeline(options.repository, index)
    alive = pipeline.index.mask(())
    product_ids = pipeline.index.product_ids if alive is None else pipeline.index.product_ids[alive.rows]
    unseen = None if options.unseen is None else held_out(product_ids, options.unseen)
    judgements = read_judgements(options.queries, options.qrels)
    scores = score_pipeline(pipeline, judgements)
    headline = {
        "judged queries": len(judgements.queries),
        "products": pipeline.index.manifest.count,
        NDCG: float(scores[NDCG].mean()),
        RECALL: float(scores[RECALL].mean()),
    }
    print(
        f"{len(judgements.queries)} judged queries over {pipeline.index.manifest.count} products: "
        f"{NDCG} {headline[NDCG]:.4f}, {RECALL} {headline[RECALL]:.4f}",
        flush=True,
    )
    inputs = Inputs(
        catalog=options.catalog,
        same_style=options.same_style or options.catalog.parent / "same_style.parquet",
        product_ids=product_ids,
        category=options.category_column,
        colour=options.colour_column,
        unseen=unseen,
        seed=options.seed,
    )
    tables, left_out = make_sections(pipeline, judgements, scores, inputs)
    files = write_report(options.out, headline, tables, left_out)
    # On standard error, so that standard output holds the headline alone.
    for name, reason in left_out.items():
        print(f"left out: {name}: {reason}", file=sys.stderr)
    print(f"wrote {', '.join(map(str, files))}", file=sys.stderr)
    return 0
