"""What the photo gives back when the titles no longer name colours."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from towers.evaluation.corpus import Corpus, Embedder, Forms, embed
from towers.evaluation.judgements import Judgements
from towers.evaluation.metrics import difference, estimate
from towers.evaluation.ranking import rank
from towers.evaluation.retrieval_quality import NDCG, PLACES, Scores, score
from towers.evaluation.table import Cell, Table

COLOUR_WORDS = frozenset(
    re.findall(
        r"\w+",
        """
        beige black blue bronze brown burgundy charcoal chocolate cobalt coffee copper coral cream crimson emerald
        fuchsia gold golden gray green grey indigo ivory khaki lavender lemon lilac lime magenta maroon mauve mint
        multi multicolor multicolored multicolour multicoloured mustard navy olive orange peach pink purple red rose
        rust sand scarlet silver tan tangerine teal turquoise violet white yellow
        """,
    )
)
AS_THEY_ARE, REMOVED = "as they are", "colour words removed"
SHORTEST = 3  # letters: values such as "NA" are no colour


def colour_words(values: Collection[str | None] = ()) -> frozenset[str]:
    """The common colour words, and every word of the values of a colour column, in lower case."""
    words = {word for value in values if value for word in re.findall(r"[^\W\d_]+", value.lower())}
    return COLOUR_WORDS | {word for word in words if len(word) >= SHORTEST}


def _pattern(words: Collection[str]) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, sorted(words)))})\b", re.IGNORECASE)


def without_words(titles: Sequence[str], words: Collection[str]) -> list[str]:
    """The titles without these words, whole words of any case."""
    pattern = _pattern(words)
    return [" ".join(pattern.sub(" ", title).split()) for title in titles]


def score_catalogues(
    embedder: Embedder, corpus: Corpus, forms: Forms, judgements: Judgements, words: Collection[str]
) -> dict[tuple[str, str], Scores]:
    """Rank all products exactly, with colour words in the titles and without, with photos and without.

    Args:
        embedder: embeds the queries and the changed titles.
        corpus: the products.
        forms: their embeddings as they are.
        judgements: the queries.
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
        (REMOVED, "yes"): embed(embedder, titles, corpus.images, dim=dim, what="embedding without colours")[0],
        (REMOVED, "no"): embed(embedder, titles, no_photos, dim=dim, what="embedding without photos too")[0],
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
    """What `score_catalogues` found, over all queries and over those that name a colour.

    Args:
        scores: of `score_catalogues`.
        titles: of the products, as they are.
        judgements: the queries.
        words: colour words in lower case.
        seed: of the intervals.
    """
    pattern = _pattern(words)
    named = np.array([bool(pattern.search(query)) for query in judgements.queries])
    rows: list[dict[str, Cell]] = []
    for name, mask in (("all", np.ones_like(named)), ("name a colour", named)):
        if not mask.any():
            continue
        for (shown, photo), ours in scores.items():
            row: dict[str, Cell] = {"queries": name, "count": int(mask.sum()), "titles": shown, "photo": photo}
            row |= {metric: estimate(values[mask], seed=seed) for metric, values in ours.items()}
            gain = difference(ours[NDCG][mask], scores[shown, "no"][NDCG][mask], seed=seed)
            row[f"{NDCG} gained by the photo"] = gain if photo == "yes" else None
            rows.append(row)
    changed = sum(new != old for new, old in zip(without_words(titles, words), titles, strict=True))
    return Table(
        title="Visual slice: titles without colour words",
        note=f"{changed} of {len(titles)} titles lost a word; a word goes also where it is part of a brand or a "
        "material. Exact ranking of all products.",
        rows=rows,
    )
