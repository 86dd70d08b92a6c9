"""The demo shop: a seed gives the same bytes, pictures match the columns, and the answers are right."""

from __future__ import annotations

import io
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from shopwindow.demo_shop import MIN_PRODUCTS, chinese, generate
from shopwindow.demo_shop.articles import ARTICLES
from shopwindow.demo_shop.vocabulary import (
    BRANDS,
    CATEGORY_WORDS,
    COLOUR_SYNONYMS,
    COLOURS,
    PATTERN_SYNONYMS,
    PATTERN_TAILS,
)

SIZE = 300
TABLES = ("products", "queries", "qrels", "clicks", "same_style")


def read(folder: Path, name: str) -> list[dict]:
    rows: list[dict] = pq.read_table(folder / f"{name}.parquet").to_pylist()
    return rows


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    generate(folder, products=SIZE, progress=False)
    return folder


@pytest.fixture(scope="module")
def products(shop: Path) -> dict[int, dict]:
    return {row["product_id"]: row for row in read(shop, "products")}


def vocabulary() -> dict[str, tuple[str, str]]:
    """Return every phrase that a query may use, as phrase -> (column, value)."""
    phrases: dict[str, tuple[str, str]] = {}
    for name, article in ARTICLES.items():
        for words in (name, article.plural, *article.synonyms):
            assert phrases.setdefault(words, ("article", name)) == ("article", name), f"{words!r} means two things"
    for column, synonyms in (("colour", COLOUR_SYNONYMS), ("pattern", PATTERN_SYNONYMS)):
        for name, others in synonyms.items():
            for words in (name, *others):
                assert phrases.setdefault(words, (column, name)) == (column, name), f"{words!r} means two things"
    for name, words in PATTERN_TAILS.items():
        phrases[words] = ("pattern", name)
    for name, words in CATEGORY_WORDS.items():
        phrases[words] = ("category", name)
    tables = (("article", chinese.ARTICLES), ("colour", chinese.COLOURS), ("pattern", chinese.PATTERNS))
    for column, table in tables:
        for name, several in table.items():
            for word in several:
                assert phrases.setdefault(word.lower(), (column, name)) == (column, name), f"{word} means two things"
    for name, word in chinese.CATEGORIES.items():
        assert phrases.setdefault(word, ("category", name)) == ("category", name), f"{word} means two things"
    for name in BRANDS:
        phrases[name.lower()] = ("brand", name)
    return phrases


PHRASES = vocabulary()
HAN = "\u4e00-\u9fff"
LONGEST_FIRST = sorted(PHRASES, key=len, reverse=True)
# Chinese has no spaces between words.
PHRASE = re.compile(
    "|".join(
        re.escape(words) if re.search(f"[{HAN}]", words) else rf"(?<![^\W{HAN}]){re.escape(words)}(?![^\W{HAN}])"
        for words in LONGEST_FIRST
    )
)


def parse(text: str) -> dict[str, str]:
    """Return the columns and values that a query names, longest phrases first. Every word must be known."""
    assert not PHRASE.sub("", text.lower()).strip(), f"{text!r} has words outside the vocabulary"
    found = [PHRASES[words] for words in PHRASE.findall(text.lower())]
    assert len({column for column, _ in found}) == len(found), f"{text!r} names something twice"
    return dict(found)


def fits(product: dict, wanted: dict[str, str]) -> bool:
    for column, value in wanted.items():
        accepted = {"blue", "navy blue"} if value == "blue" else {value}
        if product[column] not in accepted:
            return False
    return True


def pixels(product: dict) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(product["image"])).convert("RGB"), dtype=np.float32)


def names_colour(product: dict) -> bool:
    words = (product["colour"], *COLOUR_SYNONYMS[product["colour"]])
    return any(re.search(rf"(?<!\w){words}(?!\w)", product["title"].lower()) for words in words) or any(
        word in product["title"] for word in chinese.COLOURS[product["colour"]]
    )


def test_same_seed_writes_the_same_bytes(shop: Path, tmp_path: Path) -> None:
    generate(tmp_path, products=SIZE, progress=False)
    for name in TABLES:
        assert (tmp_path / f"{name}.parquet").read_bytes() == (shop / f"{name}.parquet").read_bytes(), name


def test_another_seed_makes_another_shop(shop: Path, tmp_path: Path) -> None:
    generate(tmp_path, products=MIN_PRODUCTS, seed=8, progress=False)
    here, there = ({row["title"] for row in read(folder, "products")} for folder in (shop, tmp_path))
    assert len(here & there) < 0.1 * len(there)


def test_a_shop_too_small_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"at least {MIN_PRODUCTS}, not {MIN_PRODUCTS - 1}"):
        generate(tmp_path, products=MIN_PRODUCTS - 1, progress=False)


def test_columns_have_the_promised_types(shop: Path) -> None:
    schema = {name: pq.read_schema(shop / f"{name}.parquet") for name in TABLES}
    expected = {
        "product_id": pa.int64(), "title": pa.string(), "image": pa.binary(), "brand": pa.string(),
        "supplier": pa.string(), "category": pa.string(), "article": pa.string(), "colour": pa.string(),
        "pattern": pa.string(), "price": pa.float64(), "stock": pa.int64(), "style": pa.int64(),
    }  # fmt: skip
    assert dict(zip(schema["products"].names, schema["products"].types, strict=True)) == expected
    assert schema["queries"] == pa.schema({"query_id": pa.int64(), "text": pa.string(), "kind": pa.string()})
    assert schema["qrels"] == pa.schema({"query_id": pa.int64(), "product_id": pa.int64(), "relevance": pa.int32()})
    assert schema["clicks"] == pa.schema({"query": pa.string(), "product_id": pa.int64(), "count": pa.int32()})
    assert schema["same_style"] == pa.schema({"trigger_id": pa.int64(), "recall_id": pa.int64(), "kind": pa.string()})


def test_products_are_plausible(products: dict[int, dict]) -> None:
    assert len(products) == SIZE
    assert list(products) != sorted(products), "rows come shuffled"
    for product in products.values():
        article = ARTICLES[product["article"]]
        assert product["category"] == article.category
        assert product["pattern"] in article.patterns
        assert product["price"] > 0 and round(product["price"], 2) == product["price"]
    sold_out = sum(product["stock"] == 0 for product in products.values())
    assert 0 < sold_out < 0.2 * SIZE


def test_every_image_is_a_small_jpeg(products: dict[int, dict]) -> None:
    for product in products.values():
        with Image.open(io.BytesIO(product["image"])) as image:
            image.load()
            assert (image.format, image.size, image.mode) == ("JPEG", (96, 96), "RGB")


def test_answers_are_exactly_the_products_that_fit(shop: Path, products: dict[int, dict]) -> None:
    relevant: dict[int, set[int]] = defaultdict(set)
    for row in read(shop, "qrels"):
        assert row["relevance"] == 1
        relevant[row["query_id"]].add(row["product_id"])
    queries = read(shop, "queries")
    assert len(queries) == round(SIZE * 400 / 3600) + round(SIZE * 100 / 3600)
    assert relevant.keys() == {query["query_id"] for query in queries}
    for query in queries:
        wanted = parse(query["text"])
        expected = {product_id for product_id, product in products.items() if fits(product, wanted)}
        assert relevant[query["query_id"]] == expected, query["text"]
        assert len(expected) >= 3, query["text"]


def test_kinds_of_query_are_what_they_say(shop: Path, products: dict[int, dict]) -> None:
    kinds = defaultdict(list)
    for query in read(shop, "queries"):
        kinds[query["kind"]].append(query["text"])
    assert set(kinds) == {"attribute", "synonym", "visual", "brand", "chinese"}
    for kind, texts in kinds.items():
        assert all((kind == "chinese") == bool(re.search(f"[{HAN}]", text)) for text in texts)
    for text in kinds["brand"]:
        assert "brand" in parse(text)
    for text in kinds["visual"]:
        wanted = parse(text)
        assert {"colour", "pattern"} & wanted.keys()
    catalogue_words = {*ARTICLES, *(a.plural for a in ARTICLES.values()), *COLOURS, *PATTERN_SYNONYMS,
                       *PATTERN_TAILS.values()}  # fmt: skip
    for text in kinds["synonym"]:
        assert not set(PHRASE.findall(text.lower())) <= catalogue_words, text


def test_clicks_never_show_an_evaluation_query(shop: Path, products: dict[int, dict]) -> None:
    evaluated = {query["text"].lower() for query in read(shop, "queries")}
    clicks = read(shop, "clicks")
    assert len(clicks) == round(SIZE * 40_000 / 3600) + round(SIZE * 10_000 / 3600)
    assert len({(click["query"], click["product_id"]) for click in clicks}) == len(clicks)
    wrong = 0
    for click in clicks:
        assert click["query"].lower() not in evaluated
        assert click["count"] >= 1
        wanted = parse(click["query"])
        product = products[click["product_id"]]
        if not fits(product, wanted):
            wrong += 1  # a wrong click has the right article and another colour
            assert product["article"] == wanted["article"]
            assert product["colour"] != wanted["colour"]
    assert 0.01 < wrong / len(clicks) < 0.06


def test_same_style_pairs(shop: Path, products: dict[int, dict]) -> None:
    pairs = read(shop, "same_style")
    assert {pair["kind"] for pair in pairs} == {"supplier", "duplicate"}
    directed = {(pair["trigger_id"], pair["recall_id"]) for pair in pairs}
    assert directed == {(recall, trigger) for trigger, recall in directed}
    for pair in pairs:
        trigger, recall = products[pair["trigger_id"]], products[pair["recall_id"]]
        assert pair["trigger_id"] != pair["recall_id"]
        for column in ("article", "colour", "pattern"):
            assert trigger[column] == recall[column]
        assert (trigger["supplier"] == recall["supplier"]) == (pair["kind"] == "duplicate")
        assert trigger["image"] != recall["image"], "each offer has its own photo"


def test_photos_of_one_style_are_nearer_than_others_of_its_kind(shop: Path, products: dict[int, dict]) -> None:
    seen = {product_id: pixels(product) for product_id, product in products.items()}
    same, other = [], []
    for pair in read(shop, "same_style"):
        trigger = products[pair["trigger_id"]]
        same.append(np.abs(seen[pair["trigger_id"]] - seen[pair["recall_id"]]).mean())
        strangers = [
            product
            for product in products.values()
            if product["article"] == trigger["article"] and product["colour"] != trigger["colour"]
        ]
        other += [np.abs(seen[pair["trigger_id"]] - seen[stranger["product_id"]]).mean() for stranger in strangers[:3]]
    assert np.median(same) < 0.7 * np.median(other)


def test_some_titles_leave_colour_and_pattern_to_the_photo(products: dict[int, dict]) -> None:
    silent = sum(not names_colour(product) for product in products.values()) / len(products)
    assert 0.2 < silent < 0.4
    patterned = [product for product in products.values() if product["pattern"] != "plain"]
    unnamed = [
        product
        for product in patterned
        if not any(
            words in product["title"].lower()
            for words in (
                *(product["pattern"], *PATTERN_SYNONYMS[product["pattern"]]),
                *chinese.PATTERNS[product["pattern"]],
            )
        )
    ]
    assert 0.18 < len(unnamed) / len(patterned) < 0.42


def test_the_products_of_some_suppliers_have_chinese_titles(shop: Path, products: dict[int, dict]) -> None:
    in_chinese = {key for key, product in products.items() if re.search(f"[{HAN}]", product["title"])}
    assert in_chinese == {key for key, product in products.items() if product["supplier"] in chinese.SUPPLIERS}
    assert 0.15 < len(in_chinese) / SIZE < 0.25
    for key in in_chinese:
        product = products[key]
        assert " " not in product["title"].replace(product["brand"], "")
        assert any(word in product["title"] for word in chinese.ARTICLES[product["article"]])
        named = [colour for colour, words in chinese.COLOURS.items() if any(word in product["title"] for word in words)]
        assert not named or product["colour"] in named, product["title"]
    chinese_queries = {row["query_id"] for row in read(shop, "queries") if row["kind"] == "chinese"}
    answers = [row["product_id"] for row in read(shop, "qrels") if row["query_id"] in chinese_queries]
    assert 0.1 < sum(key in in_chinese for key in answers) / len(answers) < 0.9, "they reach titles of both languages"


def test_the_colour_drawn_is_the_colour_named(products: dict[int, dict]) -> None:
    """It takes articles whose middle is all body. Their median colour is near the colour in the catalogue."""
    checked = 0
    for product in products.values():
        if product["pattern"] != "plain" or product["article"] not in {
            "t-shirt", "skirt", "cushion", "armchair", "backpack", "suitcase", "mug", "rubber duck", "jumper",
        }:  # fmt: skip
            continue
        seen = np.median(pixels(product)[40:60, 40:56].reshape(-1, 3), axis=0)
        distance = {name: float(np.linalg.norm(seen - rgb)) for name, rgb in COLOURS.items()}
        ranked = sorted(distance, key=distance.__getitem__)
        assert product["colour"] in ranked[:2], f"{product['title']}: looks {ranked[0]}, is {product['colour']}"
        checked += ranked[0] == product["colour"]
    assert checked >= 20
