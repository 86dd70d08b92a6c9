"""Unusual and wrong input to a real server: a right answer, or a refusal with the reason. Then the server still works.

Each case goes to the fused models over gRPC and to the ensembles over HTTP, so that both kinds of model and both
protocols get every case.
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageOps

from shopwindow.retrieval import InProcessPipeline
from tests.ranking import assert_same_ranking
from tests.server.stranger import Refused, ask, ask_http, post, texts

INVALID = {ask: "StatusCode.INVALID_ARGUMENT", ask_http: "400"}
CANARY = {"query": texts("red dress")}
QUERY = {"query": texts("black leather bag")}


@pytest.fixture(params=[("served", ask), ("served_ensemble", ask_http)], ids=["fused by gRPC", "ensembles by HTTP"])
def way(request: pytest.FixtureRequest) -> tuple[str, Any]:
    """The fixture of a server, and the function that sends requests to it."""
    fixture, transport = request.param
    return fixture, transport


@pytest.fixture
def transport(way: tuple[str, Any]) -> Any:
    return way[1]


@pytest.fixture
def server(way: tuple[str, Any], request: pytest.FixtureRequest, pipeline: InProcessPipeline) -> Iterator[Any]:
    """A server that still answers correctly after the test."""
    server = request.getfixturevalue(way[0])
    yield server
    expected = pipeline.retrieve(["red dress"], top_k=20)
    answer = ask(server, "retrieve", CANARY, parameters={"top_k": 20})
    assert_same_ranking(answer["product_ids"], answer["scores"], expected.product_ids, expected.scores)
    expected = pipeline.retrieve_similar(["red dress"], [b""], top_k=20)
    answer = ask(
        server, "retrieve_similar", {"title": texts("red dress"), "image": texts(b"")}, parameters={"top_k": 20}
    )
    assert_same_ranking(answer["product_ids"], answer["scores"], expected.product_ids, expected.scores)


@pytest.fixture(scope="module")
def photo(shop: Path) -> Image.Image:
    """A photo of the shop that is not grey."""
    product = next(p for p in pq.read_table(shop / "products.parquet").to_pylist() if p["colour"] == "red")
    return Image.open(io.BytesIO(product["image"])).convert("RGB")


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def photo_of(data: bytes) -> dict[str, np.ndarray]:
    return {"title": texts(""), "image": texts(data)}


def embedding_of(transport: Any, server: Any, data: bytes) -> np.ndarray:
    embedding: np.ndarray = transport(server, "embed_product", photo_of(data))["embedding"][0]
    return embedding


def assert_refused(
    transport: Any, server: Any, model: str, inputs: Any, parameters: Any, reason: tuple[str, ...], case: object = ""
) -> None:
    try:
        transport(server, model, inputs, parameters=parameters)
    except Refused as refused:
        assert refused.status == INVALID[transport], case
        for words in reason:
            assert words in refused.message, case
        assert len(refused.message) < 1_000, case  # bad input must not flood a log
    else:
        pytest.fail(f"{model} answered {case or inputs}")


TEXTS = {
    "empty": (b"", ("query[0]", "must not be empty")),
    "blank": (b" \t\n ", ("query[0]", "must not be empty")),
    "not UTF-8": (b"caf\xe9 cup", ("query[0]", "UTF-8", "caf\\xe9 cup")),
    "cut within a character": ("壶".encode()[:2], ("query[0]", "UTF-8")),
    "10,000 words": (b"mug " * 10_000, ("query[0]", "1000 characters", "40000")),
    "1,001 characters": (b"x" * 1_001, ("query[0]", "1000 characters", "1001")),
}


def test_an_unreadable_query_is_refused(server: Any, transport: Any) -> None:
    for case, (text, reason) in TEXTS.items():
        for model in ("retrieve", "embed_query"):
            assert_refused(transport, server, model, {"query": texts(text)}, {}, reason, case)


def test_the_error_names_the_row_of_a_bad_query(server: Any, transport: Any) -> None:
    queries = texts("mug", "cup", "", "pot")
    assert_refused(transport, server, "retrieve", {"query": queries}, {}, ("query[2]", "must not be empty"))


UNUSUAL_TEXTS = {
    "emoji": "🧸🎁",
    "Chinese": "红色的连衣裙",
    "Arabic": "كوب أزرق",
    "combining": "e\u0301te\u0301 \u200d",
    "NUL": "\x00 red \x00",
    "markup": "<b>&quot;'; DROP TABLE",
    "longest": "x" * 1_000,
    "dot": ".",
}


def test_an_unusual_query_is_answered_like_any_other(server: Any, transport: Any, pipeline: InProcessPipeline) -> None:
    for text in UNUSUAL_TEXTS.values():
        expected = pipeline.retrieve([text], top_k=10)
        answer = transport(server, "retrieve", {"query": texts(text)}, parameters={"top_k": 10})
        assert (answer["product_ids"] >= 0).all(), text
        assert_same_ranking(answer["product_ids"], answer["scores"], expected.product_ids, expected.scores)
        expected = pipeline.retrieve_similar([text], [b""], top_k=10)
        title = {"title": texts(text), "image": texts("")}
        answer = transport(server, "retrieve_similar", title, parameters={"top_k": 10})
        assert_same_ranking(answer["product_ids"], answer["scores"], expected.product_ids, expected.scores)


PARAMETERS = [
    ({"top_k": 0}, ("top_k", "1 to 10000", "got 0")),
    ({"top_k": -1}, ("top_k", "1 to 10000", "got -1")),
    ({"top_k": 10**9}, ("top_k", "1 to 10000", "got 1000000000")),
    ({"top_k": 10_001}, ("top_k", "1 to 10000", "got 10001")),
    ({"top_k": "ten"}, ("top_k", "1 to 10000", "got 'ten'")),
    ({"top_k": ""}, ("top_k", "1 to 10000", "got ''")),
    ({"top_k": "9" * 5_000}, ("top_k", "1 to 10000", "got '999")),
    ({"top_k": 2.5}, ("top_k", "1 to 10000", "got 2.5")),
    ({"top_k": True}, ("top_k", "1 to 10000", "got True")),
    ({"effort": 0}, ("effort", "1 to 10", "got 0")),
    ({"effort": 11}, ("effort", "1 to 10", "got 11")),
    ({"effort": "high"}, ("effort", "1 to 10", "got 'high'")),
    ({"min_score": "high"}, ("min_score", "finite number", "got 'high'")),
    ({"min_score": "nan"}, ("min_score", "finite number", "got 'nan'")),
    ({"min_score": "-inf"}, ("min_score", "finite number", "got '-inf'")),
    ({"min_score": "best*1.5"}, ("min_score", "above 0, at most 1", "got 'best*1.5'")),
    ({"min_score": "precision:80"}, ("min_score", "above 0, at most 1", "got 'precision:80'")),
    ({"min_score": True}, ("min_score", "finite number", "got True")),
    ({"topk": 5}, ("topk", "unknown request parameter", "top_k")),
    ({"nprobe": 5}, ("nprobe", "unknown request parameter", "min_score, offset, sort, top_k, towers")),
    ({"x" * 5_000: 5}, ("xxx", "unknown request parameter")),
]


def test_a_parameter_out_of_bounds_is_refused(server: Any, transport: Any, pipeline: InProcessPipeline) -> None:
    product = {"title": texts("mug"), "image": texts("")}
    embedding = {"embedding": pipeline.embed_query(["mug"])}
    for parameters, reason in PARAMETERS:
        for model, inputs in (("retrieve", QUERY), ("retrieve_similar", product), ("product_index", embedding)):
            assert_refused(transport, server, model, inputs, parameters, reason, str(parameters)[:60])


def test_a_parameter_that_is_not_utf_8_is_refused(server: Any) -> None:
    request = {
        "inputs": [{"name": "query", "shape": [1, 1], "datatype": "BYTES", "data": ["mug"]}],
        "parameters": {"top_k": 3, "filter": '{"colour": "HERE"}'},
    }
    with pytest.raises(Refused) as refused:
        post(server, "retrieve", json.dumps(request).encode().replace(b"HERE", b"\xff\xfe"))
    assert refused.value.status == "400"
    assert "parameters: must be UTF-8" in refused.value.message


FILTERS = [
    ("", ("filter", "not valid JSON")),
    ("colour = red", ("filter", "not valid JSON", "colour = red")),
    ('{"colour": "red"', ("filter", "not valid JSON")),
    ("{'colour': 'red'}", ("filter", "not valid JSON")),
    ("[" * 9_000, ("filter", "not valid JSON")),
    ('{"price": ' + "9" * 5_000 + "}", ("filter", "not valid JSON")),
    ("null", ("filter", "JSON object", "None")),
    ('"red"', ("filter", "JSON object", "red")),
    ('[{"colour": "red"}]', ("filter", "JSON object")),
    ('{"colour": null}', ("filter.colour", "got None")),
    ('{"colour": ["red", "blue"]}', ("filter.colour", "got ['red', 'blue']")),
    ('{"colour": {}}', ("filter.colour", "empty condition")),
    ('{"colour": {"like": "r%"}}', ("filter.colour", "unknown operator 'like'", "eq, in, lt, lte, gt, gte")),
    ('{"colour": {"in": "red"}}', ("filter.colour.in", "1 to 1000", "got 'red'")),
    ('{"colour": {"in": []}}', ("filter.colour.in", "1 to 1000", "got []")),
    (json.dumps({"stock": {"in": list(range(1_001))}}), ("filter.stock.in", "1 to 1000", "got [0, 1,")),
    ('{"colour": {"in": ["red", null]}}', ("filter.colour.in", "got None")),
    ('{"colour": {"in": [["red"]]}}', ("filter.colour.in", "got ['red']")),
    ('{"colour": {"lt": "red"}}', ("filter.colour", "lt needs a number column")),
    ('{"colour": 5}', ("filter.colour", "text, got 5")),
    ('{"price": "5"}', ("filter.price", "numbers, got '5'")),
    ('{"price": {"lt": "5"}}', ("filter.price", "numbers, got '5'")),
    ('{"price": NaN}', ("filter.price", "finite", "got nan")),
    ('{"price": {"lt": 1e999}}', ("filter.price.lt", "finite", "got inf")),
    (f'{{"stock": {2**70}}}', ("filter.stock", "64 bits", f"got {2**70}")),
    ('{"color": "red"}', ("filter.color", "did you mean 'colour'?", "article, brand, category, colour")),
    ('{"title": "mug"}', ("filter.title", "no such attribute")),
    ('{"": "red"}', ("filter.", "no such attribute")),
    ('{"\\ud800": 1}', ("filter.\\ud800", "no such attribute")),
    ('{"a\\u0000b": 1}', ("filter.a\\x00b", "no such attribute")),
    (json.dumps({"c" * 12_000: 1}), ("filter.ccc", "no such attribute")),
    (json.dumps({"colour": "r" * 20_000}), ("filter", "16384 bytes", "got 20014")),
    ('{"price": {"gte": 5}, "price": {"lt": 9}}', ("filter", "'price' appears twice")),
]


def test_an_invalid_filter_is_refused(server: Any, transport: Any) -> None:
    for text, reason in FILTERS:
        assert_refused(transport, server, "retrieve", QUERY, {"filter": text}, reason, text[:60])


def test_a_filter_that_no_product_satisfies_finds_nothing(server: Any, transport: Any) -> None:
    for text in ('{"colour": "no such colour"}', '{"colour": "\\ud800"}', '{"price": {"lt": -1}}'):
        answer = transport(server, "retrieve", QUERY, parameters={"filter": text, "top_k": 4})
        assert answer["product_ids"].tolist() == [[-1] * 4], text
        assert np.isneginf(answer["scores"]).all(), text


def png_header_of(width: int, height: int) -> bytes:
    """Return a PNG whose header declares this size, without pixels."""
    small = encoded(Image.new("RGB", (1, 1)))
    head = small[:16] + width.to_bytes(4, "big") + height.to_bytes(4, "big") + small[24:29]
    return head + zlib.crc32(head[12:]).to_bytes(4, "big") + small[33:]


BAD_IMAGES: dict[str, tuple[Callable[[Image.Image], bytes], tuple[str, ...]]] = {
    "not an image": (lambda photo: b"a picture of a mug", ("image[0]", "JPEG, PNG, WEBP", "18 bytes")),
    "a page": (lambda photo: b"<!doctype html><h1>404</h1>", ("image[0]", "JPEG, PNG, WEBP", "27 bytes")),
    "one byte": (lambda photo: b"\xff", ("image[0]", "JPEG, PNG, WEBP", "1 bytes")),
    "truncated JPEG": (lambda photo: encoded(photo, "JPEG")[:-200], ("image[0]", "JPEG, PNG, WEBP", "truncated")),
    "truncated PNG": (lambda photo: encoded(photo)[:-200], ("image[0]", "JPEG, PNG, WEBP")),
    "truncated WebP": (lambda photo: encoded(photo, "WEBP")[:-200], ("image[0]", "JPEG, PNG, WEBP")),
    "GIF": (lambda photo: encoded(photo, "GIF"), ("image[0]", "JPEG, PNG, WEBP", "GIF8")),
    "TIFF": (lambda photo: encoded(photo, "TIFF"), ("image[0]", "JPEG, PNG, WEBP")),
    "20,000 wide": (
        lambda photo: encoded(Image.new("L", (20_000, 2))),
        ("image[0]", "16000 pixels a side", "20000 x 2"),
    ),
    "100 megapixels": (
        lambda photo: png_header_of(10_000, 10_000),
        ("image[0]", "50000000 in all", "10000 x 10000"),
    ),
    "a gigapixel bomb": (lambda photo: png_header_of(60_000, 60_000), ("image[0]", "50000000 in all", "60000 x 60000")),
    "fill bytes": (lambda photo: b"\xff\xd8" + b"\xff" * 2**20, ("image[0]", "JPEG, PNG, WEBP", "no marker at byte 2")),
    "21 MB": (lambda photo: b"\xff\xd8\xff" + bytes(21 * 2**20), ("image[0]", "20971520 bytes", "got 22020099")),
}


def test_an_unreadable_image_is_refused(server: Any, transport: Any, photo: Image.Image) -> None:
    for case, (make, reason) in BAD_IMAGES.items():
        for model in ("retrieve_similar", "embed_product"):
            assert_refused(transport, server, model, photo_of(make(photo)), {}, reason, case)


def test_the_error_names_the_row_of_a_bad_image(server: Any, transport: Any, photo: Image.Image) -> None:
    given = {"title": texts("a", "b"), "image": texts(encoded(photo), b"\x89PNG")}
    assert_refused(transport, server, "retrieve_similar", given, {}, ("image[1]",))


def test_a_product_without_title_and_image_is_refused(server: Any, transport: Any) -> None:
    given = {"title": texts("mug", "  "), "image": texts("", "")}
    for model in ("retrieve_similar", "embed_product"):
        assert_refused(transport, server, model, given, {}, ("title[1], image[1]", "at least one"))


def test_a_1x1_image_is_embedded_like_a_larger_image_of_that_colour(server: Any, transport: Any) -> None:
    tiny, large = (
        embedding_of(transport, server, encoded(Image.new("RGB", size, "teal"))) for size in ((1, 1), (90, 90))
    )
    np.testing.assert_allclose(tiny, large, atol=1e-5)


def test_a_16_bit_image_is_embedded_like_its_8_bit_copy(server: Any, transport: Any, photo: Image.Image) -> None:
    grey = photo.convert("L")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    assert deep.mode == "I;16"
    np.testing.assert_allclose(
        embedding_of(transport, server, encoded(deep)), embedding_of(transport, server, encoded(grey)), atol=1e-4
    )


def test_a_transparent_image_gets_a_white_background(server: Any, transport: Any, photo: Image.Image) -> None:
    clear = photo.convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(photo.size))
    flat = Image.alpha_composite(Image.new("RGBA", photo.size, "white"), clear).convert("RGB")
    np.testing.assert_allclose(
        embedding_of(transport, server, encoded(clear)), embedding_of(transport, server, encoded(flat)), atol=1e-4
    )


def test_only_the_first_frame_of_an_animated_image_counts(server: Any, transport: Any, photo: Image.Image) -> None:
    frames = [photo, ImageOps.invert(photo), ImageOps.mirror(photo)]
    still = embedding_of(transport, server, encoded(photo))
    for kind, lossless in (("PNG", {}), ("WEBP", {"lossless": True})):
        moving = encoded(photo, kind, save_all=True, append_images=frames[1:], duration=50, **lossless)
        assert Image.open(io.BytesIO(moving)).n_frames == 3
        np.testing.assert_allclose(embedding_of(transport, server, moving), still, atol=1e-5)


def test_a_cmyk_image_keeps_its_colours(server: Any, transport: Any, photo: Image.Image) -> None:
    printed = encoded(photo.convert("CMYK"), "JPEG", quality=95)
    assert Image.open(io.BytesIO(printed)).mode == "CMYK"
    embedding = embedding_of(transport, server, printed)
    same = embedding @ embedding_of(transport, server, encoded(photo))
    inverted = embedding @ embedding_of(transport, server, encoded(ImageOps.invert(photo)))
    assert same > 0.99
    assert same > inverted


def test_a_photo_taken_sideways_is_turned_upright(server: Any, transport: Any, photo: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn by 90 degrees clockwise
    sideways = encoded(photo.rotate(90, expand=True), exif=exif)
    np.testing.assert_allclose(
        embedding_of(transport, server, sideways), embedding_of(transport, server, encoded(photo)), atol=1e-5
    )


def test_a_batch_above_the_limit_is_refused(server: Any, transport: Any, pipeline: InProcessPipeline) -> None:
    reason = ("batch-size must be <= 64", "'retrieve'")
    assert_refused(transport, server, "retrieve", {"query": texts(*["mug"] * 65)}, {}, reason)
    reason = ("batch-size must be <= 32", "'retrieve_similar'")
    products = {"title": texts(*["mug"] * 33), "image": texts(*[""] * 33)}
    assert_refused(transport, server, "retrieve_similar", products, {}, reason)
    reason = ("batch-size must be <= 64", "'product_index'")
    embeddings = {"embedding": np.repeat(pipeline.embed_query(["mug"]), 65, axis=0)}
    assert_refused(transport, server, "product_index", embeddings, {}, reason)


def test_a_full_batch_is_answered(server: Any, transport: Any, pipeline: InProcessPipeline) -> None:
    words = [f"mug number {row}" for row in range(64)]
    expected = pipeline.retrieve(words, top_k=5)
    answer = transport(server, "retrieve", {"query": texts(*words)}, parameters={"top_k": 5})
    assert_same_ranking(answer["product_ids"], answer["scores"], expected.product_ids, expected.scores)


DIM = 128
WRONG_TENSORS = {
    "query as numbers": ("retrieve", {"query": np.ones((1, 1), np.float32)}, ("query", "FP32", "BYTES")),
    "query without batch": ("retrieve", {"query": texts("mug")[0]}, ("query", "[-1,1]", "[1]")),
    "two queries side by side": ("retrieve", {"query": texts("a", "b").T}, ("query", "[-1,1]", "[1,2]")),
    "no query": ("retrieve", {}, ("query", "retrieve")),
    "another name": ("retrieve", {"text": texts("mug")}, ("text", "retrieve")),
    "one input too many": ("retrieve", {"query": texts("mug"), "top_k": texts("5")}, ("1 inputs", "2 inputs")),
    "no image": ("retrieve_similar", {"title": texts("mug")}, ("image", "retrieve_similar")),
    "two titles, one image": (
        "retrieve_similar",
        {"title": texts("a", "b"), "image": texts("")},
        ("batch size does not match", "retrieve_similar"),
    ),
    "double precision": ("product_index", {"embedding": np.ones((1, DIM))}, ("embedding", "FP64", "FP32")),
    "too short": (
        "product_index",
        {"embedding": np.ones((1, 100), np.float32)},
        ("embedding", f"[-1,{DIM}]", "[1,100]"),
    ),
    "NaN": ("product_index", {"embedding": np.full((2, DIM), np.nan, np.float32)}, ("embedding", "finite")),
    "no embedding": ("product_index", {"query": texts("mug")}, ("embedding", "must be given")),
    "infinity": ("product_index", {"embedding": np.full((1, DIM), np.inf, np.float32)}, ("embedding", "finite")),
}


def test_a_wrong_tensor_is_refused(server: Any, transport: Any, pipeline: InProcessPipeline) -> None:
    assert pipeline.bundle.embedding_dim == DIM
    for case, (model, inputs, reason) in WRONG_TENSORS.items():
        assert_refused(transport, server, model, inputs, {}, reason, case)


def test_an_unknown_output_is_refused(server: Any, transport: Any) -> None:
    with pytest.raises(Refused, match=r"'prices'.*'retrieve'") as refused:
        transport(server, "retrieve", QUERY, outputs=["product_ids", "prices"])
    assert refused.value.status == INVALID[transport]
