"""shopwindow convert"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("source", type=Path, metavar="SOURCE", help="file or folder of the data set")
    parser.add_argument(
        "--format",
        choices=["fashion", "esspr"],
        required=True,
        help="fashion: parquet of ashraq/fashion-product-images-small; esspr: JSON pairs of esspr_data4train or 4eval",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write into")
    parser.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="folder of esspr's photos, found by the file names of their URLs (default: the source's folder)",
    )


def run(options: argparse.Namespace) -> int:
    """Convert the data set and print the counts."""
    from shopwindow.towers.data.esspr_pairs import convert_esspr
    from shopwindow.towers.data.published_sets import convert_fashion

    if options.format == "fashion" and options.images:
        raise ValueError("--images: is for --format esspr; the photos of fashion are in its parquet files")
    if options.format == "fashion":
        converted = convert_fashion(options.source, options.out)
    else:
        converted = convert_esspr(options.source, options.out, options.images)
    print(converted)
    for row, _, reason in converted.skipped.rows[:5]:
        print(f"- row {row}: {reason}")
    print(f"wrote {options.out}" + (", all rows left out in its skipped.csv" if converted.skipped.rows else ""))
    return 0
