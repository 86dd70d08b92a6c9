"""Request parameters: what a caller may ask of a retrieving model, read and checked once."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shopwindow.retrieval.errors import InvalidRequest, show
from shopwindow.retrieval.request.channel_choice import Channel, parse_channels, parse_fusion
from shopwindow.retrieval.request.filter_reading import Filter, parse_filter

DEFAULT_TOP_K = 100
MAX_TOP_K = 10_000
DEFAULT_EFFORT = 5
MAX_EFFORT = 10
_MAX_UNIX_MS = 2**53  # JSON's own limit

_KNOWN = (
    "allow_lower_effort",
    "channels",
    "deadline_unix_ms",
    "effort",
    "filter",
    "fusion",
    "min_score",
    "top_k",
    "towers",
)
# Triton hands these to the model beside the caller's own (request priority, HTTP headers, ...): not ours to judge.
_RESERVED = ("binary_data_output", "headers", "priority", "timeout", "sequence_id", "sequence_start", "sequence_end")


@dataclass(frozen=True, kw_only=True)
class RequestParameters:
    """What a request asks for beside its input.

    Attributes:
        top_k: products wanted per row, 1 to MAX_TOP_K.
        effort: search effort 1 to MAX_EFFORT; 5 is the setting the index was calibrated at when built, each step
            doubles or halves how many candidates it looks at. Exact engines ignore it.
        filter: conditions over attribute columns that every returned product satisfies.
        min_score: products scoring below are left out; None keeps all. It refers to the scores of the reply: cosine
            similarity, BM25 or what merging made of them.
        channels: where products come from.
        embedding_weight: the weight, 0 to 1, of the embedding channel when two are merged; None merges by reciprocal
            rank.
        allow_lower_effort: whether a server may search with less effort when the time until the deadline is short.
        deadline_unix_ms: when the caller stops waiting, Unix time in milliseconds by a clock that is right; a server
            answers nothing after it. None leaves it to the request's timeout.
        towers: hash of the towers that the caller's embeddings are of; None takes them for the index's.
    """

    top_k: int = DEFAULT_TOP_K
    effort: int = DEFAULT_EFFORT
    filter: Filter = ()
    min_score: float | None = None
    channels: Channel = Channel.EMBEDDING
    embedding_weight: float | None = None
    allow_lower_effort: bool = False
    deadline_unix_ms: int | None = None
    towers: str | None = None


def parse_parameters(given: Mapping[str, Any]) -> RequestParameters:
    """Check a request's parameters.

    Numbers may come as decimal text, since not every gRPC client can send a floating-point parameter.

    Args:
        given: name -> value, as Triton or an in-process caller passes them. None stands for "not given".

    Raises:
        InvalidRequest: an unknown name, a wrong type, or a value outside its limits; names field, limit and value.
    """
    values: dict[str, Any] = {}
    fusion: Any = None
    for name, value in given.items():
        if name in _RESERVED or name.startswith("triton_") or value is None:
            continue
        if name == "top_k":
            values[name] = _integer(name, value, 1, MAX_TOP_K)
        elif name == "effort":
            values[name] = _integer(name, value, 1, MAX_EFFORT)
        elif name == "min_score":
            values[name] = _number(name, value)
        elif name == "allow_lower_effort":
            values[name] = _flag(name, value)
        elif name == "deadline_unix_ms":
            values[name] = _integer(name, value, 0, _MAX_UNIX_MS)
        elif name == "towers":
            values[name] = _text(name, value)
        elif name == "filter":
            values[name] = parse_filter(value)
        elif name == "channels":
            values[name] = parse_channels(value)
        elif name == "fusion":
            fusion = value  # to be judged beside `channels`, which may come later
        else:
            near = difflib.get_close_matches(name, _KNOWN, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise InvalidRequest(name[:60], f"unknown request parameter{hint}; known: {', '.join(_KNOWN)}")
    if fusion is not None:
        values["embedding_weight"] = parse_fusion(fusion, values.get("channels", Channel.EMBEDDING))
    return RequestParameters(**values)


def _integer(field: str, value: Any, low: int, high: int) -> int:
    number = value
    if isinstance(value, str):
        try:
            number = int(value)
        except ValueError:
            number = None
    if isinstance(number, bool) or not isinstance(number, int) or not low <= number <= high:
        raise InvalidRequest(field, f"must be an integer from {low} to {high}, got {show(value)}")
    return number


def _flag(field: str, value: Any) -> bool:
    flag = {"true": True, "false": False}.get(value) if isinstance(value, str) else value
    if not isinstance(flag, bool):
        raise InvalidRequest(field, f"must be true or false, got {show(value)}")
    return flag


def _text(field: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidRequest(field, f"must be a string, got {show(value)}")
    return value


def _number(field: str, value: Any) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise InvalidRequest(field, f"must be a finite number, got {show(value)}")
    return number
