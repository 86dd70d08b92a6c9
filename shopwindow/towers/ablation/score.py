"""Score a checkpoint in every measure, query by query, without an export or an index."""

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
class JudgingData:
    """The data that checkpoints are judged on.

    Attributes:
        corpus: the catalogue. A photo or title that training would not use counts as absent.
        photos: encoded photo -> its pixels, (size, size, 3) uint8.
        judgements: the judged queries.
        same_style: trigger -> its same-style products. If empty, the same-style measure is left out.
        seed: seed of everything drawn at random.
    """

    corpus: Corpus
    photos: Mapping[bytes, np.ndarray]
    judgements: Judgements
    same_style: Mapping[int, set[int]]
    seed: int


def load_corpus(file: Path, image_size: int) -> tuple[Corpus, dict[bytes, np.ndarray]]:
    """Read a catalogue and decode its photos, for `JudgingData`."""
    catalog = load_catalog(file, image_size)
    corpus = read_corpus(file, catalog.product_ids)
    images = [image if readable else b"" for image, readable in zip(corpus.images, catalog.has_image, strict=True)]
    photos = {image: pixels for image, pixels in zip(images, catalog.pixels, strict=True) if image}
    return replace(corpus, titles=catalog.titles, images=images), photos


def score_checkpoint(folder: Path, data: JudgingData, hold_out: float = 0.0) -> dict[str, np.ndarray]:
    """Judge a checkpoint by exact ranking.

    Args:
        folder: the checkpoint.
        data: what to judge it on.
        hold_out: share of products that it was trained without. 0 leaves out the measures on those products.

    Returns:
        Measure -> its value for every query, trigger or edit, float64. The same data and share give the same measures
        and lengths for every checkpoint.
    """
    embedder = TorchEmbedder(load_checkpoint(folder), data.photos)
    corpus, ids, judgements = data.corpus, data.corpus.product_ids, data.judgements
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

    unseen_ids = set(ids[unseen].tolist())
    unseen_triggers = {trigger: same for trigger, same in data.same_style.items() if trigger in unseen_ids}
    groups = {"": data.same_style, ", unseen triggers": unseen_triggers}
    for name, same in groups.items():
        if same:
            measures[f"same style m-m MRR{name}"] = score_direction(forms.m, forms.m, ids, same)["MRR"]

    edits = draw_edits(article, colour, forms.i.any(axis=1), seed=data.seed) if article and colour else []
    if article and colour and edits:
        found = find_edits(compose(embedder, corpus, forms, edits, colour)[TOGETHER], forms, edits)
        measures["composed, both in the first 10"] = score_edits(found[:, :10], edits, article, colour)["both"]
    return measures


def _main(scores: Scores, where: str) -> dict[str, np.ndarray]:
    return {f"{metric}, {where}": scores[metric] for metric in (NDCG, RECALL)}
