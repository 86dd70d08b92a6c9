"""Encoding, checks before sending, splitting and decoding. No server."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from tritonclient.grpc.model_config_pb2 import ModelConfig

from shopwindow_client import InvalidRequest, MessageTooLarge, Product, RetrievalClient
from shopwindow_client._sending import wire as messages
from shopwindow_client._values import requests as wire

ENDLESS: dict[str, Any] = {}
ENDLESS["and"] = [ENDLESS]
DEEP: Any = {"price": 1}
for _ in range(5_000):
    DEEP = {"not": DEEP}


def request(queries: list[str], **parameters: Any) -> wire.ModelRequest:
    inputs = wire.encode_queries(queries)
    return wire.ModelRequest("retrieve", inputs, wire.RESULT_OUTPUTS, wire.encode_parameters(**parameters))


def test_queries_become_a_column_of_utf8() -> None:
    column = wire.encode_queries(["red dress", "größe 38\x00"])["query"]
    assert column.shape == (2, 1)
    assert column.tolist() == [[b"red dress"], ["größe 38\x00".encode()]]
    assert wire.encode_queries("one")["query"].tolist() == [[b"one"]]


@pytest.mark.parametrize(
    ("queries", "named"),
    [
        ([], "queries must hold at least one row"),
        (["fine", ""], r"queries\[1\].*got ''"),
        (["fine", "  \t"], r"queries\[1\]"),
        (["fine", 7], r"queries\[1\].*got 7"),
        (b"bytes", "queries must be a string or a list of strings, got bytes"),
        (7, "queries must be a string or a list of strings, got int"),
        (["\ud800"], r"queries\[0\] cannot be written as UTF-8"),
    ],
)
def test_an_error_names_the_bad_query(queries: Any, named: str) -> None:
    with pytest.raises(InvalidRequest, match=named):
        wire.encode_queries(queries)


def test_a_product_without_a_title_or_photo_sends_an_empty_one(tmp_path: Path) -> None:
    photo = tmp_path / "mug.jpg"
    Image.new("RGB", (4, 4), "red").save(photo)
    inputs = wire.encode_products(
        [Product(title="mug"), Product(image=photo), Product("mug", str(photo)), Product(image=photo.read_bytes())]
    )
    jpeg = photo.read_bytes()
    assert inputs["title"].tolist() == [[b"mug"], [b""], [b"mug"], [b""]]
    assert inputs["image"].tolist() == [[b""], [jpeg], [jpeg], [jpeg]]


def test_a_pil_image_keeps_its_pixels() -> None:
    image = Image.effect_noise((8, 6), 50).convert("RGB")
    sent = wire.encode_products(Product(image=image))["image"][0, 0]
    assert Image.open(io.BytesIO(sent)).tobytes() == image.tobytes()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_pil_image_is_turned_as_the_file_it_was_opened_from(kind: str, orientation: int, tmp_path: Path) -> None:
    file = tmp_path / "sideways"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.effect_noise((8, 6), 50).convert("RGB").save(file, kind, exif=exif)
    image = Image.open(file)
    sent = wire.encode_products(Product(image=image))["image"][0, 0]
    with Image.open(io.BytesIO(sent)) as seen, Image.open(file) as photo:
        assert ImageOps.exif_transpose(seen).tobytes() == ImageOps.exif_transpose(photo).convert("RGB").tobytes()
    upright = ImageOps.exif_transpose(image)
    sent = wire.encode_products(Product(image=upright))["image"][0, 0]
    with Image.open(io.BytesIO(sent)) as seen:  # it is not turned again
        assert ImageOps.exif_transpose(seen).tobytes() == upright.tobytes()


def test_odd_exif_data_of_a_pil_image_reach_the_server_as_they_are() -> None:
    image = Image.new("RGB", (4, 4), "red")
    image.info["exif"] = b"garbage"  # what Pillow itself would not write
    sent = wire.encode_products(Product(image=image))["image"][0, 0]
    with Image.open(io.BytesIO(sent)) as seen:
        assert seen.convert("RGB").getpixel((1, 1)) == (255, 0, 0)
    assert b"eXIfgarbage" in sent


def test_a_pil_image_from_a_cmyk_jpeg_is_sent_in_rgb() -> None:
    sent = wire.encode_products(Product(image=Image.new("CMYK", (4, 4), (0, 255, 255, 0))))["image"][0, 0]
    with Image.open(io.BytesIO(sent)) as seen:
        assert seen.getpixel((1, 1)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("products", "named"),
    [
        ([], "products must hold at least one row"),
        ([Product("mug"), Product()], r"products\[1\] must have a title or an image"),
        (Product(" "), r"products\[0\] must have a title or an image"),
        (Product("mug", b""), r"products\[0\]\.image.*got 0 bytes"),
        (Product(image="no/such/file.jpg"), r"products\[0\]\.image: cannot read 'no/such/file\.jpg'"),
        (Product(image=3.5), r"products\[0\]\.image must be .*got float"),  # type: ignore[arg-type]
        (Product(title=7), r"products\[0\]\.title must be a string, got int"),  # type: ignore[arg-type]
        (["mug"], r"products\[0\] must be a Product, got str"),
        (Product(image=Image.new("F", (2, 2))), r"products\[0\]\.image cannot be saved as PNG"),
    ],
)
def test_an_error_names_the_bad_product(products: Any, named: str) -> None:
    with pytest.raises(InvalidRequest, match=named):
        wire.encode_products(products)


def test_one_embedding_or_many_become_rows_of_float32() -> None:
    assert wire.encode_embeddings([0.5, 0.25])["embedding"].tolist() == [[0.5, 0.25]]
    many = wire.encode_embeddings(np.ones((3, 2), np.float64))["embedding"]
    assert many.shape == (3, 2)
    assert many.dtype == np.float32


@pytest.mark.parametrize(
    "embeddings", [[], np.zeros((0, 4)), np.zeros((2, 2, 2)), [1.0, np.nan], ["a"], [[1], [1, 2]], [10**400]]
)
def test_bad_embeddings_are_refused(embeddings: Any) -> None:
    with pytest.raises(InvalidRequest, match="embeddings must"):
        wire.encode_embeddings(embeddings)


def test_only_given_parameters_are_sent() -> None:
    assert wire.encode_parameters() == {}
    sent = wire.encode_parameters(top_k=np.int32(10), effort=3, filter={"price": {"lt": 50}}, min_score=0)  # type: ignore[arg-type]
    assert json.loads(str(sent.pop("filter"))) == {"price": {"lt": 50}}
    assert sent == {"top_k": 10, "effort": 3, "min_score": 0.0}
    assert [type(value) for value in sent.values()] == [int, int, float]
    assert wire.encode_parameters(allow_lower_effort=False) == {}
    assert wire.encode_parameters(filter='{"colour": "red"}') == {"filter": '{"colour": "red"}'}


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"top_k": 2.5}, "top_k must be a whole number, got 2.5"),
        ({"top_k": True}, "top_k must be a whole number, got True"),
        ({"top_k": 10**30}, "top_k must fit into 64 bits"),
        ({"effort": "5"}, "effort must be a whole number, got '5'"),
        ({"min_score": float("nan")}, "min_score must be a finite number, got nan"),
        ({"channels": ["lexical"]}, "channels must be a string, got \\['lexical'\\]"),
        ({"allow_lower_effort": 1}, "allow_lower_effort must be True or False, got 1"),
        ({"filter": ["red"]}, "filter must be a .* mapping or JSON, got list"),
        ({"filter": False}, "filter must be a condition, got False"),
        ({"filter": {"colour": {1, 2}}}, "filter cannot be written as JSON"),
        ({"filter": {"price": {"lt": float("inf")}}}, "filter cannot be written as JSON"),
        ({"filter": ENDLESS}, "filter cannot be written as JSON"),
        ({"filter": DEEP}, "filter cannot be written as JSON: it holds itself, or too many levels"),
        ({"filter": "\ud800"}, "filter cannot be written as UTF-8"),
        ({"towers": "\ud800"}, "towers cannot be written as UTF-8"),
        ({"min_score": 10**400}, "min_score must be a finite number"),
    ],
)
def test_an_error_names_the_bad_parameter(parameters: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidRequest, match=named):
        wire.encode_parameters(**parameters)


@pytest.mark.parametrize(("rows", "limit", "sizes"), [(1, 4, [1]), (4, 4, [4]), (5, 4, [4, 1]), (9, 3, [3, 3, 3])])
def test_a_split_keeps_order_and_parameters(rows: int, limit: int, sizes: list[int]) -> None:
    whole = request([f"query {row}" for row in range(rows)], top_k=7)
    parts = whole.split(limit)
    assert [part.rows for part in parts] == sizes
    assert np.concatenate([part.inputs["query"] for part in parts]).tolist() == whole.inputs["query"].tolist()
    assert all(part.parameters == {"top_k": 7} for part in parts)


def test_a_split_keeps_title_and_photo_of_a_product_together() -> None:
    inputs = wire.encode_products([Product(f"title {row}", b"image %d" % row) for row in range(5)])
    for part in wire.ModelRequest("retrieve_similar", inputs, wire.RESULT_OUTPUTS, {}).split(2):
        for title, image in zip(part.inputs["title"][:, 0], part.inputs["image"][:, 0], strict=True):
            assert title.split()[1] == image.split()[1]


def test_tensors_hold_the_exact_bytes() -> None:
    product = wire.encode_products(Product(image=b"\xff\xd8 jpeg \x00\x00"))
    message = messages.to_message(wire.ModelRequest("embed_product", product, ("embedding",), {"top_k": 3}), "abc")
    assert [(t.name, t.datatype, list(t.shape)) for t in message.inputs] == [
        ("title", "BYTES", [1, 1]),
        ("image", "BYTES", [1, 1]),
    ]
    assert message.raw_input_contents[1] == (10).to_bytes(4, "little") + b"\xff\xd8 jpeg \x00\x00"
    assert [output.name for output in message.outputs] == ["embedding"]
    assert (message.id, message.parameters["top_k"].int64_param) == ("abc", 3)


def test_photos_that_no_message_can_hold_are_refused_before_they_are_copied() -> None:
    photo = bytes(20 * 2**20)
    with pytest.raises(MessageTooLarge, match=r"110 rows of 2,30\d,\d{3},\d{3} bytes.*Send fewer rows"):
        messages.to_message(
            wire.ModelRequest("embed_product", wire.encode_products([Product(image=photo)] * 110), (), {}), "abc"
        )


def test_info_reads_the_limits_and_accepts_missing_ones() -> None:
    retrieve = ModelConfig(name="retrieve", max_batch_size=32)
    index = ModelConfig(name="product_index", max_batch_size=64)
    index.input.add(name="embedding", dims=[128])
    for key, value in (("max_top_k", "10000"), ("tower_hash", "abc"), ("default_top_k", "${unrendered}")):
        index.parameters[key].string_value = value
    info = messages.server_info("triton", "2.51.0", retrieve, index)
    assert (info.max_batch_size, info.max_top_k, info.embedding_dim, info.tower_hash) == (32, 10000, 128, "abc")
    assert info.default_top_k is None
    assert info.parameters["default_top_k"] == "${unrendered}"
    for text in ("9" * 5_000, "٣", "-1"):
        index.parameters["max_top_k"].string_value = text
        assert messages.server_info("triton", "2.51.0", None, index).max_top_k is None
    bare = messages.server_info("triton", "2.51.0", None, None)
    assert (bare.max_batch_size, bare.max_top_k, bare.embedding_dim) == (None, None, None)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"url": "http://localhost:8000"}, "url must be host:port"),
        ({"timeout_s": 0}, "timeout_s must be .* above 0 and at most 1,000,000, got 0"),
        ({"timeout_s": float("inf")}, "timeout_s must be a finite number"),
        ({"timeout_s": None}, "timeout_s must be .*got None"),
        ({"timeout_s": 10**400}, "timeout_s must be a finite number of seconds above 0 .*got 1000"),
        ({"timeout_s": 1e13}, "at most 1,000,000, got 10000000000000.0"),
        ({"max_concurrent": "4"}, "max_concurrent must be a whole number of at least 1, got '4'"),
        ({"token": "secret\n"}, "token must be printable ASCII without spaces around it, got another str$"),
        ({"token": 7}, "token must be printable ASCII"),
        (
            {"channel_options": {"grpc.keepalive_time_ms": 2**40}},
            r"channel_options\['grpc.keepalive_time_ms'\] must fit",
        ),
        ({"channel_options": {"grpc.keepalive_time_ms": 1.5}}, "channel_options: must be strings with a number"),
        ({"max_concurrent": 0}, "max_concurrent must be a whole number of at least 1, got 0"),
    ],
)
def test_wrong_settings_of_a_client_are_refused(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidRequest, match=named):
        RetrievalClient(**arguments)


def test_products_together_with_a_title_are_refused() -> None:
    with RetrievalClient() as client, pytest.raises(InvalidRequest, match="either products, or the title and image"):
        client.retrieve_similar(Product("mug"), title="red")
