"""Filters by grammar: valid, nearly valid, deeply nested and huge ones."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from shopwindow_loadtests.fuzz.requests import values

# The columns of the demo shop.
_TEXTS = {
    "colour": ["red", "blue", "teal", "black"],
    "brand": ["Nordvale", "Kesto"],
    "category": ["shoes", "bags", "kitchen"],
    "pattern": ["plain", "floral", "striped"],
}
_NUMBERS = ["price", "stock"]
_ODD = (
    *("", "null", "{", "}", "NaN", "{'a': 1}", '{"price": NaN}', '{"price": 1e999}', '{"\\ud800": 1}', "\ufeff{}"),
    *("{}\x00", '{"price": 1, "price": 2}', '{"a\\u0000b": 1}', '{"price": 0x10}'),
)
_COMPARISONS = ("eq", "ne", "lt", "lte", "gt", "gte")


def filter_text(rng: Random) -> str:
    """Return the text of a filter."""
    draw = rng.random()
    if draw < 0.35:
        return json.dumps(_expression(rng, rng.randint(0, 3)))
    if draw < 0.6:
        return json.dumps(_spoiled(rng, _expression(rng, rng.randint(0, 3))))
    if draw < 0.75:
        return values.mutated(rng, json.dumps(_expression(rng, 2)).encode(), rng.randint(1, 4)).decode(errors="replace")
    return rng.choice(_LARGE)(rng)


def _expression(rng: Random, depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(rng.randint(0, 3)):
        if depth and rng.random() < 0.5:
            join = rng.choice(("and", "or", "not"))
            if join == "not":
                found[join] = _expression(rng, depth - 1)
            else:
                found[join] = [_expression(rng, depth - 1) for _ in range(rng.randint(1, 3))]
        elif rng.random() < 0.5:
            column = rng.choice(list(_TEXTS))
            found[column] = _text_condition(rng, _TEXTS[column])
        else:
            found[rng.choice(_NUMBERS)] = _number_condition(rng)
    return found


def _text_condition(rng: Random, known: list[str]) -> Any:
    draw = rng.random()
    if draw < 0.4:
        return rng.choice(known)
    if draw < 0.6:
        return {rng.choice(("eq", "ne")): rng.choice(known)}
    if draw < 0.8:
        return {rng.choice(("in", "not_in")): rng.choices(known, k=rng.randint(1, 4))}
    return {"exists": rng.random() < 0.5}


def _number_condition(rng: Random) -> Any:
    value: float = rng.choice((rng.randint(-5, 200), round(rng.uniform(0, 300), 2), values.integer(rng)))
    if rng.random() < 0.3:
        return value
    return dict.fromkeys(rng.sample(_COMPARISONS, rng.randint(1, 2)), value)


def _spoiled(rng: Random, filter: dict[str, Any]) -> dict[str, Any]:
    """Return the filter with one part that is not allowed, somewhere in it."""
    inner = [value for value in filter.values() if isinstance(value, dict)]
    place = rng.choice([filter, *inner])
    key = rng.choice((*_TEXTS, *_NUMBERS, "title", "eq", "in", "and", "or", "not", "exists", values.string(rng)))
    odd: list[Any] = [
        None,
        [],
        {},
        [[]],
        [None],
        "",
        True,
        values.string(rng),
        values.number(rng),
        values.integer(rng),
        2**70,
    ]
    odd += [{"like": "r%"}, {"in": "red"}, {"in": []}, {"lt": "red"}, {"exists": 1}, {"eq": None}, {"not": {"eq": 1}}]
    place[key] = rng.choice(odd)
    return filter


def _deep(rng: Random) -> str:
    opening, closing = rng.choice((('{"not":', "}"), ('{"and":[', "]}"), ("[", "]"), ('{"or":[{},', "]}")))
    depth = rng.choice((7, 8, 9, 50, 1_000, 5_000))
    end = closing * depth if rng.random() < 0.7 else ""
    return opening * depth + "{}" + end


def _many(rng: Random) -> str:
    count = rng.choice((200, 201, 1_000, 1_001, 3_000))
    numbers: list[Any] = [rng.randint(0, 500) for _ in range(count)]
    kinds = ({"stock": {"in": numbers}}, {"or": [{"stock": value} for value in numbers]})
    return json.dumps(rng.choice(kinds))


def _long(rng: Random) -> str:
    length = rng.choice((16_300, 16_384, 20_000, 300_000))
    return rng.choice(('{"colour": "%s"}', '{"%s": 1}', '{"price": %s}')) % ("9" * length)


def _odd(rng: Random) -> str:
    return rng.choice((*_ODD, "[" * 9_000, values.string(rng)))


_LARGE = (_deep, _many, _long, _odd)
