"""The words of titles and queries: Latin, Chinese, Japanese, Korean, and the stop words of an index."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from shopwindow.base.languages import PLURALS
from shopwindow.retrieval.embedding.folding import fold
from shopwindow.retrieval.errors import IndexUnfit
from shopwindow.retrieval.index.lexical import LexicalIndex
from shopwindow.retrieval.index.lexical_words import WordSplitter
from tests.retrieval.embedding.test_folding import HTML, SAME

TITLES = [
    "红色连衣裙 夏季新款",
    "蓝色牛仔裤",
    "白色马克杯 2个装",
    "赤いマグカップ",
    "ＴシャツＬサイズ",
    "빨간 머그컵",
    "red ﬂoral dress for men",
    "İSTANBUL mug",
    "नीला कप",
    "knife in 的 box",
]


def found(index: LexicalIndex | None, query: str) -> list[int]:
    assert index is not None
    return sorted(index.search(fold(query), 10)[1].tolist())


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("红色连衣裙", [0, 1, 2]),  # 色 is in all three
        ("连衣裙", [0]),
        ("夏季 连衣裙", [0]),
        ("裙", [0]),
        ("色", [0, 1, 2]),
        ("红杯", [0, 2]),
        ("的裙", [0]),  # 的 is a stop word
        ("プカ", []),  # a kana alone says too little
        ("knives", [9]),
        ("马克杯2个", [2]),
        ("ﾏｸﾞｶｯﾌﾟ", [3]),
        ("カップ", [3]),
        ("tシャツ", [4]),
        ("Tシャツ L", [4]),
        ("머그", [5]),
        ("floral", [6]),
        ("istanbul", [7]),
        ("कप", [8]),
    ],
)
def test_queries_find_titles_in_scripts_with_and_without_spaces(query: str, rows: list[int]) -> None:
    assert found(LexicalIndex.build(TITLES), query) == rows


def test_a_longer_match_ranks_above_a_shorter_one() -> None:
    index = LexicalIndex.build(["红色上衣", "红色连衣裙", "蓝色裙子", "绿色上衣", "长连衣裙"])
    assert index is not None
    assert index.search("红色连衣裙", 10)[1].tolist() == [1, 4, 0, 2, 3]


@pytest.mark.parametrize(("odd", "plain"), SAME + HTML)
def test_titles_and_queries_are_the_same_words_however_they_are_written(odd: str, plain: str) -> None:
    index = LexicalIndex.build([odd, "teapot"])
    assert found(index, plain) == found(index, odd) == [0]


def test_latin_titles_have_the_words_of_the_librarys_tokeniser(fashion: Path) -> None:
    import bm25s

    titles = pq.read_table(fashion / "dev" / "products.parquet", columns=["title"])["title"].to_pylist()
    titles = [title for title in titles if title and "t shirt" not in title.lower()]
    plain = [title.lower().replace("t-shirt", "tshirt").replace("'s", "").replace("-", "") for title in titles]
    expected = bm25s.tokenize(plain, token_pattern=r"\w+", stopwords="en", return_ids=False, show_progress=False)
    words = [WordSplitter().title(fold(title)) for title in titles]
    assert len(words) > 10_000
    for ours, theirs in zip(words, expected, strict=True):
        assert len(ours) == len(theirs)
        for own, word in zip(ours, theirs, strict=True):
            assert own in (word, word[:-1], word[:-2], f"{word[:-3]}y", PLURALS.get(word)), word


def test_an_index_keeps_its_own_stop_words(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("Für\nmit  ＭＵＧ\n", encoding="utf-8")
    splitter = WordSplitter.from_file(tmp_path / "words.txt")
    index = LexicalIndex.build(["Mug für Tee", "lamp for tea", "a mug"], splitter)
    assert index is not None
    index.write(tmp_path / "lexical")
    read = LexicalIndex.read(tmp_path / "lexical")
    for each in (index, read):
        assert found(each, "für") == found(each, "mug") == []
        assert found(each, "for mug") == [1]
    assert found(LexicalIndex.build(["Mug für Tee", "lamp for tea"]), "for mug") == [0]
    (tmp_path / "words.txt").write_bytes(b"f\xfcr")
    with pytest.raises(ValueError, match=r"stop words: .*words\.txt must be UTF-8"):
        WordSplitter.from_file(tmp_path / "words.txt")


def test_a_folder_of_an_earlier_version_is_served_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    index = LexicalIndex.build(["red mug", "blue lamp"])
    assert index is not None
    index.write(tmp_path)
    caplog.clear()
    caplog.set_level(logging.WARNING)
    LexicalIndex.read(tmp_path)
    assert not caplog.messages
    (tmp_path / "words.json").unlink()
    assert found(LexicalIndex.read(tmp_path), "the mugs") == [0]
    assert "an earlier version split these titles" in caplog.messages[0]


def test_an_index_of_format_1_is_searched_and_updated_as_it_was_built(tmp_path: Path) -> None:
    early = WordSplitter(frozenset({"for"}), plurals={}, query_characters=False)
    index = LexicalIndex.build(["knives for 红酒", "红色连衣裙", "a knife"], early)
    assert index is not None
    index.write(tmp_path)
    (tmp_path / "words.json").write_text('{"format": 1, "stop_words": ["for"]}\n')
    read = LexicalIndex.read(tmp_path)
    assert found(read, "红裙") == found(read, "for") == []
    assert (found(read, "红色"), found(read, "knives"), found(read, "a")) == ([1], [0], [2])
    again = LexicalIndex.build(["红色连衣裙"], read.splitter)
    assert again is not None
    again.write(tmp_path / "again")
    assert found(LexicalIndex.read(tmp_path / "again"), "红裙") == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            json.dumps({"format": 3, "stop_words": [], "plurals": {}, "query_characters": True}),
            r"words\.json: format 3, this version reads formats 1 and 2",
        ),
        ('{"format": 2, "stop_words": []}', r"words\.json: KeyError"),
        ('{"format": 2, "stop_words": [], "plurals": [], "query_characters": true}', r"words\.json: AttributeError"),
        ("{}", r"words\.json: KeyError"),
        ("[", r"words\.json: JSONDecodeError"),
        ('{"format": 1, "stop_words": [["a"]]}', r"words\.json: TypeError"),
    ],
)
def test_words_of_another_format_are_refused(tmp_path: Path, content: str, reason: str) -> None:
    index = LexicalIndex.build(["red mug"])
    assert index is not None
    index.write(tmp_path)
    (tmp_path / "words.json").write_text(content)
    with pytest.raises(IndexUnfit, match=reason):
        LexicalIndex.read(tmp_path)
