"""Request parameters of the models that retrieve: read and checked once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from shopwindow.retrieval.errors import InvalidRequest
from shopwindow.retrieval.request.channel_choice import Channel, parse_channels, parse_fusion
from shopwindow.retrieval.request.filter_conditions import Filter
from shopwindow.retrieval.request.filter_reading import parse_filter
from shopwindow.retrieval.request.min_score_reading import FIELD as MIN_SCORE
from shopwindow.retrieval.request.min_score_reading import parse_min_score
from shopwindow.retrieval.request.page.page_request import PAGE_OUTPUTS, PAGE_PARAMETERS, PageRequest, parse_page
from shopwindow.retrieval.request.scalars import read_flag, read_integer, read_text

DEFAULT_TOP_K = 100
MAX_TOP_K = 10_000
DEFAULT_EFFORT = 5
MAX_EFFORT = 10
_MAX_UNIX_MS = 2**53  # the largest integer that JSON readers keep exact

_KNOWN = tuple(
    sorted(
        {
            *("allow_lower_effort", "channels", "deadline_unix_ms", "effort", "filter", "fusion", "min_score", "top_k"),
            *("towers", *PAGE_PARAMETERS),
        }
    )
)
# Triton passes these to the model beside the caller's parameters (request priority, HTTP headers, ...). We ignore them.
_RESERVED = ("binary_data_output", "headers", "priority", "timeout", "sequence_id", "sequence_start", "sequence_end")


@dataclass(frozen=True, kw_only=True)
class RequestParameters:
    """What a request asks for beside its input.

    Attributes:
        top_k: products to return per row, 1 to MAX_TOP_K.
        effort: search effort, 1 to MAX_EFFORT. 5 is the setting at which the index was calibrated when it was built;
            each step doubles or halves the number of candidates. A search never looks at fewer candidates than `top_k`
            needs. Exact engines ignore it.
        filter: conditions over attribute columns that every returned product satisfies.
        min_score: products with a lower score are left out. It applies to the scores of the reply: cosine similarity,
            BM25, or the merged score. `best*0.85` leaves out what scores less than 0.85 times the query's best product.
            `precision:0.8` leaves out what scores less than the calibration of the towers asks for if at least 80 % of
            the products are to be right; it is for queries in words and the embedding channel.
        min_score_of_best: X of `best*X`.
        min_precision: X of `precision:X`. `resolve` turns it into `min_score` before the search.
        min_similarity: the same for a request with boosts, which the calibration does not know: products are left out
            by their score before boosts.
        channels: where products come from.
        embedding_weight: weight of the embedding channel, 0 to 1, when two channels are merged; None merges by
            reciprocal rank.
        allow_lower_effort: whether a server may search with less effort if the deadline is near.
        deadline_unix_ms: when the caller stops waiting, as Unix time in milliseconds. A search does not start after it,
            so the caller's clock must be right. Without it, only the request's timeout counts.
        towers: hash of the towers that made the embeddings (output `towers` of `embed_query`). An index of other towers
            answers UNAVAILABLE.
        page: what a result page needs beside; None if the request asks for nothing of it.
    """

    top_k: int = DEFAULT_TOP_K
    effort: int = DEFAULT_EFFORT
    filter: Filter = ()
    min_score: float | None = None
    min_score_of_best: float | None = None
    min_precision: float | None = None
    min_similarity: float | None = None
    channels: Channel = Channel.EMBEDDING
    embedding_weight: float | None = None
    allow_lower_effort: bool = False
    deadline_unix_ms: int | None = None
    towers: str | None = None
    page: PageRequest | None = None

    @property
    def cuts_off(self) -> bool:
        """Whether `min_score` was given, in any form."""
        forms = self.min_score, self.min_score_of_best, self.min_precision, self.min_similarity
        return any(form is not None for form in forms)

    def uncut(self) -> RequestParameters:
        """Return the same parameters without `min_score`. `min_similarity` stays: only a `Ranking` uses it."""
        return replace(self, min_score=None, min_score_of_best=None, min_precision=None)


def parse_parameters(values: Mapping[str, Any]) -> RequestParameters:
    """Read and check the parameters of a request.

    Numbers may also come as decimal text, because some gRPC clients cannot send a floating-point parameter.

    Args:
        values: name -> value, as Triton or an in-process caller passes them. None means "not given".

    Raises:
        InvalidRequest: an unknown name, a wrong type, or a value outside its limits; names field, limit and value.
    """
    checked: dict[str, Any] = {}
    fusion: Any = None
    for name, value in values.items():
        if name in _RESERVED or name.startswith("triton_") or value is None:
            continue
        if name == "top_k":
            checked[name] = read_integer(name, value, 1, MAX_TOP_K)
        elif name == "effort":
            checked[name] = read_integer(name, value, 1, MAX_EFFORT)
        elif name == "min_score":
            checked |= _least_score(value)
        elif name == "allow_lower_effort":
            checked[name] = read_flag(name, value)
        elif name == "deadline_unix_ms":
            checked[name] = read_integer(name, value, 0, _MAX_UNIX_MS)
        elif name == "towers":
            checked[name] = read_text(name, value)
        elif name == "filter":
            checked[name] = parse_filter(value)
        elif name == "channels":
            checked[name] = parse_channels(value)
        elif name == "fusion":
            fusion = value  # read below, because it depends on `channels`, which may come later
        elif name not in PAGE_PARAMETERS:
            near = difflib.get_close_matches(name, _KNOWN, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise InvalidRequest(name[:60], f"unknown request parameter{hint}; known: {', '.join(_KNOWN)}")
    if fusion is not None:
        checked["embedding_weight"] = parse_fusion(fusion, checked.get("channels", Channel.EMBEDDING))
    checked["page"] = parse_page(values, checked.get("top_k", DEFAULT_TOP_K))
    parameters = RequestParameters(**checked)
    if parameters.min_precision is not None and parameters.channels != Channel.EMBEDDING:
        raise InvalidRequest(
            MIN_SCORE,
            "may be precision: only if channels is embedding, because only its scores are calibrated; got "
            f"'precision:{parameters.min_precision:g}' with the lexical channel; give a number or best*X",
        )
    return parameters


def _least_score(value: Any) -> dict[str, float]:
    """Return the attribute of `RequestParameters` that a value of `min_score` sets."""
    read = parse_min_score(value)
    if isinstance(read, float):
        return {"min_score": read}
    return {"min_score_of_best" if read.kind == "best" else "min_precision": read.value}


def with_outputs(parameters: RequestParameters, outputs: Iterable[str]) -> RequestParameters:
    """Return the parameters with an empty page if a request names outputs of a page, such as `total`, but no page."""
    if parameters.page is not None or PAGE_OUTPUTS.isdisjoint(outputs):
        return parameters
    return replace(parameters, page=PageRequest())
