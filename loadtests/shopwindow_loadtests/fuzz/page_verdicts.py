"""Judges the answers to requests for result pages: refusals name a field, and the outputs agree with each other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
from tritonclient.grpc import service_pb2 as pb

from shopwindow_loadtests.fuzz.requests.cases import Call
from shopwindow_loadtests.fuzz.sending import Reply

FIELDS, AGREE = "refusals name a field", "pages are consistent"
_KINDS = {"INT64": "<i8", "FP32": "<f4"}
_FIELD = re.compile(r"^(?:\[request id: .*?\] )?(\w+)[.:[]|'(\w+)' parameter")  # the second is how Triton says it
_CODES = ("INVALID_ARGUMENT", "NOT_FOUND")


def page_faults(call: Call, reply: Reply) -> Iterator[tuple[str, str]]:
    """Yield each rule that the answer to a page request of the right form breaks, and how."""
    sent = pb.ModelInferRequest.FromString(call.messages[0])
    if reply.status in _CODES:
        field = _FIELD.search(reply.text)
        named = field[1] or field[2] if field else ""
        if named not in {*sent.parameters, *(one.name for one in sent.inputs)}:
            yield FIELDS, f"{reply.status}: {reply.text[:300]!a}"
    elif reply.status == "OK":
        found = pb.ModelInferResponse.FromString(reply.messages[0])
        outputs = {
            one.name: _values(one, content)
            for one, content in zip(found.outputs, found.raw_output_contents, strict=True)
        }
        try:
            yield from ((AGREE, text) for text in _disagreements(sent, outputs))
        except (ValueError, TypeError, KeyError) as error:
            yield AGREE, f"{type(error).__name__}: {error}"


def _disagreements(sent: pb.ModelInferRequest, outputs: dict[str, np.ndarray]) -> Iterator[str]:
    """Yield in what the outputs contradict each other or the request."""
    # Triton cuts the text of a parameter at a NUL.
    given = {name: value.string_param.partition("\0")[0] for name, value in sent.parameters.items()}
    ids = outputs.get("product_ids")
    if ids is not None:
        held = ids >= 0
        for row in ids:
            found = row[row >= 0]
            if len(np.unique(found)) < len(found) or (row[: len(found)] < 0).any():
                yield "product_ids: a product comes twice, or after padding"
        for name in ("attributes", "group_sizes", "group_members"):
            if (array := outputs.get(name)) is not None and array.shape[1]:
                there = array != (0 if array.dtype.kind == "i" else b"")
                if array.shape != ids.shape or (there != held).any():
                    yield f"{name}: padding differs from that of product_ids"
        if (total := outputs.get("total")) is not None and (held.sum(axis=1) > total[:, 0]).any():
            yield f"total: {total.min()} products qualify, and more are shown"
    for text in _texts(outputs, "attributes"):
        if list(_json(text)) != json.loads(given["fields"]):
            yield "attributes: not the fields that were asked for"
    for place, text in enumerate(_texts(outputs, "facets")):
        counts = _json(text)
        if list(counts) != list(json.loads(given["facets"])):
            yield "facets: not the columns that were asked for"
        every_product = "total" in outputs and given.keys().isdisjoint(("filter", "facet_over"))
        most = outputs["total"][place, 0] if every_product else np.inf
        for one in chain.from_iterable(counts.values()):
            if one["count"] > most:
                yield "facets: a value has more products than qualify"
            if "value" in one and one["count"] < 1:
                yield "facets: a value without products is listed"
    if "group_members" in outputs and "group_sizes" in outputs and outputs["group_members"].shape[1]:
        most = json.loads(given["collapse"])["members"]
        for text, size in zip(outputs["group_members"].flat, outputs["group_sizes"].flat, strict=True):
            if text and len(set(_json(text))) != min(most, size):
                yield f"group_members: {len(_json(text))} of a group of {size}, asked for {most}"


def _texts(outputs: dict[str, np.ndarray], name: str) -> list[bytes]:
    return [text for text in outputs[name].flat if text] if name in outputs else []


def _values(output: Any, content: bytes) -> np.ndarray:
    if output.datatype in _KINDS:
        return np.frombuffer(content, _KINDS[output.datatype]).reshape(output.shape)
    texts, start = [], 0
    while start < len(content):
        end = start + 4 + int.from_bytes(content[start : start + 4], "little")
        texts.append(content[start + 4 : end])
        start = end
    found = np.empty(len(texts), np.object_)
    found[:] = texts
    return found.reshape(output.shape)


def _json(text: bytes) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)
