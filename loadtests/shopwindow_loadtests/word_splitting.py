"""Compare ways to split titles and queries into words, by the ranking of BM25 on judged queries.

python -m shopwindow_loadtests.word_splitting                        # on the demo shop, seconds
python -m shopwindow_loadtests.word_splitting --shop my_shop         # products, queries and qrels (.parquet)
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from shopwindow.base.default_places import SHOP
from shopwindow.base.languages import HAN
from shopwindow.retrieval.index.lexical_words import WordSplitter
from shopwindow.towers.evaluation.retrieval_quality import NDCG, RECALL, score
from shopwindow.towers.evaluation.unseen import answerable, restrict
from shopwindow.towers.judging.bm25 import rank_bm25
from shopwindow.towers.judging.judgements import Judgements, read_judgements
from shopwindow_loadtests.benchmarks_document import markdown_table

PLACES = 100
_CHINESE = re.compile(f"[{HAN}]")
_LATIN = re.compile("[a-z]")
USUAL = WordSplitter()
Split = Callable[[str], list[str]]


@dataclass(frozen=True)
class _Ways(WordSplitter):
    """A splitter with other ways to split titles and queries, which ignores its own rules."""

    of_title: Split = USUAL.title
    of_query: Split = USUAL.query

    def title(self, text: str) -> list[str]:
        return self.of_title(text)

    def query(self, text: str) -> list[str]:
        return self.of_query(text)


def _singles(text: str) -> list[str]:
    """Return the words without pairs of Chinese characters."""
    return [word for word in USUAL.title(text) if len(word) == 1 or not _CHINESE.match(word)]


def _pairs(text: str) -> list[str]:
    return replace(USUAL, query_characters=False).query(text)


def _unstemmed(text: str) -> list[str]:
    # A mark at the end keeps the rules for plurals away.
    return USUAL.title(re.sub(r"(?<=\w)(?!\w)", "_", text))


def ways(*, chinese: bool) -> dict[str, WordSplitter]:
    """Return the ways to compare, by name, for queries in Chinese or for others. jieba is optional."""
    compared: dict[str, WordSplitter] = {"as it is": USUAL}
    if not chinese:
        compared["plurals by rules alone"] = replace(USUAL, plurals={})
        compared["plurals as they are"] = _Ways(of_title=_unstemmed, of_query=_unstemmed)
        return compared
    compared["pairs, in titles also characters"] = replace(USUAL, query_characters=False)
    compared["pairs alone"] = _Ways(of_title=_pairs, of_query=_pairs)
    compared["characters alone"] = _Ways(of_title=_singles, of_query=_singles)
    if find_spec("jieba"):
        cut = import_module("jieba").lcut_for_search

        def words(text: str) -> list[str]:
            parts = cut(text.lower())
            return [word for part in parts for word in (USUAL.title(part) if _LATIN.match(part) else [part])]

        compared["words of jieba"] = _Ways(of_title=words, of_query=words)
    return compared


def slices(titles: Sequence[str], ids: np.ndarray, judgements: Judgements) -> dict[str, tuple[np.ndarray, Judgements]]:
    """Return the queries in each script over all titles, and those in Chinese over the titles in Chinese.

    Returns:
        Name -> the products, (products,) bool, and their judgements.
    """
    in_chinese = np.array([bool(_CHINESE.search(query)) for query in judgements.queries])
    found: dict[str, tuple[np.ndarray, Judgements]] = {}
    for name, rows in (("queries without Chinese", ~in_chinese), ("queries in Chinese", in_chinese)):
        chosen = np.flatnonzero(rows)
        if not len(chosen):
            continue
        kept = Judgements(
            queries=[judgements.queries[row] for row in chosen], grades=[judgements.grades[row] for row in chosen]
        )
        found[name] = np.ones(len(ids), dtype=bool), kept
        chinese_titles = np.array([bool(_CHINESE.search(title)) for title in titles])
        if name == "queries in Chinese" and answerable(kept, ids[chinese_titles]).any():
            found[f"{name}, titles in Chinese"] = chinese_titles, restrict(kept, ids[chinese_titles])
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    Args:
        arguments: None takes those of the command line.
    """
    parser = argparse.ArgumentParser(prog="python -m shopwindow_loadtests.word_splitting", description=__doc__)
    parser.add_argument("--shop", type=Path, default=SHOP, metavar="DIR", help="folder of a shop (%(default)s)")
    shop: Path = parser.parse_args(arguments).shop
    products = pq.read_table(shop / "products.parquet", columns=["product_id", "title"])
    ids, titles = products["product_id"].to_numpy(), [title or "" for title in products["title"].to_pylist()]
    judgements = read_judgements(shop / "queries.parquet", shop / "qrels.parquet")
    for name, (among, judged) in slices(titles, ids, judgements).items():
        chosen = [titles[row] for row in np.flatnonzero(among)]
        rows = []
        for way, splitter in ways(chinese="in Chinese" in name).items():
            scores = score(rank_bm25(chosen, ids[among], judged.queries, PLACES, splitter), judged)
            rows.append([way, f"{scores[NDCG].mean():.4f}", f"{scores[RECALL].mean():.4f}"])
        print(f"\n{len(judged.queries)} {name}, {len(chosen)} products\n")
        print(markdown_table(["words", NDCG, RECALL], rows))


if __name__ == "__main__":
    main()
