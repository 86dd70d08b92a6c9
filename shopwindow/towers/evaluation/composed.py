"""Composed queries: the photo of a product and another colour must find the same article in that colour.

How eSSPR composes photo and words was not published. We judge two ways, both our reading: embedding photo and word
together, and arithmetic in the joint space, normalise(e_i - e_t(old colour) + e_t(new colour)).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shopwindow.towers.judging.corpus import Corpus, Embedder, Forms, embed
from shopwindow.towers.judging.metrics import estimate
from shopwindow.towers.judging.ranking import rank
from shopwindow.towers.judging.table import Cell, Table

DEPTHS = (5, 10)
TOGETHER = "photo and word together"
SAMPLE = 500
LEAST = 3


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One composed query.

    Attributes:
        row: row of the product whose photo is in the query.
        colour: the colour in the query, as the catalogue writes it.
        available: number of products that are the same article in that colour.
    """

    row: int
    colour: str
    available: int


def draw_edits(
    articles: Sequence[str | None], colours: Sequence[str | None], usable: np.ndarray, *, seed: int, most: int = SAMPLE
) -> list[Edit]:
    """Draw products, and for each another colour in which its article exists at least LEAST times.

    Args:
        articles: (products) kind of product; None where unknown.
        colours: (products) colour; None where unknown.
        usable: (products,) bool, True where the product has a photo.
        seed: seed of the draw.
        most: largest number of edits.
    """
    counts = Counter((a, c) for a, c in zip(articles, colours, strict=True) if a and c)
    by_article: dict[str, list[str]] = {}
    for (article, colour), count in sorted(counts.items()):
        if count >= LEAST:
            by_article.setdefault(article, []).append(colour)
    rng = np.random.default_rng(seed)
    edits: list[Edit] = []
    for row in rng.permutation(np.flatnonzero(usable)).tolist():
        article, old = articles[row], colours[row]
        if not article or not old or len(edits) == most:
            continue
        others = [colour for colour in by_article.get(article, []) if colour != old]
        if others:
            new = others[rng.integers(len(others))]
            edits.append(Edit(row=row, colour=new, available=counts[article, new]))
    return edits


def score_edits(
    found: np.ndarray, edits: Sequence[Edit], articles: Sequence[str | None], colours: Sequence[str | None]
) -> dict[str, np.ndarray]:
    """Judge the products that the edits found.

    Args:
        found: (edits, places) int64 rows of the catalogue. -1 means an empty place and counts as wrong.
        edits: the composed queries.
        articles: (products) kind of product.
        colours: (products) colour.

    Returns:
        "both", "article kept" and "colour changed" -> share of the places, (edits,) float64.
    """
    rows = zip(found.tolist(), edits, strict=True)
    pairs = [
        [(r >= 0 and articles[r] == articles[edit.row], r >= 0 and colours[r] == edit.colour) for r in places]
        for places, edit in rows
    ]
    marks = np.array(pairs, dtype=bool).reshape(*found.shape, 2)
    return {
        "both": marks.all(axis=2).mean(axis=1),
        "article kept": marks[:, :, 0].mean(axis=1),
        "colour changed": marks[:, :, 1].mean(axis=1),
    }


def shift(photos: np.ndarray, old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Exchange a style by arithmetic, normalise(photos - old + new); all (edits, dim) float32."""
    moved: np.ndarray = photos - old + new
    moved /= np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-12)
    return moved


def compose(
    embedder: Embedder, corpus: Corpus, forms: Forms, edits: Sequence[Edit], colours: Sequence[str | None]
) -> dict[str, np.ndarray]:
    """Embed the edits in both ways of composing, and the photo alone for comparison.

    Args:
        embedder: embeds the composed queries.
        corpus: the products.
        forms: the embeddings of the products.
        edits: the composed queries.
        colours: (products) colour.

    Returns:
        TOGETHER, "arithmetic" and "photo alone" -> (edits, dim) float32.
    """
    rows = np.array([edit.row for edit in edits])
    new_words = [edit.colour.lower() for edit in edits]
    old_words = [str(colours[row]).lower() for row in rows]
    photos = [corpus.images[row] for row in rows]
    together, _ = embed(embedder, new_words, photos, dim=forms.m.shape[1], label="embedding composed queries")
    vocabulary = sorted({*new_words, *old_words})
    vectors, _ = embedder.embed_product(vocabulary, [b""] * len(vocabulary))
    vector_of = dict(zip(vocabulary, vectors, strict=True))
    old, new = (np.stack([vector_of[word] for word in words]) for words in (old_words, new_words))
    return {TOGETHER: together, "arithmetic": shift(forms.i[rows], old, new), "photo alone": forms.i[rows]}


def find_edits(queries: np.ndarray, forms: Forms, edits: Sequence[Edit]) -> np.ndarray:
    """Return the rows that composed queries find, (edits, max(DEPTHS)) int64. The product in the photo is excluded."""
    rows = np.array([edit.row for edit in edits])
    return rank(queries, forms.m, np.arange(len(forms.m)), max(DEPTHS), exclude=rows)


def composed_table(
    embedder: Embedder, corpus: Corpus, forms: Forms, article: str, colour: str, seed: int
) -> Table | None:
    """Judge the ways of composing.

    Args:
        embedder: embeds the composed queries.
        corpus: the products.
        forms: the embeddings of the products.
        article: column with the kind of product.
        colour: column with the colour.
        seed: seed of the draw and of the bootstrap intervals.

    Returns:
        The table; None if no edit can be drawn from the catalogue.
    """
    articles, colours = corpus.columns[article], corpus.columns[colour]
    edits = draw_edits(articles, colours, forms.i.any(axis=1), seed=seed)
    if not edits:
        return None
    table: list[dict[str, Cell]] = []
    for way, queries in compose(embedder, corpus, forms, edits, colours).items():
        found = find_edits(queries, forms, edits)
        for depth, least in itertools.product(DEPTHS, (LEAST, max(DEPTHS))):
            chosen = np.flatnonzero([edit.available >= least for edit in edits])
            if not len(chosen):
                continue
            judged = [edits[row] for row in chosen]
            scores = score_edits(found[chosen, :depth], judged, articles, colours)
            line: dict[str, Cell] = {"query": way, "first": depth, "exist at least": least, "queries": len(judged)}
            line |= {name: estimate(values, seed=seed) for name, values in scores.items()}
            possible = float(np.mean([min(edit.available, depth) / depth for edit in judged]))
            table.append(line | {"both at best": possible})
    return Table(
        title="Composed queries: photo and another colour",
        note=f"{len(edits)} photos, each with another colour in which its `{article}` exists at least {LEAST} times. "
        f"Separate rows judge only the photos whose `{article}` exists at least {max(DEPTHS)} times in that colour, "
        f"enough to fill the first {max(DEPTHS)} places. The figures are shares of the first places with the same "
        f'`{article}`, with the `{colour}` of the query, and with both. "both at best" is what a perfect ranking '
        "reaches.",
        rows=table,
    )
