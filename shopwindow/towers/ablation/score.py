"""What a checkpoint is worth: every measure query by query, with no export and no index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from shopwindow.towers.ablation.embedder import TorchEmbedder
from shopwindow.towers.architecture.checkpoint import load_checkpoint
from shopwindow.towers.data.colours import colour_words
from shopwindow.towers.data.holdout import held_out
from shopwindow.towers.data.training_data import load_catalog
from shopwindow.towers.evaluation.composed import TOGETHER, compose, draw_edits, find_edits, score_edits
from shopwindow.towers.evaluation.retrieval_quality import NDCG, RECALL, Scores
from shopwindow.towers.evaluation.same_style import score_direction
from shopwindow.towers.evaluation.sections import ARTICLE_COLUMNS, COLOUR_COLUMNS
from shopwindow.towers.evaluation.unseen import answerable, score_among
from shopwindow.towers.evaluation.visual import AS_THEY_ARE, REMOVED, score_catalogues
from shopwindow.towers.judging.corpus import Corpus, embed_forms, read_corpus
from shopwindow.towers.judging.judgements import Judgements


@dataclass(frozen=True, kw_only=True)
class Exam:
    """What checkpoints are judged on.

    Attributes:
        corpus: the catalogue; what training would not use, an unreadable photo or title, counts as absent.
        photos: encoded photo -> its pixels, (size, size, 3) uint8.
        judgements: the judged queries.
        same_style: trigger -> its same-style products; empty leaves that measure out.
        seed: of all draws.
    """

    corpus: Corpus
    photos: Mapping[bytes, np.ndarray]
    judgements: Judgements
    same_style: Mapping[int, set[int]]
    seed: int


def load_corpus(file: Path, image_size: int) -> tuple[Corpus, dict[bytes, np.ndarray]]:
    """Read a catalogue and decode its photos, for the fields of an `Exam`."""
    catalog = load_catalog(file, image_size)
    corpus = read_corpus(file, catalog.product_ids)
    images = [image if readable else b"" for image, readable in zip(corpus.images, catalog.has_image, strict=True)]
    photos = {image: pixels for image, pixels in zip(images, catalog.pixels, strict=True) if image}
    return replace(corpus, titles=catalog.titles, images=images), photos


def score_checkpoint(folder: Path, exam: Exam, hold_out: float = 0.0) -> dict[str, np.ndarray]:
    """Judge a checkpoint by exact ranking.

    Args:
        folder: the checkpoint.
        exam: what to judge it on.
        hold_out: share of products that it was trained without; 0 leaves the measures on those out.

    Returns:
        Measure -> its value for every query, trigger or edit, float64; the same exam and share give the same measures
        and lengths for every checkpoint.
    """
    embedder = TorchEmbedder(load_checkpoint(folder), exam.photos)
    corpus, ids, judgements = exam.corpus, exam.corpus.product_ids, exam.judgements
    forms = embed_forms(embedder, corpus, embedder.dim)
    colour = next((corpus.columns[name] for name in COLOUR_COLUMNS if name in corpus.columns), None)
    article = next((corpus.columns[name] for name in ARTICLE_COLUMNS if name in corpus.columns), None)

    catalogues = score_catalogues(embedder, corpus, forms, judgements, colour_words(colour or ()))
    measures = _main(catalogues[AS_THEY_ARE, "yes"], "all products")
    unseen = held_out(ids, hold_out)
    if answerable(judgements, ids[unseen]).any():
        queries = embedder.embed_query(judgements.queries)
        measures |= _main(score_among(queries, forms.m, ids, judgements, unseen), "unseen products")
    measures |= _main(catalogues[REMOVED, "yes"], "no colour words")
    measures |= _main(catalogues[REMOVED, "no"], "no colour words, no photos")

    held = set(ids[unseen].tolist())
    groups = {"": exam.same_style, ", unseen triggers": {k: v for k, v in exam.same_style.items() if k in held}}
    for name, same in groups.items():
        if same:
            measures[f"same style m-m MRR{name}"] = score_direction(forms.m, forms.m, ids, same)["MRR"]

    edits = draw_edits(article, colour, forms.i.any(axis=1), seed=exam.seed) if article and colour else []
    if article and colour and edits:
        found = find_edits(compose(embedder, corpus, forms, edits, colour)[TOGETHER], forms, edits)
        measures["composed, both in the first 10"] = score_edits(found[:, :10], edits, article, colour)["both"]
    return measures


def _main(scores: Scores, where: str) -> dict[str, np.ndarray]:
    return {f"{metric}, {where}": scores[metric] for metric in (NDCG, RECALL)}
