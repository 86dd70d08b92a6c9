"""Inference over HTTP: JSON bodies, the binary extension with sizes that lie, compressed and chunked bodies."""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Sequence
from random import Random
from typing import Any

from shopwindow_loadtests.fuzz.requests import values
from shopwindow_loadtests.fuzz.requests.cases import Model, RawHttp
from shopwindow_loadtests.fuzz.requests.filters import filter_text
from shopwindow_loadtests.fuzz.requests.pages import page
from shopwindow_loadtests.fuzz.requests.photos import photo

_LIES = (-1, 0, 1, 3, 10_000, 2**31, 2**32, 2**63 - 1, 2**64, "5", "x", 1.5, None, True, [1])
_DEPTHS = (10, 500, 20_000)


def http_inference(rng: Random, models: Sequence[Model]) -> tuple[str, RawHttp]:
    """Return a description and a POST to a model whose head is right and whose body may be anything."""
    model = rng.choice(models)
    maker = rng.choice((_plain, _plain, _spoiled, _spoiled, _mutated, _deep, _generate, _binary, _binary, _binary))
    body, split, whole = maker(rng, model)
    headers = {"Host": "localhost", "Content-Type": "application/json"}
    if split is not None:
        headers["Inference-Header-Content-Length"] = split
    action = rng.choice(("generate", "generate_stream")) if maker is _generate else "infer"
    path = f"/v2/models/{model.name}/{action}"
    how = [maker.__name__.strip("_")]
    if rng.random() < 0.15:
        body = _compressed(rng, body, headers)
        how.append("compressed")
    if rng.random() < 0.25:
        data, whole = _chunked(rng, body, whole)
        headers["Transfer-Encoding"] = "chunked"
        how.append("chunked")
    else:
        length, lies = _length(rng, len(body))
        headers["Content-Length"] = length
        whole = whole and not lies
        how += ["length lies"] * lies
        data = body
    pieces = [head(f"POST {path} HTTP/1.1", headers), *_cut(rng, data)]
    return f"{model.name}: {' '.join(how)}", RawHttp(port="http", pieces=tuple(pieces), whole=whole)


def head(line: str, headers: dict[str, str]) -> bytes:
    """Return the head of a request."""
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{line}\r\n{fields}\r\n".encode("latin-1", "replace")


def _json(rng: Random, model: Model) -> dict[str, Any]:
    rows = rng.choice((1, 1, 2, model.max_rows, model.max_rows + 1))
    inputs = []
    for tensor in model.inputs:
        if tensor.name == "like":  # takes the place of `embedding`
            continue
        shape = [rows, *(side if side > 0 else 3 for side in tensor.shape[1:])]
        count = math.prod(shape)
        value: Any = values.words(rng).decode() if tensor.datatype == "BYTES" else 0
        if tensor.name == "image":
            value = ""
        inputs.append(
            {"name": tensor.name, "shape": shape, "datatype": tensor.datatype, "data": [value] * min(count, 3_000)}
        )
    request: dict[str, Any] = {"inputs": inputs, "id": "fuzz"}
    if rng.random() < 0.5:
        request["parameters"] = {"top_k": rng.choice((1, 5, 0, -1, "7", 1.5)), "filter": filter_text(rng)}
    elif rng.random() < 0.3:
        request["parameters"] = page(rng, hostile=rng.random() < 0.5)
    if rng.random() < 0.3:
        request["outputs"] = [{"name": output.name} for output in model.outputs]
    return request


def _plain(rng: Random, model: Model) -> tuple[bytes, str | None, bool]:
    return json.dumps(_json(rng, model)).encode(), None, True


def _spoiled(rng: Random, model: Model) -> tuple[bytes, str | None, bool]:
    request = _json(rng, model)
    places: list[Any] = [request, *request["inputs"]]
    for _ in range(rng.choice((1, 1, 2))):
        place = rng.choice(places)
        key = rng.choice((*place, "parameters", "outputs", "shape", values.string(rng)))
        odd: tuple[Any, ...] = (
            None,
            [],
            {},
            "",
            -1,
            2**63,
            1e308,
            True,
            [[]],
            [None],
            [{}],
            {"a": {"b": 1}},
            [1, "a"],
            values.string(rng),
        )
        place[key] = rng.choice((*odd, [values.string(rng)] * rng.choice((1, 3)), [[["red"]]], {"classification": 2}))
    return json.dumps(request).encode(), None, True


def _mutated(rng: Random, model: Model) -> tuple[bytes, str | None, bool]:
    return values.mutated(rng, json.dumps(_json(rng, model)).encode(), rng.choice((1, 2, 5))), None, True


def _deep(rng: Random, model: Model) -> tuple[bytes, str | None, bool]:
    depth = rng.choice(_DEPTHS)
    opening, closing = rng.choice(((b"[", b"]"), (b'{"a":', b"}")))
    nested = opening * depth + b"1" + (closing * depth if rng.random() < 0.7 else b"")
    name = model.inputs[0].name.encode()
    whole = b'{"inputs":[{"name":"%s","shape":[1,1],"datatype":"BYTES","data":%s}]}' % (name, nested)
    return rng.choice((nested, whole)), None, True


def _generate(rng: Random, model: Model) -> tuple[bytes, str | None, bool]:
    fields: dict[str, Any] = {tensor.name: values.string(rng) for tensor in model.inputs}
    fields[rng.choice(("parameters", "top_k", "id", values.string(rng)))] = rng.choice(
        (1, {}, [], "x", values.integer(rng))
    )
    return json.dumps(fields).encode(), None, True


def _binary(rng: Random, model: Model) -> tuple[bytes, str | None, bool]:
    """Raw tensors after the JSON; one of the sizes may lie."""
    request = _json(rng, model)
    blobs = []
    for tensor in request["inputs"]:
        del tensor["data"]
        rows = tensor["shape"][0]
        if tensor["datatype"] == "BYTES":
            made = [
                photo(rng)[1] if tensor["name"] == "image" and rng.random() < 0.2 else values.text(rng)
                for _ in range(rows)
            ]
            blob = b"".join(map(values.counted, made))
        else:
            blob = rng.randbytes(4 * math.prod(tensor["shape"]))
        if rng.random() < 0.2:
            blob = values.mutated(rng, blob, 1)
        blobs.append(blob)
        size = rng.choice(_LIES) if rng.random() < 0.3 else len(blob)
        tensor["parameters"] = {"binary_data_size": size}
    if rng.random() < 0.3:
        request.setdefault("parameters", {})["binary_data_output"] = rng.choice((True, 1, "x", None))
    text = json.dumps(request).encode()
    split = (
        rng.choice(("-1", "0", "1", str(2**31), str(2**64), "x", "", "1 1")) if rng.random() < 0.25 else str(len(text))
    )
    return text + b"".join(blobs), split, True


def _compressed(rng: Random, body: bytes, headers: dict[str, str]) -> bytes:
    headers["Content-Encoding"] = rng.choice(("gzip", "deflate", "gzip", "br", "identity", "gzip, gzip", "x"))
    draw = rng.random()
    if draw < 0.1:
        body = b" " * (8 * values.MIB)  # 8 KB compressed
    compressed = zlib.compress(body) if headers["Content-Encoding"] == "deflate" else gzip.compress(body, mtime=0)
    return values.mutated(rng, compressed, 1) if 0.1 <= draw < 0.4 else compressed


def _length(rng: Random, true: int) -> tuple[str, bool]:
    """Return a Content-Length, and whether it lies."""
    if rng.random() < 0.85:
        return str(true), False
    return rng.choice(
        (str(true + rng.choice((1, 100, 10**9))), str(max(0, true - 1)), "-1", "x", str(2**64), "+5", "0x10")
    ), True


def _chunked(rng: Random, body: bytes, whole: bool) -> tuple[bytes, bool]:
    """Return the body in chunks, and whether an answer is owed."""
    lies = rng.random() < 0.5
    size = rng.choice((1, 7, 100, 4_000)) if len(body) < 4_000 else 65_536
    chunks = [body[start : start + size] for start in range(0, len(body), size)]
    lines = [b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks]
    if lies and lines:
        place = rng.randrange(len(lines))
        said = rng.choice(
            (b"0", b"1", b"ffffffff", b"ffffffffffffffff", b"-1", b"", b"zz", b"5;x=" + b"y" * 3_000, b"0x5")
        )
        lines[place] = said + b"\r\n" + chunks[place] + rng.choice((b"\r\n", b"", b"\n", b"XX"))
    end = rng.choice((b"0\r\n\r\n", b"", b"0\r\n", b"0\r\nTrailer: x\r\n\r\n")) if lies else b"0\r\n\r\n"
    return b"".join(lines) + end, whole and not lies


def _cut(rng: Random, data: bytes) -> list[bytes]:
    if rng.random() < 0.8 or len(data) < 2:
        return [data]
    place = rng.randrange(1, len(data))
    return [data[:place], data[place:]]
