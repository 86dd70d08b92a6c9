"""shopwindow mine"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from shopwindow.cli.common import add_data
from shopwindow.cli.towers.catalog_option import add_catalog, read_catalog
from shopwindow.towers.data.mining_rules import MiningRules


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    rules = MiningRules()
    add_data(parser, "clicks")
    parser.add_argument(
        "--category-column",
        required=True,
        metavar="NAME",
        help="column of the leaf category, which both products of a pair share",
    )
    parser.add_argument(
        "--labels", type=Path, metavar="FILE", help="parquet with trigger_id, recall_id: reports precision and recall"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="parquet file of pairs to write")
    parser.add_argument(
        "--relevance",
        type=float,
        default=rules.relevance,
        metavar="0..1",
        help="lowest mean of click-profile cosine and title word overlap (default: %(default)s)",
    )
    parser.add_argument(
        "--title-share",
        type=float,
        default=rules.title_share,
        metavar="0..1",
        help="weight of the titles in that mean (default: %(default)s)",
    )
    parser.add_argument(
        "--min-queries",
        type=int,
        default=rules.min_queries,
        metavar="N",
        help="fewest queries under which both products were clicked (default: %(default)s)",
    )
    parser.add_argument(
        "--partners",
        type=int,
        default=rules.partners,
        metavar="N",
        help="most pairs for one product (default: %(default)s)",
    )
    parser.add_argument(
        "--broadest",
        type=int,
        default=rules.broadest,
        metavar="N",
        help="leave out queries with more clicked products than this (default: %(default)s)",
    )
    add_catalog(parser, "catalogue with product_id, a category, and title", "Photos are not read.")


def run(options: argparse.Namespace) -> int:
    """Mine the pairs, write them, and print the summary."""
    from shopwindow.towers.data.mining import keyword_sets, load_mining_catalog, mine_pairs, write_pairs
    from shopwindow.towers.data.mining_report import compare, summarise
    from shopwindow.towers.data.training_data import load_clicks

    rules = MiningRules(
        min_queries=options.min_queries,
        relevance=options.relevance,
        title_share=options.title_share,
        partners=options.partners,
        broadest=options.broadest,
    )
    catalog = load_mining_catalog(read_catalog(options, photos=False), options.category_column)
    clicks = load_clicks(options.clicks, catalog)
    for note in clicks.notes:
        print(note, file=sys.stderr)
    pairs = mine_pairs(catalog, clicks, rules)
    # Compared before writing, so that a wrong --labels leaves no file behind.
    agreement = compare(pairs, catalog, options.labels) if options.labels else None
    write_pairs(options.out, catalog, pairs)
    print(summarise(catalog, clicks, pairs, keyword_sets(clicks), rules.broadest))
    if agreement is not None:
        print(agreement)
    print(f"wrote {options.out}")
    return 0
