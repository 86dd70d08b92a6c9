"""Train and score all variants, one after the other. Finished work is kept and not done again."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np

from shopwindow.base.progress_bar import progress_bar
from shopwindow.retrieval.duplicates.labelled_pairs import read_pairs
from shopwindow.towers.ablation.score import JudgingData, load_corpus, score_checkpoint
from shopwindow.towers.ablation.spec import Variant
from shopwindow.towers.ablation.train import CHECKPOINT, TrainingFiles, hash_files, once, train
from shopwindow.towers.architecture.checkpoint import hash_checkpoint
from shopwindow.towers.architecture.config import TowerConfig
from shopwindow.towers.data.training_data import read_ids
from shopwindow.towers.evaluation.same_style import same_style_of
from shopwindow.towers.judging.judgements import note_unknown, read_judgements

SCORES, SCORED = "scores.npz", "scored.json"

Results = dict[str, dict[str, np.ndarray]]
"""Variant -> measure -> its value for every query."""


@dataclass(frozen=True, kw_only=True)
class JudgingFiles:
    """The files that every variant is judged on.

    Attributes:
        queries: parquet with query_id, text.
        qrels: parquet with query_id, product_id, relevance.
        same_style: parquet with trigger_id, recall_id. None leaves out the same-style measure.
    """

    queries: Path
    qrels: Path
    same_style: Path | None


def run_ablation(
    variants: Sequence[Variant], out: Path, training: TrainingFiles, judging: JudgingFiles, *, seed: int = 0
) -> Results:
    """Train and score every variant, and print one line for each.

    Args:
        variants: what to train.
        out: receives a folder for each variant with config.json, the folder `checkpoint`, and scores.npz.
        training: what to train on.
        judging: what to judge on.
        seed: seed of what judging draws at random. Each training has a separate seed in its settings.

    Raises:
        ChildProcessError: a training failed.
        OSError, ValueError: a file is missing or has the wrong content.
    """
    training_hashes, judging_hashes = hash_files(vars(training)), hash_files(vars(judging))
    # Read before the first training, so that a fault in these files does not show hours later.
    judgements = read_judgements(judging.queries, judging.qrels)
    same_style = None if judging.same_style is None else read_pairs(judging.same_style, "same-style")
    ids = read_ids("catalog", training.catalog)
    notes = [*judgements.notes, note_unknown(judgements, ids, "the catalogue")]
    if same_style is not None and (note := same_style.note_unknown(ids, "the catalogue")):
        notes.append(f"same-style: {note}")
    for line in filter(None, notes):
        print(line, file=sys.stderr)

    @cache  # decodes the photos once, not for every variant
    def load_judging_data(image_size: int) -> JudgingData:
        corpus, photos = load_corpus(training.catalog, image_size)
        return JudgingData(
            corpus=corpus,
            photos=photos,
            judgements=judgements,
            same_style={} if same_style is None else same_style_of(same_style, corpus.product_ids),
            seed=seed,
        )

    def score(variant: Variant, folder: Path) -> None:
        image_size = variant.settings["towers"].get("image_size", TowerConfig.image_size)
        measures = score_checkpoint(folder / CHECKPOINT, load_judging_data(image_size), variant.hold_out)
        np.savez(folder / SCORES, **measures)

    results: Results = {}
    for variant in progress_bar(variants, total=len(variants), desc="ablation", unit="variant"):
        folder = out / variant.name
        trained = train(variant, folder, training, training_hashes)
        inputs = {
            "checkpoint": hash_checkpoint(folder / CHECKPOINT),
            "catalog": training_hashes["catalog"],
            **judging_hashes,
            "hold_out": variant.hold_out,
            "seed": seed,
        }
        scored = once(folder / SCORED, inputs, partial(score, variant, folder))
        with np.load(folder / SCORES) as measures:
            results[variant.name] = dict(measures)
        means = ", ".join(f"{name} {values.mean():.4f}" for name, values in list(results[variant.name].items())[:2])
        print(f"{variant.name}: {means}" + ("" if trained or scored else " (kept)"), flush=True)
    return results
