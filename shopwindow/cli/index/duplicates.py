"""shopwindow duplicates"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from shopwindow.base.default_places import INDEX

OUT = Path("build/duplicates")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--index", type=Path, default=INDEX, metavar="DIR", help="index (default: %(default)s)")
    parser.add_argument(
        "--supplier-column",
        metavar="NAME",
        help="column of the supplier, such as supplier_id; without it, the whole catalogue counts as one supplier's",
    )
    parser.add_argument(
        "--across",
        action="store_true",
        help="find products that different suppliers sell, instead of those that one supplier lists several times",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        default=0.95,
        metavar="S",
        help="lowest cosine of a pair; 'shopwindow evaluate' reports which suits the towers (default: %(default)s)",
    )
    parser.add_argument(
        "--pairs",
        type=Path,
        metavar="FILE",
        help="parquet with trigger_id, recall_id and optionally label (1 the same, 0 not); reports precision, recall",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=OUT,
        metavar="DIR",
        help="folder for duplicates.parquet, .json and .html (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    """Find the groups, print how many there are, and write the report."""
    import time

    from shopwindow.cli.index.duplicates_report import Report, write_report
    from shopwindow.retrieval.duplicates.groups import find_duplicates, supplier_codes
    from shopwindow.retrieval.duplicates.labelled_pairs import compare_pairs, read_pairs
    from shopwindow.retrieval.index.folder import read_index

    if options.across and options.supplier_column is None:
        raise ValueError("across: needs --supplier-column, which tells the suppliers apart")
    labelled = read_pairs(options.pairs) if options.pairs else None  # first, so that a wrong file fails at once
    folder = read_index(options.index)
    suppliers = supplier_codes(folder, options.supplier_column)
    started = time.perf_counter()
    groups = find_duplicates(folder, suppliers, threshold=options.threshold, across=options.across)
    seconds = time.perf_counter() - started
    agreement = None
    if labelled is not None:
        if note := labelled.note_unknown(folder.product_ids, "the index"):
            print(f"pairs: {note}", file=sys.stderr)
        agreement = compare_pairs(labelled, groups, folder.product_ids, suppliers, across=options.across)
    report = Report(
        folder=folder,
        suppliers=suppliers,
        groups=groups,
        column=options.supplier_column,
        threshold=options.threshold,
        across=options.across,
        seconds=seconds,
        agreement=agreement,
    )
    print(report)
    files = write_report(options.out, report, options.index)
    print(f"wrote {', '.join(map(str, files))}")
    return 0
