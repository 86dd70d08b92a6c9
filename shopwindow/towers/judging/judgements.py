"""Judged queries: their texts, the products that answer them, and the groups that they belong to."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from shopwindow.base.checked_table import GRADE, KEY, PRODUCT, TEXT, Column, read_checked, show_value
from shopwindow.base.product_keys import KeyNumber

# A text column with more values than this does not group queries.
MOST_GROUPS = 20
_ID = Column("query_id", KEY, unique=True)


@dataclass(frozen=True, kw_only=True)
class Judgements:
    """Queries with at least one relevant product each.

    Attributes:
        queries: texts.
        grades: for each query, product id -> grade above 0, of the products that answer it.
        groups: column -> its value for each query.
        notes: what of the files was left out or looks odd, with figures, one line each.
    """

    queries: list[str]
    grades: Sequence[Mapping[int, float]]
    groups: dict[str, list[str | None]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @cached_property
    def relevant(self) -> list[set[int]]:
        """For each query, the ids of the products that answer it."""
        return [set(grades) for grades in self.grades]


def read_judgements(queries: Path, qrels: Path) -> Judgements:
    """Read queries.parquet (query_id, text) and qrels.parquet (query_id, product_id, relevance).

    A product is relevant if its relevance is above 0; the relevance is its grade. The same judgement may come twice.
    Other text columns of the queries become groups if they have at most MOST_GROUPS values. So do the columns of a
    query_meta.parquet in the same folder.

    Raises:
        ValueError: a file is wrong (see `shopwindow.base.checked_table`), a query_id comes twice, a product has two
            different grades for a query, the query ids of the files have different types, or no query has a relevant
            product.
    """
    asked = read_checked("queries", queries, [_ID, Column("text", TEXT)], other_texts=True)
    columns = [Column("query_id", KEY), Column("product_id", PRODUCT), Column("relevance", GRADE)]
    judged = read_checked("qrels", qrels, columns)
    _check_types(queries, asked["query_id"], qrels, judged["query_id"])
    grades = _grades(qrels, judged)
    texts: dict[Any, str] = dict(zip(asked["query_id"], asked["text"], strict=True))
    kept = [query for query in texts if grades[query]]
    if not kept:
        raise ValueError(
            f"qrels: {qrels} has no product with a relevance above 0 for a query of {queries}; give the queries that "
            "were judged"
        )
    groups = _groups(asked, kept)
    meta = queries.parent / "query_meta.parquet"
    if meta.exists():
        about = read_checked("query_meta", meta, [_ID], other_texts=True)
        _check_types(queries, asked["query_id"], meta, about["query_id"])
        groups |= _groups(about, kept)
    return Judgements(
        queries=[texts[query] for query in kept],
        grades=[grades[query] for query in kept],
        groups=groups,
        notes=tuple(_notes(queries, texts, len(kept), qrels, judged)),
    )


def read_query_texts(queries: Path) -> list[str]:
    """Read the column text of queries.parquet.

    Raises:
        ValueError: the file is wrong, see `shopwindow.base.checked_table`.
    """
    return read_checked("queries", queries, [Column("text", TEXT)])["text"]


def note_unknown(
    judgements: Judgements, product_ids: np.ndarray, place: str, *, text_ids: bool | None = None
) -> str | None:
    """Say how many of the relevant products do not exist. Rankings cannot have them, so they count as missed.

    Args:
        judgements: the judged queries.
        product_ids: (products,) int64, the ids that exist.
        place: where they exist, in words.
        text_ids: whether their ids are texts; None if that is unknown.

    Returns:
        A line with the figures; None if all exist.

    Raises:
        ValueError: none exists, or the judgements name them by another kind of ids.
    """
    some = next(iter(judgements.grades[0]))
    if text_ids is not None and text_ids != isinstance(some, KeyNumber):
        has, other = ("texts", "whole numbers") if text_ids else ("whole numbers", "texts")
        raise ValueError(
            f"qrels: column 'product_id' holds {other}, such as {some}, and the ids of {place} are {has}; write the "
            "column with the index's type"
        )
    known = set(product_ids.tolist())
    relevant = set().union(*judgements.relevant)
    unknown = relevant - known
    if not unknown:
        return None
    if unknown == relevant:
        raise ValueError(
            f"qrels: none of the {len(relevant)} relevant products, such as {min(relevant)}, is in {place}; give the "
            "judgements of its catalogue"
        )
    lost = sum(known.isdisjoint(answers) for answers in judgements.relevant)
    return (
        f"qrels: {len(unknown)} of {len(relevant)} relevant products ({len(unknown) / len(relevant):.0%}), such as "
        f"{min(unknown)}, are not in {place} and count as missed; {lost} of {len(judgements.queries)} queries have no "
        "other"
    )


def _check_types(queries: Path, ids: Sequence[Any], file: Path, others: Sequence[Any]) -> None:
    """Compare the types of two columns of query ids. Each holds one type, so the first value shows it."""
    one, other = (("text" if isinstance(some[0], str) else "whole numbers") for some in (ids, others))
    if one != other:
        raise ValueError(
            f"queries: column 'query_id' holds {one} in {queries}, such as {show_value(ids[0])}, and {other} in "
            f"{file}, such as {show_value(others[0])}; write both with one type"
        )


def _grades(qrels: Path, judged: Mapping[str, list[Any]]) -> defaultdict[Any, dict[int, float]]:
    """Return query id -> product id -> grade, of the relevant products."""
    grades: defaultdict[Any, dict[int, float]] = defaultdict(dict)
    first: dict[tuple[Any, int], tuple[int, float]] = {}
    for row, (query, product, relevance) in enumerate(zip(*judged.values(), strict=True)):
        grade = max(0.0, float(relevance)) if relevance == relevance else 0.0  # NaN differs from itself
        before, earlier = first.setdefault((query, product), (row, grade))
        if earlier != grade:
            raise ValueError(
                f"qrels: {qrels}: column 'relevance' has {earlier:g} in row {before} and {grade:g} in row {row} (from "
                f"0) for product {product} and query {show_value(query)}; leave one of them"
            )
        if grade > 0:
            grades[query][product] = grade
    return grades


def _notes(
    queries: Path, texts: Mapping[Any, str], kept: int, qrels: Path, judged: Mapping[str, list[Any]]
) -> list[str]:
    rows, notes = len(judged["query_id"]), []
    if kept < len(texts):
        notes.append(
            f"queries: {len(texts) - kept} of {len(texts)} queries have no relevant product in {qrels} and are left out"
        )
    if unknown := [query for query in judged["query_id"] if query not in texts]:
        notes.append(
            f"qrels: {len(unknown)} of {rows} judgements are of queries that {queries} lacks, such as "
            f"{show_value(unknown[0])}, and are left out"
        )
    if nothing := sum(math.isnan(relevance) for relevance in judged["relevance"]):
        notes.append(f"qrels: {nothing} of {rows} values of relevance are NaN and count as not relevant")
    return notes


def _groups(table: Mapping[str, list[Any]], queries: list[Any]) -> dict[str, list[str | None]]:
    groups = {}
    for name, values in table.items():
        if name in ("query_id", "text"):
            continue
        value_of = dict(zip(table["query_id"], values, strict=True))
        if len(set(values)) <= MOST_GROUPS:
            groups[name] = [value_of.get(query) for query in queries]
    return groups
