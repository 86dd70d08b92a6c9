"""Every section for which the inputs are there, and for the others the reason."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shopwindow.retrieval.pipeline import InProcessPipeline
from shopwindow.towers.data.colours import colour_words
from shopwindow.towers.evaluation.channels import channels_table
from shopwindow.towers.evaluation.composed import composed_table
from shopwindow.towers.evaluation.gates import gates_table
from shopwindow.towers.evaluation.retrieval_quality import Scores, quality_table, score_bm25, slices
from shopwindow.towers.evaluation.same_style import read_same_style, same_style_table
from shopwindow.towers.evaluation.same_style_threshold import threshold_table
from shopwindow.towers.evaluation.unseen import unseen_table
from shopwindow.towers.evaluation.visual import score_catalogues, visual_table
from shopwindow.towers.judging.corpus import Corpus, embed_forms, read_corpus
from shopwindow.towers.judging.judgements import Judgements
from shopwindow.towers.judging.table import Table

CATEGORY_COLUMNS = ("category", "master_category")
COLOUR_COLUMNS = ("colour", "base_colour")
ARTICLE_COLUMNS = ("article", "article_type")


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What sections may need beside the judged queries.

    Attributes:
        catalog: the parquet file that the index was built from.
        same_style: parquet with trigger_id, recall_id.
        product_ids: (products,) int64, those of the index in its order.
        category: column of the catalogue; None takes the first of CATEGORY_COLUMNS that is there.
        colour: column of the catalogue; None takes the first of COLOUR_COLUMNS that is there.
        unseen: (products,) bool, those that training never saw; None where that is not known.
        seed: of all draws and intervals.
    """

    catalog: Path
    same_style: Path
    product_ids: np.ndarray
    category: str | None = None
    colour: str | None = None
    unseen: np.ndarray | None = None
    seed: int = 0


def make_sections(
    pipeline: InProcessPipeline, judgements: Judgements, scores: Scores, inputs: Inputs
) -> tuple[dict[str, Table], dict[str, str]]:
    """Compute the sections.

    Args:
        pipeline: towers and index.
        judgements: the judged queries.
        scores: of the pipeline on them.
        inputs: everything else.

    Returns:
        Section -> table, and section -> why it was left out.

    Raises:
        ValueError: a column that was asked for is not in the catalogue.
    """
    seed = inputs.seed
    left_out: dict[str, str] = {}
    channels: dict[str, Table] = {}
    if pipeline.index.lexical is None:
        left_out["channels"] = "index: has no lexical channel; build it with 'shopwindow index' from titles"
    else:
        channels["channels"] = channels_table(pipeline, judgements, seed)
    try:
        corpus = read_corpus(inputs.catalog, inputs.product_ids)
    except (OSError, ValueError) as error:
        reason = str(error) if inputs.catalog.exists() else f"catalog: there is no {inputs.catalog}"
        sections = ("bm25", "by category", "unseen", "visual", "same_style", "composed", "gates")
        left_out |= dict.fromkeys(sections, reason)
        table = quality_table(scores, None, slices(judgements, None, None), judgements, seed)
        return {"retrieval": table, **channels}, left_out

    category = _column(corpus, "category-column", inputs.category, CATEGORY_COLUMNS)
    colour = _column(corpus, "colour-column", inputs.colour, COLOUR_COLUMNS)
    article = _column(corpus, "article", None, ARTICLE_COLUMNS)
    if category is None:
        left_out["by category"] = f"catalog: has none of the columns {', '.join(CATEGORY_COLUMNS)}"
    floor = score_bm25(corpus, judgements) if any(corpus.titles) else None
    by_slice = slices(judgements, corpus, category)
    tables = {"retrieval": quality_table(scores, floor, by_slice, judgements, seed), **channels}
    if floor is None:
        left_out["bm25"] = "catalog: no product has a title"

    forms = embed_forms(pipeline, corpus, pipeline.index.manifest.dim)
    if inputs.unseen is None:
        left_out["unseen"] = "unseen: give the hold_out that the towers were trained with (--unseen)"
    else:
        queries = pipeline.embed_query(judgements.queries)
        unseen = unseen_table(queries, forms.m, corpus, judgements, inputs.unseen, seed)
        if unseen:
            tables["unseen"] = unseen
        else:
            left_out["unseen"] = (
                f"unseen: no judged query has a relevant product among the {inputs.unseen.sum()} held out"
            )

    words = colour_words(corpus.columns[colour] if colour else ())
    catalogues = score_catalogues(pipeline, corpus, forms, judgements, words)
    tables["visual"] = visual_table(catalogues, corpus.titles, judgements, words, seed)

    same = read_same_style(inputs.same_style, inputs.product_ids) if inputs.same_style.exists() else None
    if same:
        tables["same_style"] = same_style_table(forms, inputs.product_ids, same, seed)
        tables["same_style_thresholds"] = threshold_table(forms.m, inputs.product_ids, same)
    else:
        problem = "there is no" if same is None else "no pair of indexed products in"
        left_out["same_style"] = f"same-style: {problem} {inputs.same_style}"

    edits = composed_table(pipeline, corpus, forms, article, colour, seed) if article and colour else None
    if edits:
        tables["composed"] = edits
    else:
        left_out["composed"] = (
            "catalog: no photo whose article exists in another colour often enough"
            if article and colour
            else f"catalog: needs a column of {', '.join(ARTICLE_COLUMNS)} and of {', '.join(COLOUR_COLUMNS)}"
        )

    both = forms.t.any(axis=1) & forms.i.any(axis=1)
    if both.any():
        categories = corpus.columns[category] if category else [None] * len(both)
        tables["gates"] = gates_table(forms.weights, categories, both)
    else:
        left_out["gates"] = "catalog: no product has both title and photo"
    return tables, left_out


def _column(corpus: Corpus, option: str, wanted: str | None, usual: tuple[str, ...]) -> str | None:
    if wanted is not None and wanted not in corpus.columns:
        raise ValueError(f"{option}: must be a text column of the catalogue, {sorted(corpus.columns)}, got {wanted!r}")
    return wanted or next((name for name in usual if name in corpus.columns), None)
