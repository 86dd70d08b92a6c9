"""Make every section of the evaluation report whose inputs exist, and give the reason for each missing section."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shopwindow.retrieval.duplicates.labelled_pairs import LabelledPairs
from shopwindow.retrieval.pipeline import InProcessPipeline
from shopwindow.towers.data.colours import colour_words
from shopwindow.towers.evaluation.channels import channels_table
from shopwindow.towers.evaluation.composed import composed_table
from shopwindow.towers.evaluation.cut_off import FEWEST_QUERIES, Found, cut_off_table
from shopwindow.towers.evaluation.gates import gates_table
from shopwindow.towers.evaluation.retrieval_quality import Scores, quality_table, score_bm25, slices
from shopwindow.towers.evaluation.same_style import same_style_of, same_style_table
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
    """The inputs that sections may need in addition to the judged queries.

    Attributes:
        catalog: the parquet file that the index was built from.
        same_style_file: parquet with trigger_id, recall_id.
        same_style: its pairs; None if it does not exist.
        product_ids: (products,) int64, the ids in the index, in its order.
        category: column of the catalogue. None takes the first of CATEGORY_COLUMNS that exists.
        colour: column of the catalogue. None takes the first of COLOUR_COLUMNS that exists.
        unseen: (products,) bool, True where training never saw the product; None if that is unknown.
        seed: seed of all draws and intervals.
    """

    catalog: Path
    same_style_file: Path
    same_style: LabelledPairs | None
    product_ids: np.ndarray
    category: str | None = None
    colour: str | None = None
    unseen: np.ndarray | None = None
    seed: int = 0


def make_sections(
    pipeline: InProcessPipeline, judgements: Judgements, scores: Scores, found: Found, inputs: Inputs
) -> tuple[dict[str, Table], dict[str, str]]:
    """Compute the sections.

    Args:
        pipeline: towers and index.
        judgements: the judged queries.
        scores: the pipeline's scores on these queries.
        found: what `search_judged` found for them.
        inputs: everything else.

    Returns:
        Section -> table, and section -> the reason why it was left out.

    Raises:
        ValueError: a column named in `inputs` is not in the catalogue.
    """
    seed = inputs.seed
    left_out: dict[str, str] = {}
    general: dict[str, Table] = {}
    if pipeline.index.lexical is None:
        left_out["channels"] = "index: has no lexical channel; build it with 'shopwindow index' from titles"
    else:
        general["channels"] = channels_table(pipeline, judgements, seed)
    if len(judgements.queries) < FEWEST_QUERIES:
        left_out["cut_off"] = f"queries: {len(judgements.queries)} are judged, it needs {FEWEST_QUERIES}"
    else:
        general["cut_off"] = cut_off_table(pipeline, found, judgements, seed)
    try:
        corpus = read_corpus(inputs.catalog, inputs.product_ids)
    except (OSError, ValueError) as error:
        reason = str(error) if inputs.catalog.exists() else f"catalog: {inputs.catalog} does not exist"
        sections = ("bm25", "by category", "unseen", "visual", "same_style", "composed", "gates")
        left_out |= dict.fromkeys(sections, reason)
        table = quality_table(scores, None, slices(judgements, None, None), judgements, seed)
        return {"retrieval": table, **general}, left_out

    category = _column(corpus, "category-column", inputs.category, CATEGORY_COLUMNS)
    colour = _column(corpus, "colour-column", inputs.colour, COLOUR_COLUMNS)
    article = _column(corpus, "article", None, ARTICLE_COLUMNS)
    if category is None:
        left_out["by category"] = f"catalog: has none of the columns {', '.join(CATEGORY_COLUMNS)}"
    bm25 = score_bm25(corpus, judgements) if any(corpus.titles) else None
    by_slice = slices(judgements, corpus, category)
    tables = {"retrieval": quality_table(scores, bm25, by_slice, judgements, seed), **general}
    if bm25 is None:
        left_out["bm25"] = "catalog: no product has a title"

    forms = embed_forms(pipeline, corpus, pipeline.index.manifest.dim)
    if inputs.unseen is None:
        left_out["unseen"] = "unseen: pass --unseen with the hold_out that the towers were trained with"
    else:
        queries = pipeline.embed_query(judgements.queries)
        unseen = unseen_table(queries, forms.m, corpus, judgements, inputs.unseen, seed)
        if unseen:
            tables["unseen"] = unseen
        else:
            left_out["unseen"] = (
                f"unseen: no judged query has a relevant product among the {inputs.unseen.sum()} held-out products"
            )

    words = colour_words(corpus.columns[colour] if colour else ())
    catalogues = score_catalogues(pipeline, corpus, forms, judgements, words)
    tables["visual"] = visual_table(catalogues, corpus.titles, judgements, words, seed)

    pairs = inputs.same_style
    same = None if pairs is None else same_style_of(pairs, inputs.product_ids)
    if pairs is not None and (note := pairs.note_unknown(inputs.product_ids, "the index")):
        left_out["same-style pairs"] = note
    if same:
        tables["same_style"] = same_style_table(forms, inputs.product_ids, same, seed)
        tables["same_style_thresholds"] = threshold_table(forms.m, inputs.product_ids, same)
    else:
        left_out["same_style"] = f"same-style: {inputs.same_style_file} " + (
            "does not exist" if same is None else "has no pair of indexed products"
        )

    edits = composed_table(pipeline, corpus, forms, article, colour, seed) if article and colour else None
    if edits:
        tables["composed"] = edits
    else:
        left_out["composed"] = (
            "catalog: no product with a photo has an article that exists often enough in another colour"
            if article and colour
            else f"catalog: needs a column {' or '.join(ARTICLE_COLUMNS)} and a column {' or '.join(COLOUR_COLUMNS)}"
        )

    both = forms.t.any(axis=1) & forms.i.any(axis=1)
    if both.any():
        categories = corpus.columns[category] if category else [None] * len(both)
        tables["gates"] = gates_table(forms.weights, categories, both)
    else:
        left_out["gates"] = "catalog: no product has both title and photo"
    return tables, left_out


def _column(corpus: Corpus, option: str, chosen: str | None, defaults: tuple[str, ...]) -> str | None:
    if chosen is not None and chosen not in corpus.columns:
        raise ValueError(f"{option}: must be a text column of the catalogue, {sorted(corpus.columns)}, got {chosen!r}")
    return chosen or next((name for name in defaults if name in corpus.columns), None)
