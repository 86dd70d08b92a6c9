"""All variants one after the other: trained, scored, kept; what is finished is not done again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np

from shopwindow.base.progress_bar import progress_bar
from shopwindow.towers.ablation.score import Exam, load_corpus, score_checkpoint
from shopwindow.towers.ablation.spec import Variant
from shopwindow.towers.ablation.train import CHECKPOINT, TrainingFiles, identify, once, train
from shopwindow.towers.architecture.checkpoint import hash_checkpoint
from shopwindow.towers.architecture.config import TowerConfig
from shopwindow.towers.evaluation.same_style import read_same_style
from shopwindow.towers.judging.judgements import read_judgements

SCORES, SCORED = "scores.npz", "scored.json"

Results = dict[str, dict[str, np.ndarray]]
"""Variant -> measure -> its value for every query."""


@dataclass(frozen=True, kw_only=True)
class ExamFiles:
    """What every variant is judged on.

    Attributes:
        queries: parquet with query_id, text.
        qrels: parquet with query_id, product_id, relevance.
        same_style: parquet with trigger_id, recall_id; None leaves that measure out.
    """

    queries: Path
    qrels: Path
    same_style: Path | None


def run_ablation(
    variants: Sequence[Variant], out: Path, training: TrainingFiles, exam: ExamFiles, *, seed: int = 0
) -> Results:
    """Train and score every variant, and print one line for each.

    Args:
        variants: what to train.
        out: receives a folder for each: config.json, the folder `checkpoint`, and scores.npz.
        training: what to train on.
        exam: what to judge on.
        seed: of the draws of the exam; trainings have their own.

    Raises:
        ChildProcessError: a training failed.
        OSError, ValueError: a file is missing or not what it should be.
    """
    data, judged = identify(vars(training)), identify(vars(exam))
    judgements = read_judgements(exam.queries, exam.qrels)  # now: what is wrong with them must not show hours later

    @cache  # photos are decoded once, not for every variant
    def make_exam(image_size: int) -> Exam:
        corpus, photos = load_corpus(training.catalog, image_size)
        return Exam(
            corpus=corpus,
            photos=photos,
            judgements=judgements,
            same_style=read_same_style(exam.same_style, corpus.product_ids) if exam.same_style else {},
            seed=seed,
        )

    def score(variant: Variant, folder: Path) -> None:
        image_size = variant.settings["towers"].get("image_size", TowerConfig.image_size)
        measures = score_checkpoint(folder / CHECKPOINT, make_exam(image_size), variant.hold_out)
        np.savez(folder / SCORES, **measures)

    results: Results = {}
    for variant in progress_bar(variants, total=len(variants), desc="ablation", unit="variant"):
        folder = out / variant.name
        trained = train(variant, folder, training, data)
        inputs = {
            "checkpoint": hash_checkpoint(folder / CHECKPOINT),
            "catalog": data["catalog"],
            **judged,
            "hold_out": variant.hold_out,
            "seed": seed,
        }
        scored = once(folder / SCORED, inputs, partial(score, variant, folder))
        with np.load(folder / SCORES) as kept:
            results[variant.name] = dict(kept)
        means = ", ".join(f"{name} {values.mean():.4f}" for name, values in list(results[variant.name].items())[:2])
        print(f"{variant.name}: {means}" + ("" if trained or scored else " (kept)"), flush=True)
    return results
