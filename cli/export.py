"""shopwindow export"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from cli.common import CHECKPOINT, SHOP, add_repository

SAMPLE_PRODUCTS = 300


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--checkpoint", type=Path, default=CHECKPOINT, metavar="DIR", help="checkpoint folder (default: the demo's)"
    )
    parser.add_argument("--precision", default="fp32", choices=["fp32"], help="of the graphs (default: %(default)s)")
    add_repository(parser)
    parser.add_argument(
        "--sample",
        type=Path,
        metavar="FILE",
        help="catalogue (parquet: title, image) whose products and titles the parity report is measured on "
        "(default: the demo shop)",
    )
    parser.add_argument(
        "--cpu-instances", type=int, metavar="N", help="processes that answer retrieve on a CPU (default: one a core)"
    )


def run(options: argparse.Namespace) -> int:
    """Export, and print the parity report."""
    from export.repository import PARITY_FILE, export_repository

    with tempfile.TemporaryDirectory() as folder:
        report = export_repository(
            options.checkpoint,
            options.repository,
            options.sample or _demo_sample(Path(folder)),
            precision=options.precision,
            cpu_instances=options.cpu_instances,
        )
    print(
        f"parity with PyTorch on {report.products} products and {report.queries} queries:\n"
        f"  query tower    max abs diff {report.query_max_abs_diff:.1e}, min cosine {report.query_min_cosine:.7f}\n"
        f"  product tower  max abs diff {report.product_max_abs_diff:.1e}, min cosine {report.product_min_cosine:.7f}\n"
        f"  ranking        overlap@10 {report.overlap_at_10:.4f}\n"
        f"wrote {options.repository} (report: {options.repository / PARITY_FILE})"
    )
    return 0


def _demo_sample(folder: Path) -> Path:
    """The demo shop's catalogue; a small one is drawn when it has not been made yet."""
    from demo.shop import generate

    made = SHOP / "products.parquet"
    if made.exists():
        return made
    generate(folder, products=SAMPLE_PRODUCTS, progress=False)
    return folder / "products.parquet"
