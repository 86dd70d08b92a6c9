"""Requests for result pages, and for products like others: valid, nearly valid, and hostile parameters."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np
from tritonclient.grpc import service_pb2 as pb

from shopwindow_loadtests.fuzz.requests import values
from shopwindow_loadtests.fuzz.requests.cases import INFER, Call, Model
from shopwindow_loadtests.fuzz.requests.filters import filter_text

# The columns of the demo shop.
NUMBERS = ("price", "stock")
COLUMNS = ("brand", "category", "article", "colour", "pattern", "style", "supplier", *NUMBERS)
PAGE = ("fields", "offset", "generation", "facets", "facet_over", "collapse", "boost", "sort", "diversity", "min_score")
MOST_LIKE = 1_000

_UNKNOWN = ("title", "sizes", "color", "", "__class__", "price\x00", "🧸", "\ud800", "x" * 16_300)
_ODD_TEXTS = (
    *("", " ", "null", "true", "NaN", "-Infinity", "1e999", "[", "{}", "[]", "[[]]", "{", '"', "0", "-1", "1.5"),
    *('"\\ud800"', '{"\\ud800": 1}', "\ufeff{}", "[" * 9_000, '{"a":' * 5_000, "9" * 5_000, '["' + "x" * 16_400),
    *('{"by": "price", "by": "stock", "among": 5}', '{"colour": 1, "colour": 2}', '["title", "title"]', "price "),
    *('[{"if": {"colour": "red"}, "add": 1, "add": 2}]', '{"ids": [1], "ids": [2]}', '{"ids": [1], "weights": [NaN]}'),
    *("best*", "best*0", "best*nan", "best*1e-320", "best*0.9*2", "precision:2", "precision:-1", "BEST*0.5"),
)
_NUMBERS = (0, -1, 1, 1_000, 1_001, 10_001, 2**31, 2**53 + 1, 2**63, 2**64, -(2**70), 0.5, 1e30, 1e308, -1e308, 1e-320)
_ODD: tuple[Any, ...] = (
    *_NUMBERS,
    None,
    True,
    [],
    {},
    "",
    [[]],
    [None],
    {"a": 1},
    "1",
    float("nan"),
    float("inf"),
    -float("inf"),
)


def page_request(rng: Random, models: Sequence[Model]) -> tuple[str, Call]:
    """Return a description and a call that is right but for its page parameters, or for its products to be like."""
    model = rng.choice([one for one in models if any(output.name == "facets" for output in one.outputs)])
    names = {tensor.name: tensor for tensor in model.inputs}
    message = pb.ModelInferRequest(model_name=model.name)
    rows = rng.choice((1, 1, 2, 3))
    if "like" in names and rng.random() < 0.6:
        _add(message, "like", [like_text(rng, model.products, hostile=rng.random() < 0.3) for _ in range(rows)])
    elif "embedding" in names:
        dim = names["embedding"].shape[-1]
        vectors = np.random.default_rng(rng.getrandbits(64)).standard_normal((rows, dim)).astype("<f4")
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        message.inputs.add(name="embedding", datatype="FP32", shape=[rows, dim])
        message.raw_input_contents.append(vectors.tobytes())
    for name in ("query", "title"):
        if name in names and (name != "query" or "like" not in names or rng.random() < 0.5):
            _add(message, name, [values.words(rng) for _ in range(rows)])
    if "image" in names:
        _add(message, "image", [b""] * rows)
    for name, value in page(rng, hostile=rng.random() < 0.45).items():
        set_value(message.parameters[name], value)
    if any(one.name == "query" for one in message.inputs) and rng.random() < 0.4:
        message.parameters["channels"].string_param = rng.choice(("lexical", "embedding,lexical"))
    if rng.random() < 0.4:
        message.parameters["filter"].string_param = filter_text(rng) if rng.random() < 0.2 else '{"price": {"lt": 60}}'
    for output in rng.sample(model.outputs, rng.randint(0, len(model.outputs))):
        message.outputs.add(name=output.name)
    given = ", ".join(sorted(message.parameters))
    return f"{model.name}: {given}", Call(path=INFER, messages=(message.SerializeToString(deterministic=True),))


def page(rng: Random, *, hostile: bool) -> dict[str, Any]:
    """Return some page parameters as a caller sends them, by name. Hostile ones have one or two that may be wrong."""
    chosen = {name: _MADE[name](rng) for name in rng.sample(PAGE, rng.choice((1, 2, 3, 5)))}
    if rng.random() < 0.8:
        chosen.pop("generation", None)  # most would name another one than the server has
    if not hostile:
        if "diversity" in chosen and rng.random() < 0.9:
            chosen.pop("sort", None)
        if "facet_over" in chosen:
            chosen.setdefault("facets", _facets(rng))
        return {name: _sent(value) for name, value in chosen.items()}
    if not chosen:
        return {}
    wrong = rng.sample(sorted(chosen), min(len(chosen), rng.choice((1, 1, 2))))
    sent = {name: _hostile(rng, value) if name in wrong else _sent(value) for name, value in chosen.items()}
    if rng.random() < 0.5:
        sent["top_k"] = rng.choice((1, 10, 100, 9_999, 10_000))
    return sent


def like_text(rng: Random, products: Sequence[int], *, hostile: bool) -> bytes:
    """Return a row of the input `like`.

    Args:
        rng: Where it comes from.
        products: Ids of products that the server has, at least three.
        hostile: Whether it may be wrong.
    """
    count = min(rng.choice((1, 1, 2, 5, MOST_LIKE)), len(products))
    like: dict[str, Any] = {"ids": rng.sample(products, count)}
    if rng.random() < 0.5:
        like["weights"] = [rng.choice((1, 0.5, -0.25, 2)) for _ in range(count)]
    if not hostile:
        return json.dumps(like).encode()
    draw = rng.random()
    if draw < 0.15:
        return values.text(rng)
    if draw < 0.3:
        return values.mutated(rng, json.dumps(like).encode(), rng.randint(1, 3))
    if draw < 0.4:
        return rng.choice(_ODD_TEXTS).encode("utf-8", "surrogatepass")
    if draw < 0.55:
        many = rng.choice((MOST_LIKE, MOST_LIKE + 1, 5_000))
        same = rng.random() < 0.3
        return json.dumps({"ids": [products[0]] * many if same else list(range(many))}).encode()
    if draw < 0.7:  # sums that overflow, vanish, or point away
        like = {"ids": list(products[:2]), "weights": rng.choice(([1e308, 1e308], [1e-320, -1e-320], [-1, -2]))}
    return json.dumps(_spoiled(rng, like)).encode()


def set_value(parameter: pb.InferParameter, value: Any) -> None:
    """Give a parameter of a request a value; None leaves it without one."""
    if isinstance(value, bool):
        parameter.bool_param = value
    elif isinstance(value, int):
        parameter.int64_param = max(-(2**63), min(2**63 - 1, value))
    elif isinstance(value, float):
        parameter.double_param = value
    elif value is not None:
        parameter.string_param = value.encode(errors="replace").decode()


def _add(message: pb.ModelInferRequest, name: str, texts: Sequence[bytes]) -> None:
    message.inputs.add(name=name, datatype="BYTES", shape=[len(texts), 1])
    message.raw_input_contents.append(b"".join(map(values.counted, texts)))


def _sent(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value


def _hostile(rng: Random, value: Any) -> Any:
    draw = rng.random()
    if draw < 0.5:
        return _sent(_spoiled(rng, value))
    if draw < 0.65:
        return values.mutated(rng, str(_sent(value)).encode(), rng.randint(1, 3)).decode(errors="replace")
    if draw < 0.85:
        return rng.choice(_ODD_TEXTS)
    if draw < 0.95:
        return rng.choice((True, values.integer(rng), values.number(rng)))
    return values.string(rng)


def _spoiled(rng: Random, value: Any) -> Any:
    """Return a value with one part of it, at any depth, replaced by what may not be there."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = rng.choice(sorted(value))
        if rng.random() < 0.2:
            other = rng.choice((*_UNKNOWN, *COLUMNS, "ranges", "among", "members", "now", "half_life_days"))
            return {**value, other: value[key] if rng.random() < 0.5 else rng.choice(_ODD)}
        return {**value, key: _spoiled(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.8:
        place = rng.randrange(len(value))
        if rng.random() < 0.2:
            return value * rng.choice((2, 60))
        return [*value[:place], _spoiled(rng, value[place]), *value[place + 1 :]]
    if isinstance(value, str) and rng.random() < 0.5:
        return rng.choice((*_UNKNOWN, *COLUMNS))
    return rng.choice(_ODD)


def _facets(rng: Random) -> dict[str, Any]:
    if rng.random() < 0.2:
        return dict.fromkeys(COLUMNS, 1_000)
    ranges: dict[str, Any] = {"ranges": rng.choice(([0, 25, 50, None], [None, 10], [0.5, 1.5, 100]))}
    return {
        name: ranges if name in NUMBERS and rng.random() < 0.5 else rng.choice((1, 10, 1_000))
        for name in rng.sample(COLUMNS, rng.randint(1, 4))
    }


def _boost(rng: Random) -> list[dict[str, Any]]:
    terms: list[dict[str, Any]] = []
    for _ in range(rng.choice((1, 2, 10))):
        amount = rng.choice((0.05, 0.5, 2, 1e3))
        terms.append(
            rng.choice(
                (
                    {"if": {"colour": "red"}, "add": amount},
                    {"if": {"price": {"lt": 50}}, "multiply": amount},
                    {"column": rng.choice(NUMBERS), "add": amount / 100},
                    {"column": rng.choice(NUMBERS), "multiply": amount / 100},
                )
            )
        )
    return terms


_MADE: dict[str, Any] = {
    "fields": lambda rng: rng.sample(("title", *COLUMNS), rng.randint(1, len(COLUMNS))),
    "offset": lambda rng: rng.choice((0, 0, 10, 3_590, 9_900)),
    "generation": lambda rng: rng.choice((1, 1, 2)),
    "facets": _facets,
    "facet_over": lambda rng: rng.choice((1, 100, 10_000)),
    "collapse": lambda rng: (
        rng.choice(COLUMNS)
        if rng.random() < 0.5
        else {"by": rng.choice(COLUMNS), "members": rng.choice((0, 1, 5, 100))}
    ),
    "boost": _boost,
    "sort": lambda rng: {
        "by": rng.choice(COLUMNS),
        "order": rng.choice(("asc", "desc")),
        "among": rng.choice((1, 500, 10_000)),
    },
    "diversity": lambda rng: rng.choice((0.001, 0.3, 1.0)),
    "min_score": lambda rng: rng.choice((0.1, -2.0, "0.2", "best*0.9", "best*1", "precision:0.8")),
}
