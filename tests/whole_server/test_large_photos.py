"""Large photos: they are answered like others, and nobody waits for them."""

from __future__ import annotations

import io
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shopwindow.retrieval import InProcessPipeline
from tests.ranking import assert_same_ranking
from tests.server.stranger import Refused, ask, texts


@pytest.fixture(params=["served", "served_ensemble"])
def server(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def large() -> bytes:
    """A photo of 49 megapixels in a file of 150 KB: one core decodes it for a second."""
    return png(Image.new("RGB", (7_000, 7_000), (200, 30, 40)))


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


def photos(*data: bytes) -> dict[str, np.ndarray]:
    return {"title": texts(*[""] * len(data)), "image": texts(*data)}


@pytest.fixture
def small() -> dict[str, np.ndarray]:
    return photos(png(Image.new("RGB", (80, 80), (20, 30, 240))))


def answers_beside(server: Any, model: str, slow: dict[str, np.ndarray], small: Any) -> tuple[Any, list[Any]]:
    """Ask for something slow, and until that is answered again and again for something small."""
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(ask, server, model, slow)
        beside = []
        while not call.done():
            beside.append(ask(server, model, small))
        return call.result(), beside


def test_small_photos_are_answered_while_a_large_one_is_decoded(
    server: Any, pipeline: InProcessPipeline, large: bytes, small: dict[str, np.ndarray]
) -> None:
    tall = png(Image.new("RGB", (6_000, 8_000), (250, 240, 10)))
    slow, beside = answers_beside(server, "retrieve_similar", photos(large, tall), small)
    # Without that, only the request that came before the slow one, or after it, would be answered.
    assert len(beside) >= 5
    for answer, rows in [(slow, photos(large, tall)), *[(each, small) for each in beside]]:
        expected = pipeline.retrieve_similar(list(rows["title"][:, 0]), list(rows["image"][:, 0]), top_k=100)
        assert_same_ranking(answer["product_ids"], answer["scores"], expected.product_ids, expected.scores)
    slow, beside = answers_beside(server, "embed_product", photos(large, tall), small)
    assert len(beside) >= 5
    np.testing.assert_allclose(slow["embedding"], pipeline.embed_product([""] * 2, [large, tall])[0], atol=1e-5)


@pytest.mark.parametrize("model", ["retrieve_similar", "embed_product"])
def test_a_large_photo_that_is_broken_is_refused_with_its_row(server: Any, model: str, large: bytes) -> None:
    with pytest.raises(Refused, match=r"image\[1\]: not a readable JPEG, PNG, WEBP image") as refused:
        ask(server, model, photos(png(Image.new("RGB", (8, 8))), large[:-30_000]))
    assert refused.value.status == "StatusCode.INVALID_ARGUMENT"


@pytest.mark.parametrize("model", ["retrieve_similar", "embed_product"])
def test_more_pixels_than_a_request_may_have_are_refused(server: Any, model: str, large: bytes) -> None:
    with pytest.raises(Refused, match=r"image: .* at most 512000000 pixels in all, got 539000000") as refused:
        ask(server, model, photos(*[large] * 11))
    assert refused.value.status == "StatusCode.INVALID_ARGUMENT"


def test_wrong_parameters_beside_a_large_photo_are_refused(served: Any, large: bytes) -> None:
    with pytest.raises(Refused, match="top_k"):
        ask(served, "retrieve_similar", photos(large), parameters={"top_k": 0})


@pytest.mark.parametrize("model", ["retrieve_similar", "embed_product"])
@pytest.mark.parametrize("limit", ["timeout", "deadline_unix_ms"])
def test_a_large_photo_whose_deadline_has_passed_is_not_decoded(
    served: Any, model: str, limit: str, large: bytes
) -> None:
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(ask, served, model, photos(large, large))
        with pytest.raises(Refused, match="Request timeout expired") as refused:
            if limit == "timeout":
                ask(served, model, photos(*[large] * 3), timeout=200_000)  # microseconds
            else:
                deadline = int(time.time() * 1e3) + 200
                ask(served, model, photos(*[large] * 3), parameters={"deadline_unix_ms": deadline})
        assert refused.value.status == "StatusCode.UNAVAILABLE"
        call.result()


def test_a_photo_with_gigabytes_of_text_is_answered(server: Any, small: dict[str, np.ndarray]) -> None:
    data = small["image"][0, 0]
    body = b"iCCP" + b"name\0\0" + zlib.compress(bytes(2**24), 9)
    bomb = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    answer = ask(server, "embed_product", photos(data[:33] + bomb * 1_000 + data[33:]))
    np.testing.assert_allclose(answer["embedding"], ask(server, "embed_product", small)["embedding"], atol=1e-5)
