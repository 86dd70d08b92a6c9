"""The judgement of the fuzzer: the replies and the memory that it must refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb

from shopwindow_loadtests.fuzz.report import INVARIANTS, as_json, summary
from shopwindow_loadtests.fuzz.requests.cases import INFER, SERVICE, Call, Case, RawHttp
from shopwindow_loadtests.fuzz.requests.values import counted
from shopwindow_loadtests.fuzz.sending import Reply
from shopwindow_loadtests.fuzz.state import State
from shopwindow_loadtests.fuzz.verdicts import judge
from shopwindow_loadtests.fuzz.watching import SHARED, SHORTEST, growths
from shopwindow_loadtests.soak.watched_server import TRITON

MIB = 2**20
INFERENCE = Call(path=INFER, messages=(b"",))
HTTP = RawHttp(port="http", pieces=(b"GET / HTTP/1.1\r\n\r\n",), whole=True)


def answer(name: str, numbers: list[float], rows: int = 1) -> Reply:
    """Return an answer with one FP32 output that claims to have `rows` rows."""
    response = pb.ModelInferResponse(model_name="retrieve")
    response.outputs.add(name=name, datatype="FP32", shape=[rows, len(numbers)])
    response.raw_output_contents.append(np.array(numbers, "<f4").tobytes())
    return Reply(status="OK", messages=(response.SerializeToString(),))


BROKEN = [
    (INFERENCE, Reply(status="INTERNAL", text="IndexError: list index out of range"), "errors are typed"),
    (INFERENCE, Reply(status="UNKNOWN", text="Unable to parse request"), "errors are typed"),
    (HTTP, Reply(status="500", text='{"error":"KeyError: 1"}'), "errors are typed"),
    (HTTP, Reply(status="500", text='{"error":"Unable to parse \'inputs\': no array"}'), "errors are typed"),
    (INFERENCE, Reply(status="DEADLINE_EXCEEDED"), "answered in time"),
    (HTTP, Reply(status="silent"), "answered in time"),
    (HTTP, Reply(status="closed"), "answered in time"),
    (INFERENCE, Reply(status="UNAVAILABLE", text="Socket closed"), "connection and models stay up"),
    (
        INFERENCE,
        Reply(status="UNAVAILABLE", text="Stub process 'retrieve_0_0' is not healthy."),
        "connection and models stay up",
    ),
    (HTTP, Reply(status="unreachable"), "connection and models stay up"),
    (INFERENCE, Reply(status="INVALID_ARGUMENT", text="query[0]: " + "x" * 2_000), "errors are short"),
    (INFERENCE, Reply(status="NOT_FOUND", text=f"unknown model: '{'x' * 2_000}' is not found"), "errors are short"),
    (INFERENCE, Reply(status="INVALID_ARGUMENT", text="query[0]: got '\x1b[31m'"), "errors are printable"),
    (HTTP, Reply(status="400", text='{"error":"filter.\\u202e: no such attribute"}'), "errors are printable"),
    (INFERENCE, Reply(status="INVALID_ARGUMENT", text="region 'secret-abc1'"), "errors tell no secret"),
    (INFERENCE, answer("scores", [0.5, float("nan")]), "answers are numbers"),
    (INFERENCE, answer("embedding", [0.5, float("inf")]), "answers are numbers"),
    (INFERENCE, answer("scores", [0.5, 0.4], rows=2), "answers are whole"),
    (Call(path=f"{SERVICE}RepositoryIndex", messages=(b"",)), Reply(status="OK"), "closed protocols stay closed"),
    (RawHttp(port="http", pieces=(b"",), whole=True, closed=True), Reply(status="200"), "closed protocols stay closed"),
]
FINE = [
    (INFERENCE, answer("scores", [0.5, -float("inf")])),
    (INFERENCE, Reply(status="INVALID_ARGUMENT", text="query[0]: must not be empty")),
    (INFERENCE, Reply(status="UNAVAILABLE", text="Exceeds maximum queue size")),
    (INFERENCE, Reply(status="INTERNAL", text="Unable to parse request")),
    (Call(path=INFER, messages=(b"",), deadline_s=0.001), Reply(status="DEADLINE_EXCEEDED")),
    (HTTP, Reply(status="400", text='{"error":"query[0]: must not be empty"}')),
    (HTTP, Reply(status="503", text="late")),
    (RawHttp(port="http", pieces=(b"x",), whole=False), Reply(status="closed")),
]


@pytest.mark.parametrize(("sent", "reply", "rule"), BROKEN)
def test_a_reply_that_breaks_a_rule_is_found(sent: Call | RawHttp, reply: Reply, rule: str) -> None:
    faults, _ = judge(Case(number=1, kind="inference", what="a test", sent=sent), reply, ["secret-abc"])
    assert {fault.invariant for fault in faults} == {rule}
    assert rule in INVARIANTS


@pytest.mark.parametrize(("sent", "reply"), FINE)
def test_a_reply_that_keeps_all_rules_passes(sent: Call | RawHttp, reply: Reply) -> None:
    assert judge(Case(number=1, kind="inference", what="a test", sent=sent), reply, ["secret-abc"])[0] == []


ASKED = {"fields": '["price"]', "facets": '{"colour": 5}', "collapse": '{"by": "style", "members": 2}'}
SOUND: dict[str, tuple[str, list[Any]]] = {
    "product_ids": ("INT64", [7, 8, -1]),
    "attributes": ("BYTES", ['{"price":2.5}', '{"price":null}', ""]),
    "total": ("INT64", [2]),
    "facets": ("BYTES", ['{"colour":[{"value":"red","count":2}]}']),
    "group_sizes": ("INT64", [3, 1, 0]),
    "group_members": ("BYTES", ["[7,9]", "[8]", ""]),
}


def page(**changed: Any) -> Reply:
    """Return an answer of one row to a request with the parameters ASKED."""
    response = pb.ModelInferResponse(model_name="retrieve")
    for name, (datatype, held) in SOUND.items():
        values = changed.get(name, held)
        response.outputs.add(name=name, datatype=datatype, shape=[1, len(values)])
        raw = (
            np.array(values, "<i8").tobytes() if datatype == "INT64" else b"".join(counted(v.encode()) for v in values)
        )
        response.raw_output_contents.append(raw)
    return Reply(status="OK", messages=(response.SerializeToString(),))


def refused(text: str, status: str = "INVALID_ARGUMENT") -> Reply:
    return Reply(status=status, text=text)


BROKEN_PAGES = [
    (page(product_ids=[7, 7, -1]), "pages are consistent"),
    (page(product_ids=[7, -1, 8]), "pages are consistent"),
    (page(attributes=['{"price":2.5}', '{"colour":null}', ""]), "pages are consistent"),
    (page(attributes=['{"price":NaN}', '{"price":1}', ""]), "pages are consistent"),
    (page(attributes=['{"price":2.5}', "", ""]), "pages are consistent"),
    (page(total=[1]), "pages are consistent"),
    (page(facets=['{"colour":[{"value":"red","count":3}]}']), "pages are consistent"),
    (page(facets=['{"colour":[{"value":"red","count":0}]}']), "pages are consistent"),
    (page(facets=['{"brand":[]}']), "pages are consistent"),
    (page(group_sizes=[3, 1, 1]), "pages are consistent"),
    (page(group_members=["[7]", "[8]", ""]), "pages are consistent"),
    (page(group_members=["[7,7]", "[8]", ""]), "pages are consistent"),
    (refused("must be a number"), "refusals name a field"),
    (refused("sort.by: no such attribute"), "refusals name a field"),  # it was not sent
]
SOUND_PAGES = [
    page(),
    page(facets=['{"colour":[]}']),
    refused("collapse.by: must be the name of a column"),
    refused("[request id: 7] facets.colour: must be an integer"),
    refused("like[0].ids: must be a list"),
    refused("invalid value type for 'fields' parameter, expected int64_param"),
    Reply(status="UNAVAILABLE", text="Exceeds maximum queue size"),
]


def judged(reply: Reply) -> set[str]:
    request = pb.ModelInferRequest(model_name="retrieve")
    for name, value in ASKED.items():
        request.parameters[name].string_param = value
    request.inputs.add(name="like")
    call = Call(path=INFER, messages=(request.SerializeToString(),))
    return {fault.invariant for fault in judge(Case(number=1, kind="page", what="a test", sent=call), reply, [])[0]}


@pytest.mark.parametrize(("reply", "rule"), BROKEN_PAGES)
def test_a_page_that_breaks_a_rule_is_found(reply: Reply, rule: str) -> None:
    assert judged(reply) == {rule}
    assert rule in INVARIANTS


@pytest.mark.parametrize("reply", SOUND_PAGES)
def test_a_sound_page_passes(reply: Reply) -> None:
    assert judged(reply) == set()


def test_memory_that_grows_after_the_warm_up_is_found() -> None:
    def sample(number: int) -> dict[str, int]:
        warm = min(number, 30) * 20 * MIB
        return {TRITON: 200 * MIB + warm, "retrieve": 100 * MIB + warm + number * MIB, SHARED: 0}

    judged = {one.part: one.flat for one in growths([sample(number) for number in range(120)])}
    assert judged == {TRITON: True, "retrieve": True, SHARED: True}
    judged = {one.part: one.flat for one in growths([sample(number) for number in range(500)])}
    assert judged == {TRITON: True, "retrieve": False, SHARED: True}
    assert growths([sample(1)] * (SHORTEST - 1)) == []


def test_what_is_written_does_not_change_while_the_senders_go_on() -> None:
    state = State(seed=5)
    state.count("frame", "OK", [])
    written = state.as_dict()
    state.count("frame", "INTERNAL", ["a reason"])
    assert written["outcomes"] == {"frame: OK": 1}
    assert written["allowed"] == {}


def test_the_report_fails_with_a_finding_and_says_how_to_send_it_again(tmp_path: Path) -> None:
    state = State(seed=5, done=10, outcomes={"frame: OK": 10})  # type: ignore[arg-type]
    assert as_json(state, 10)["passed"]
    assert not as_json(state, 11)["passed"]
    state.find("a key", "errors are typed", "INTERNAL: oops", [7, 3], "frame: changed")
    state.write(tmp_path / "state.json")
    again = State.read(tmp_path / "state.json")
    assert again.as_dict() == state.as_dict()
    assert not as_json(again, 10)["passed"]
    lines = summary(again, 10).splitlines()
    assert [line for line in lines if line.startswith("FAIL")] == [
        "FAIL  errors are typed: no UNKNOWN, INTERNAL or HTTP 5xx but 503, except those allowed below"
    ]
    assert any('make fuzz FUZZ_ARGS="--seed 5 --only 7"' in line for line in lines)
    (tmp_path / "state.json").write_text("[]")
    with pytest.raises(ValueError, match="not the state of a run"):
        State.read(tmp_path / "state.json")
