"""Texts become token ids: checked, cut and padded."""

from __future__ import annotations

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from shopwindow.retrieval import InvalidRequest
from shopwindow.retrieval.embedding.text import MAX_CHARACTERS, TextEncoder, clean_queries, clean_text

VOCABULARY = {"[PAD]": 0, "[UNK]": 1, "red": 2, "dress": 3, "##es": 4, "summer": 5}


def tokenizer(vocabulary: dict[str, int] = VOCABULARY) -> Tokenizer:
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=64))
    made.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return made


@pytest.fixture
def encoder() -> TextEncoder:
    return TextEncoder(tokenizer(), max_tokens=6)


@pytest.mark.parametrize("queries", [["red", ""], ["red", "  \t\n"], [b"red", b""]])
def test_an_empty_query_is_refused_with_its_row(queries: list[bytes | str]) -> None:
    with pytest.raises(InvalidRequest, match=r"^query\[1\]: must not be empty") as caught:
        clean_queries(queries)
    assert caught.value.field == "query[1]"


def test_a_text_that_is_too_long_is_refused_with_the_limit_and_the_length() -> None:
    with pytest.raises(InvalidRequest, match=rf"^query\[0\]: at most {MAX_CHARACTERS} characters, got 40000$"):
        clean_queries(["red " * 10_000])
    assert clean_queries(["x" * MAX_CHARACTERS]) == ["x" * MAX_CHARACTERS]


@pytest.mark.parametrize(("raw", "position"), [(b"red \xff\xfe", 4), (b"\xc3", 0), ("ok \ud83d", 3)])
def test_a_text_that_is_not_utf8_is_refused_with_the_position(raw: bytes | str, position: int) -> None:
    with pytest.raises(InvalidRequest, match=rf"^title\[2\]: must be UTF-8; position {position} of ") as caught:
        clean_text("title[2]", raw)
    str(caught.value).encode()


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        (b"  red dress\n", "red dress"),
        ("größe 38".encode(), "größe 38"),
        ("红色连衣裙".encode(), "红色连衣裙"),
        ("👗🏽 red".encode(), "👗🏽 red"),
        (b"red\x00dress", "red dress"),
        ("ＲＥＤ\u3000flo\u00adral&nbsp;<b>dress</b>".encode(), "RED floral dress"),
        ("\u200b<br/>&nbsp;", ""),
        ("", ""),
    ],
)
def test_any_utf8_is_accepted_folded_and_stripped(raw: bytes | str, clean: str) -> None:
    assert clean_text("query[0]", raw) == clean


def test_texts_become_ids_padded_to_the_longest(encoder: TextEncoder) -> None:
    ids, mask = encoder.encode(["Red DRESS", "dresses", "summer"])
    assert ids.tolist() == [[2, 3], [3, 4], [5, 0]]
    assert mask.tolist() == [[1, 1], [1, 1], [1, 0]]
    assert (ids.dtype, mask.dtype) == (np.int32, np.int32)


def test_texts_are_padded_to_a_given_width(encoder: TextEncoder) -> None:
    ids, mask = encoder.encode(["red dress", ""], pad_to=6)
    assert ids.tolist() == [[2, 3, 0, 0, 0, 0], [0] * 6]
    assert mask.tolist() == [[1, 1, 0, 0, 0, 0], [0] * 6]


def test_longer_texts_are_cut_at_the_maximum(encoder: TextEncoder) -> None:
    ids, mask = encoder.encode(["red dress " * 50, "red"])
    assert ids.tolist() == [[2, 3, 2, 3, 2, 3], [2, 0, 0, 0, 0, 0]]
    assert mask.sum(1).tolist() == [6, 1]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("👗", [1]),
        ("红色", [1, 1]),  # each Chinese character is one word
        ("red\x00 dress", [2, 3]),
        ("résumé", [1]),
        ("réd", [2]),
        ("x" * 1_000, [1]),
        ("\u200b\x07", [0]),  # nothing visible: only padding, as for an empty text
    ],
)
def test_unusual_text_becomes_known_or_unknown_tokens(encoder: TextEncoder, text: str, ids: list[int]) -> None:
    found, mask = encoder.encode([text])
    assert found.tolist() == [ids]
    assert mask.tolist() == [[int(token != 0) for token in ids]]


def test_the_padding_token_need_not_be_zero() -> None:
    encoder = TextEncoder(tokenizer({"red": 0, "[UNK]": 1, "[PAD]": 2}), max_tokens=4)
    ids, mask = encoder.encode(["red red", "red"])
    assert ids.tolist() == [[0, 0], [0, 2]]
    assert mask.tolist() == [[1, 1], [1, 0]]


def test_a_tokeniser_without_padding_is_refused() -> None:
    with pytest.raises(ValueError, match=r"has no \[PAD\] token"):
        TextEncoder(tokenizer({"[UNK]": 0, "red": 1}), max_tokens=4)


def test_the_given_tokeniser_is_not_changed() -> None:
    given = tokenizer()
    TextEncoder(given, max_tokens=2)
    assert given.truncation is None
    assert given.encode("red dress summer").ids == [2, 3, 5]
