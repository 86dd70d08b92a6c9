"""shopwindow export"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path

from shopwindow.base.default_places import CHECKPOINT, SHOP
from shopwindow.cli.common import add_repository, triton_version
from shopwindow.cli.index.reading_options import add_reading, reading_of
from shopwindow_export.graphs.precisions import PRECISIONS

SAMPLE_PRODUCTS = 300
GATED_PRODUCTS = 20_000  # their photos are held in memory
AUTO = "auto"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--checkpoint", type=Path, default=CHECKPOINT, metavar="DIR", help="checkpoint folder (default: the demo's)"
    )
    parser.add_argument(
        "--precision",
        default="fp32",
        choices=(*PRECISIONS, AUTO),
        help=f"precision of the graphs; {AUTO}: int8 if it keeps its budget and is worth it on this CPU, else fp32 "
        "(default: %(default)s)",
    )
    add_repository(parser)
    parser.add_argument(
        "--sample",
        type=Path,
        metavar="FILE",
        help="catalogue, a file as for 'shopwindow index', whose products are used to set the scales of 8-bit graphs "
        "and to measure parity (default: the demo shop)",
    )
    parser.add_argument(
        "--sample-size",
        type=int,
        metavar="N",
        help=f"most products to take from the sample, 0 for all (default: {SAMPLE_PRODUCTS} for fp32, else "
        f"{GATED_PRODUCTS})",
    )
    parser.add_argument(
        "--queries", type=Path, metavar="FILE", help="parquet with query_id, text (default: the ends of the titles)"
    )
    parser.add_argument(
        "--qrels",
        type=Path,
        metavar="FILE",
        help="parquet with query_id, product_id, relevance; adds a comparison of recall",
    )
    parser.add_argument(
        "--report",
        type=Path,
        metavar="DIR",
        help="folder for parity.json and parity.html (default: `parity` beside the repository)",
    )
    parser.add_argument(
        "--cpu-instances",
        type=int,
        metavar="N",
        help="processes that run retrieve on a CPU and share its cores (default: one for every two cores)",
    )
    add_reading(parser, "These are for the sample.")
    gpu = parser.add_argument_group("GPU profiles")
    gpu.add_argument(
        "--triton",
        type=triton_version,
        metavar="X.Y",
        help="Triton version of the server, such as 2.71 (default: that of the Triton image this runs in, else 2.51)",
    )
    gpu.add_argument(
        "--compute-capability",
        action="append",
        default=[],
        metavar="X.Y",
        help="compute capability of a GPU, such as 9.0; repeat it for each kind of GPU, and each gets its own plan",
    )
    gpu.add_argument("--cuda-graphs", action="store_true", help="run the towers as CUDA graphs, at fixed batch sizes")
    gpu.add_argument(
        "--max-inflight-requests",
        type=int,
        metavar="N",
        help="most requests that a step of a pipeline has in flight; further ones wait (default: no limit)",
    )


def run(options: argparse.Namespace) -> int:
    """Export the repository and print the parity report."""
    from shopwindow_export.parity.report_page import HTML_FILE, figures, verdict
    from shopwindow_export.repository.rendering import GpuOptions
    from shopwindow_export.repository.run import UNMEASURED, export_fastest, export_repository

    gpu = GpuOptions(
        **({"triton": options.triton} if options.triton else {}),
        capabilities=tuple(options.compute_capability),
        cuda_graphs=options.cuda_graphs,
        max_inflight_requests=options.max_inflight_requests,
    )
    report_folder = options.report or options.repository.resolve().parent / "parity"
    size = options.sample_size
    if size is None:
        size = SAMPLE_PRODUCTS if options.precision == "fp32" else GATED_PRODUCTS
    export = export_fastest if options.precision == AUTO else partial(export_repository, precision=options.precision)
    with tempfile.TemporaryDirectory() as folder:
        report = export(
            options.checkpoint,
            options.repository,
            options.sample or _demo_sample(Path(folder)),
            cpu_instances=options.cpu_instances,
            queries=options.queries,
            qrels=options.qrels,
            sample_size=size or None,
            reading=reading_of(options),
            report_folder=report_folder,
            gpu=gpu,
        )
    if report is None:
        print(f"parity with PyTorch: {options.precision} {UNMEASURED}\nwrote {options.repository}")
        return 0
    print("parity with PyTorch:")
    for name, value in figures(report).items():
        print(f"  {name:<31} {value}")
    print(f"{verdict(report)}\nwrote {options.repository} (report: {report_folder / HTML_FILE})")
    return 0


def _demo_sample(folder: Path) -> Path:
    """Return the demo shop's catalogue. If the shop does not exist yet, draw a small one into `folder`."""
    from shopwindow.demo_shop import generate

    made = SHOP / "products.parquet"
    if made.exists():
        return made
    generate(folder, products=SAMPLE_PRODUCTS, progress=False)
    return folder / "products.parquet"
