"""shopwindow evaluate"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shopwindow.base.default_places import SHOP
from shopwindow.cli.common import add_data, add_index, add_repository
from shopwindow.cli.towers.catalog_option import add_catalog, beside_catalog, read_catalog

if TYPE_CHECKING:
    from shopwindow.retrieval.embedding.calibration import Calibration


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_repository(parser)
    add_index(parser)
    add_data(parser, "queries", "; further columns, or a query_meta.parquet beside it, define slices")
    add_data(parser, "qrels")
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
        "--calibrate",
        action="store_true",
        help="write into bundle.json of the repository which score stands for which precision, for min_score "
        "precision:X; servers take it when they start or load the next generation",
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="DIR",
        help="with --calibrate: the checkpoint of these towers, which gets the calibration too, for later exports",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed of intervals and samples (default: %(default)s)"
    )
    add_catalog(
        parser,
        "catalogue that the index was built from; needed for everything but the headline",
        "Options that are not given are those that the index was built with.",
    )


def run(options: argparse.Namespace) -> int:
    """Evaluate in process, print the headline, and write the report."""
    from shopwindow.retrieval import InProcessPipeline
    from shopwindow.retrieval.duplicates.labelled_pairs import read_pairs
    from shopwindow.retrieval.embedding.repository_layout import default_index
    from shopwindow.retrieval.index.home import resolve_index
    from shopwindow.towers.data.holdout import held_out
    from shopwindow.towers.evaluation.cut_off import calibrate, search_judged
    from shopwindow.towers.evaluation.retrieval_quality import NDCG, RECALL, by_script, score_pipeline
    from shopwindow.towers.evaluation.sections import Inputs, make_sections
    from shopwindow.towers.judging.judgements import note_unknown, read_judgements
    from shopwindow.towers.judging.report import write_report

    # First, so that a wrong file fails at once.
    judgements = read_judgements(options.queries, options.qrels)
    if options.checkpoint and not options.calibrate:
        raise ValueError("checkpoint: goes with --calibrate")
    same_style = options.same_style or beside_catalog(options, "same_style.parquet")
    # A file that the user named must exist.
    pairs = read_pairs(same_style, "same-style") if options.same_style or same_style.exists() else None
    index = resolve_index(options.index or default_index(options.repository))
    pipeline = InProcessPipeline(options.repository, index)
    alive = pipeline.index.mask(())
    product_ids = pipeline.index.product_ids if alive is None else pipeline.index.product_ids[alive.rows]
    unseen = None if options.unseen is None else held_out(product_ids, options.unseen)
    folder = pipeline.index.folder
    text_ids = None if folder is None else folder.product_keys is not None
    unknown = note_unknown(judgements, product_ids, f"the index {index}", text_ids=text_ids)
    notes = [note for note in (*judgements.notes, unknown, _other_shop(options)) if note is not None]
    for note in notes:
        print(note, file=sys.stderr)
    catalog = _catalog(options, pipeline.index.manifest.reading)
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
    for label, mask in list(by_script(judgements).items())[1:]:
        headline |= {f"{metric}, {label}": float(scores[metric][mask].mean()) for metric in (NDCG, RECALL)}
        shown = ", ".join(f"{metric} {scores[metric][mask].mean():.4f}" for metric in (NDCG, RECALL))
        print(f"{label}: {mask.sum()} queries: {shown}", flush=True)
    found = search_judged(pipeline, judgements)
    if options.calibrate:
        calibration = calibrate(pipeline, found, f"{options.queries.name}, {options.qrels.name}")
        _write(calibration, options.repository, options.checkpoint)
    inputs = Inputs(
        catalog=catalog,
        same_style_file=same_style,
        same_style=pairs,
        product_ids=product_ids,
        category=options.category_column,
        colour=options.colour_column,
        unseen=unseen,
        seed=options.seed,
    )
    tables, left_out = make_sections(pipeline, judgements, scores, found, inputs)
    measured = {
        "queries": str(options.queries),
        "qrels": str(options.qrels),
        "catalog": os.pathsep.join(map(str, options.catalog)),
        "index": str(index),
        "generation": pipeline.index.manifest.generation,
        "towers": pipeline.bundle.tower_hash,
        "unseen": options.unseen,
        "seed": options.seed,
        "notes": notes,
    }
    files = write_report(options.out, headline, tables, left_out, measured=measured)
    # On standard error, so that standard output holds the headline alone.
    for reason in dict.fromkeys(left_out.values()):
        names = ", ".join(name for name, its_reason in left_out.items() if its_reason == reason)
        print(f"left out: {names}: {reason}", file=sys.stderr)
    print(f"wrote {', '.join(map(str, files))}", file=sys.stderr)
    return 0


def _catalog(options: argparse.Namespace, reading: Mapping[str, Any]) -> Path:
    """Return the catalogue as one parquet file; one that does not exist as it is, for its sections to be left out."""
    missing = [path for path in options.catalog if not path.exists() and not has_magic(str(path))]
    return missing[0] if missing else read_catalog(options, of_index=reading)


def _write(calibration: Calibration, repository: Path, checkpoint: Path | None) -> None:
    """Write a calibration into the bundle of a repository, and beside a checkpoint.

    Raises:
        ValueError: the repository or the checkpoint has other towers, or there are too few judged queries, or no score
            proves any precision.
    """
    from shopwindow.retrieval.embedding.bundle import FILE, Bundle
    from shopwindow.towers.architecture.checkpoint import hash_checkpoint
    from shopwindow.towers.evaluation.cut_off import FEWEST_QUERIES, LEVELS

    bundle = Bundle.read(repository)
    if bundle.tower_hash != calibration.towers:
        raise ValueError(
            f"calibrate: the index carries towers {calibration.towers[:12]}, the repository {repository} has "
            f"{bundle.tower_hash[:12]}; give the repository that the index's towers were exported to"
        )
    if calibration.queries < FEWEST_QUERIES:
        raise ValueError(f"calibrate: needs at least {FEWEST_QUERIES} judged queries, got {calibration.queries}")
    if not calibration.points:
        raise ValueError(
            f"calibrate: no score proves a precision of {LEVELS[0]:g}; give more judgements, or train the towers"
        )
    files = [repository / FILE]
    if checkpoint is not None:
        if (found := hash_checkpoint(checkpoint)) != calibration.towers:
            raise ValueError(
                f"checkpoint: {checkpoint} holds towers {found[:12]}, the calibration is of {calibration.towers[:12]}"
            )
        files.append(calibration.write_beside(checkpoint))
    replace(bundle, calibration=calibration).write(repository)
    print(
        f"wrote the calibration into {' and '.join(map(str, files))}: precision:X goes up to {calibration.highest:g}",
        file=sys.stderr,
    )


def _other_shop(options: argparse.Namespace) -> str | None:
    """Say which files are the demo shop's, if others are not. Ids of two shops may be equal by chance."""
    files = {"queries": options.queries, "qrels": options.qrels, "catalog": options.catalog[0]}
    demo = [name for name, file in files.items() if file.absolute().parent == SHOP.absolute()]
    if not 0 < len(demo) < len(files):
        return None
    return f"{' and '.join(demo)}: the demo shop's, but other files are not; give all of one shop"
