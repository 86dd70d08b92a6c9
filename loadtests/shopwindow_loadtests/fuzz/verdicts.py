"""Judges replies: which errors are typed, and what an error or an answer must not contain."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from tritonclient.grpc import service_pb2 as pb

from shopwindow_loadtests.fuzz.allowances import allowed
from shopwindow_loadtests.fuzz.page_verdicts import page_faults
from shopwindow_loadtests.fuzz.requests.cases import INFER, SERVICE, Call, Case, RawHttp
from shopwindow_loadtests.fuzz.requests.frames import CLOSED
from shopwindow_loadtests.fuzz.sending import Reply

TYPED, SHORT, PRINTABLE = "errors are typed", "errors are short", "errors are printable"
LONGEST_ERROR = 2_000  # characters
_TYPED = {
    *("INVALID_ARGUMENT", "NOT_FOUND", "UNIMPLEMENTED", "UNAVAILABLE", "RESOURCE_EXHAUSTED", "PERMISSION_DENIED"),
    *("UNAUTHENTICATED", "ALREADY_EXISTS", "OUT_OF_RANGE", "FAILED_PRECONDITION"),
}
# UNAVAILABLE that says: the process behind is gone, or the connection broke.
_BROKEN = re.compile(
    r"socket closed|failed to connect|connection re(set|fused)|not healthy|upstream connect|stub process", re.I
)
_SIZES = {"INT64": 8, "INT32": 4, "FP32": 4, "UINT8": 1}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What is wrong with a reply.

    Attributes:
        invariant: Which rule it breaks.
        text: What was seen.
        error: The whole error message, if there is one.
    """

    invariant: str
    text: str
    error: str = ""


def judge(case: Case, reply: Reply, secrets: Sequence[str]) -> tuple[list[Fault], list[str]]:
    """Judge a reply.

    Args:
        case: The request.
        reply: The reply.
        secrets: Texts that no error may contain.

    Returns:
        What is wrong with it, and for each fault that is allowed, why.
    """
    if isinstance(case.sent, RawHttp):
        faults, texts = _http_faults(case.sent, reply), [_http_error(reply)]
    else:
        faults, texts = _grpc_faults(case.sent, reply)
        if case.kind == "page" and not faults:
            faults = [Fault(invariant=rule, text=text) for rule, text in page_faults(case.sent, reply)]
    kept, reasons = [], []
    for fault in [*faults, *(fault for text in texts for fault in _text_faults(text, secrets))]:
        reason = allowed(reply.status, fault.error) if fault.invariant == TYPED else ""
        if reason:
            reasons.append(reason)
        else:
            kept.append(fault)
    return kept, reasons


def _grpc_faults(call: Call, reply: Reply) -> tuple[list[Fault], list[str]]:
    """Return what is wrong with an answer of gRPC, and its error messages."""
    if reply.status != "OK":
        rule = ""
        if reply.status in ("DEADLINE_EXCEEDED", "CANCELLED"):
            rule = "" if call.hurried else "answered in time"
        elif reply.status == "UNAVAILABLE" and _BROKEN.search(reply.text):
            rule = "connection and models stay up"
        elif reply.status not in _TYPED:
            rule = TYPED
        fault = Fault(invariant=rule, text=f"{reply.status}: {_short(reply.text)}", error=reply.text)
        return [fault] if rule else [], [reply.text]
    method = call.path.removeprefix(SERVICE)
    if method in CLOSED:
        return [Fault(invariant="closed protocols stay closed", text=f"{method} answered")], []
    answers, texts = [], []
    for message in reply.messages:
        if call.stream:
            streamed = pb.ModelStreamInferResponse.FromString(message)
            texts.append(streamed.error_message)
            answers += [] if streamed.error_message else [streamed.infer_response]
        elif call.path == INFER:
            answers.append(pb.ModelInferResponse.FromString(message))
    return [fault for answer in answers for fault in _answer_faults(answer)], texts


def _answer_faults(answer: pb.ModelInferResponse) -> list[Fault]:
    """Check that each output is as long as its shape says, and that its numbers are numbers."""
    faults = []
    for output, content in zip(answer.outputs, answer.raw_output_contents, strict=False):
        where = f"{answer.model_name}, output {output.name}"
        size = _SIZES.get(output.datatype)
        if size is not None and len(content) != size * math.prod(output.shape):
            faults.append(
                Fault(invariant="answers are whole", text=f"{where}: {len(content)} bytes, {list(output.shape)}")
            )
        elif output.datatype == "FP32":
            numbers = np.frombuffer(content, "<f4")
            # A padded place has the score -inf.
            if np.isnan(numbers).any() or (output.name != "scores" and not np.isfinite(numbers).all()):
                faults.append(Fault(invariant="answers are numbers", text=f"{where}: NaN or infinity"))
    return faults


def _http_faults(sent: RawHttp, reply: Reply) -> list[Fault]:
    """Return what is wrong with an answer of HTTP."""
    rule = ""
    if reply.status == "unreachable":
        rule = "connection and models stay up"
    elif not reply.status.isdigit():
        # The server may close the connection of a request that is broken or not complete.
        rule = "answered in time" if sent.whole or reply.status == "silent" else ""
    elif reply.status.startswith("5") and reply.status != "503":
        rule = TYPED
    elif sent.closed and reply.status.startswith("2"):
        rule = "closed protocols stay closed"
    text = f"HTTP {reply.status}: {_short(reply.text)}"
    return [Fault(invariant=rule, text=text, error=_http_error(reply))] if rule else []


def _http_error(reply: Reply) -> str:
    """Return the error's text: the `error` of a JSON body, else the body without its line breaks."""
    try:
        found = json.loads(reply.text)
    except (ValueError, RecursionError):
        return re.sub(r"[\r\n\t]", " ", reply.text)
    return str(found["error"]) if isinstance(found, dict) and "error" in found else ""


def _text_faults(text: str, secrets: Sequence[str]) -> Iterator[Fault]:
    """Yield what is wrong with the text of an error."""
    if len(text) > LONGEST_ERROR:
        yield Fault(invariant=SHORT, text=f"{_short(text)} ({len(text):,} characters)", error=text)
    if odd := {character for character in text if not character.isprintable()}:
        yield Fault(invariant=PRINTABLE, text=f"{_short(text)} (has {min(odd)!a})", error=text)
    if any(secret in text for secret in secrets):
        yield Fault(invariant="errors tell no secret", text=_short(text), error=text)


def _short(text: str) -> str:
    return ascii(text[:300])[1:-1]


def kind_of(invariant: str, text: str) -> str:
    """Return a key that is equal for findings that differ only in quoted parts and numbers."""
    said = re.sub(r"(?s)'.*'|\[request id: .*?\]|\b[0-9a-f]{8}\b|\d[\d,]*", "_", text)
    return f"{invariant}: {said[:60]}"
