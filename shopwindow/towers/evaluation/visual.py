"""How much the photos help when the titles no longer name colours."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from shopwindow.towers.data.colours import whole_words, without_words
from shopwindow.towers.evaluation.retrieval_quality import NDCG, PLACES, Scores, score
from shopwindow.towers.judging.corpus import Corpus, Embedder, Forms, embed
from shopwindow.towers.judging.judgements import Judgements
from shopwindow.towers.judging.metrics import difference, estimate
from shopwindow.towers.judging.ranking import rank
from shopwindow.towers.judging.table import Cell, Table

AS_THEY_ARE, REMOVED = "as they are", "colour words removed"


def score_catalogues(
    embedder: Embedder, corpus: Corpus, forms: Forms, judgements: Judgements, words: Collection[str]
) -> dict[tuple[str, str], Scores]:
    """Rank all products exactly, with and without colour words in the titles, with and without photos.

    Args:
        embedder: embeds the queries and the changed titles.
        corpus: the products.
        forms: the embeddings of the unchanged products.
        judgements: the judged queries.
        words: colour words in lower case.

    Returns:
        (AS_THEY_ARE or REMOVED, photo "yes" or "no") -> scores.
    """
    titles = without_words(corpus.titles, words)
    no_photos = [b""] * len(titles)
    dim = forms.m.shape[1]
    catalogues = {
        (AS_THEY_ARE, "yes"): forms.m,
        (AS_THEY_ARE, "no"): forms.t,
        (REMOVED, "yes"): embed(embedder, titles, corpus.images, dim=dim, label="embedding without colours")[0],
        (REMOVED, "no"): embed(embedder, titles, no_photos, dim=dim, label="embedding without photos too")[0],
    }
    queries = embedder.embed_query(judgements.queries)
    return {
        key: score(rank(queries, candidates, corpus.product_ids, PLACES), judgements)
        for key, candidates in catalogues.items()
    }


def visual_table(
    scores: Mapping[tuple[str, str], Scores],
    titles: Sequence[str],
    judgements: Judgements,
    words: Collection[str],
    seed: int,
) -> Table:
    """Return the table of these scores, over all queries and over those that name a colour.

    Args:
        scores: what `score_catalogues` returned.
        titles: the unchanged titles of the products.
        judgements: the judged queries.
        words: colour words in lower case.
        seed: seed of the bootstrap intervals.
    """
    pattern = whole_words(words)
    name_a_colour = np.array([bool(pattern.search(query)) for query in judgements.queries])
    rows: list[dict[str, Cell]] = []
    for name, mask in (("all", np.ones_like(name_a_colour)), ("name a colour", name_a_colour)):
        if not mask.any():
            continue
        for (variant, photo), ours in scores.items():
            row: dict[str, Cell] = {"queries": name, "count": int(mask.sum()), "titles": variant, "photo": photo}
            row |= {metric: estimate(values[mask], seed=seed) for metric, values in ours.items()}
            gain = difference(ours[NDCG][mask], scores[variant, "no"][NDCG][mask], seed=seed)
            row[f"{NDCG} gained by the photo"] = gain if photo == "yes" else None
            rows.append(row)
    changed = sum(new != old for new, old in zip(without_words(titles, words), titles, strict=True))
    return Table(
        title="Visual slice: titles without colour words",
        note=f"{changed} of {len(titles)} titles lost a word. A word is removed even if it is part of a brand or a "
        "material. All products are ranked exactly.",
        rows=rows,
    )
