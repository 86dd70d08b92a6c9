"""The requests of the fuzzer: a seed and a number say all of them, and they reach what they should reach."""

from __future__ import annotations

import hashlib
import io
import itertools
import subprocess
import sys
import warnings
from collections import Counter
from random import Random
from typing import Any

from PIL import Image
from tritonclient.grpc import service_pb2 as pb

from shopwindow.retrieval import InvalidRequest
from shopwindow.retrieval.request.page.page_request import parse_page
from shopwindow.retrieval.request.parameters import DEFAULT_TOP_K
from shopwindow_loadtests.fuzz.requests.cases import INFER, Call, Model, RawHttp, Tensor
from shopwindow_loadtests.fuzz.requests.inference import TRICKS
from shopwindow_loadtests.fuzz.requests.making import KINDS, make_case
from shopwindow_loadtests.fuzz.requests.pages import PAGE
from shopwindow_loadtests.fuzz.requests.photos import photo, sound
from shopwindow_loadtests.fuzz.requests.protobuf import mutated_fields
from tests.conftest import ROOT


def tensor(name: str, datatype: str, *shape: int) -> Tensor:
    return Tensor(name=name, datatype=datatype, shape=shape)


MODELS = [
    Model(
        name="product_index",
        inputs=(tensor("embedding", "FP32", -1, 128), tensor("like", "BYTES", -1, 1), tensor("query", "BYTES", -1, 1)),
        outputs=(tensor("scores", "FP32", -1, -1), tensor("facets", "BYTES", -1, 1)),
        max_rows=64,
        products=tuple(range(7, 1_007)),
    ),
    Model(
        name="embed_product",
        inputs=(tensor("title", "BYTES", -1, 1), tensor("image", "BYTES", -1, 1)),
        outputs=(tensor("embedding", "FP32", -1, 128),),
        max_rows=32,
    ),
]
REQUESTS = 400


def digest() -> str:
    """Return a hash over many requests."""
    found = hashlib.sha256()
    for number in range(REQUESTS):
        found.update(repr(make_case(7, number, MODELS)).encode())
    return found.hexdigest()


def test_a_seed_and_a_number_give_the_same_bytes_in_another_process() -> None:
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}; from tests.loadtests.fuzz.test_making import digest; print(digest())"
    )
    environment = {"PYTHONHASHSEED": "12345"}
    other = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert other.stdout.strip() == digest(), other.stderr
    assert make_case(8, 3, MODELS) != make_case(7, 3, MODELS)


def test_all_kinds_of_requests_come_and_are_bounded() -> None:
    cases = [make_case(1, number, MODELS) for number in range(REQUESTS)]
    assert {case.kind for case in cases} == set(KINDS)
    for case in cases:
        parts = case.sent.messages if isinstance(case.sent, Call) else case.sent.pieces
        assert sum(map(len, parts)) < 40 * 2**20, (case.number, case.what)


def test_most_mutated_messages_are_still_messages_of_another_content() -> None:
    [message] = next(
        case.sent.messages
        for number in range(REQUESTS)
        if isinstance((case := make_case(1, number, MODELS)).sent, Call) and case.kind == "photo"
    )
    original = pb.ModelInferRequest.FromString(message)
    counts: Counter[str] = Counter()
    for seed in range(200):
        try:
            changed = pb.ModelInferRequest.FromString(mutated_fields(Random(seed), message))
            counts["same" if changed == original else "changed"] += 1
        except Exception:
            counts["unreadable"] += 1
    assert counts["changed"] > 100, counts


def test_a_request_for_inference_is_right_as_often_as_wrong() -> None:
    names = {model.name for model in MODELS}
    known = [
        message.model_name in names
        for number in range(REQUESTS)
        if isinstance((case := make_case(1, number, MODELS)).sent, Call)
        and case.kind == "inference"
        and case.sent.path == INFER
        for message in [pb.ModelInferRequest.FromString(case.sent.messages[0])]
    ]
    assert sum(known) > len(known) / 2


def test_requests_for_pages_use_every_parameter_and_some_are_right() -> None:
    seen: Counter[str] = Counter()
    for number in range(2_000):
        case = make_case(5, number, MODELS)
        if case.kind == "page":
            assert isinstance(case.sent, Call)
            message = pb.ModelInferRequest.FromString(case.sent.messages[0])
            seen.update([*message.parameters, *(one.name for one in message.inputs)])
            try:
                seen["right"] += parse_page(_values(message), DEFAULT_TOP_K) is not None
            except InvalidRequest:
                seen["wrong"] += 1
    assert all(seen[name] > 10 for name in (*PAGE, "like", "embedding", "query", "right", "wrong")), seen


def _values(message: pb.ModelInferRequest) -> dict[str, Any]:
    return {
        name: getattr(one, str(one.WhichOneof("parameter_choice")), None) for name, one in message.parameters.items()
    }


def test_every_trick_can_follow_every_other_on_the_smallest_request() -> None:
    for number, (first, second) in enumerate(itertools.product(TRICKS, TRICKS)):
        message = pb.ModelInferRequest(model_name="embed_product")
        message.inputs.add(name="title", datatype="BYTES", shape=[1, 1])
        message.raw_input_contents.append(b"")
        for trick in (first, second):
            trick(Random(number), message, MODELS[1])
        message.SerializeToString()


def test_sound_photos_can_be_read_and_most_others_cannot() -> None:
    def readable(data: bytes) -> bool:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                Image.open(io.BytesIO(data)).load()
        except Exception:
            return False
        return True

    assert all(readable(sound(Random(seed))[1]) for seed in range(60))
    found = [photo(Random(seed)) for seed in range(200)]
    broken = [name for name, data in found if not readable(data)]
    assert 40 < len(broken) < 190
    assert {kind for name in broken for kind in ("JPEG", "PNG", "WEBP") if kind in name} == {"JPEG", "PNG", "WEBP"}


def test_http_requests_that_are_owed_an_answer_are_complete() -> None:
    for number in range(2_000):
        sent = make_case(3, number, MODELS).sent
        if isinstance(sent, RawHttp) and sent.whole:
            head, _, body = b"".join(sent.pieces).partition(b"\r\n\r\n")
            fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
            if b"Content-Length" in fields:
                assert int(fields[b"Content-Length"]) == len(body)
            else:
                assert body.endswith(b"0\r\n\r\n")
