"""The request parameters `channels` and `fusion`."""

from __future__ import annotations

from enum import IntFlag
from typing import Any

from shopwindow.retrieval.errors import InvalidRequest, show

_WEIGHTED = "weighted:"


class Channel(IntFlag):
    """Where a product comes from. The output `channels` of `retrieve` is a bit mask of these."""

    EMBEDDING = 1
    LEXICAL = 2
    BOTH = 3


_NAMES = {"embedding": Channel.EMBEDDING, "lexical": Channel.LEXICAL}


def parse_channels(value: Any) -> Channel:
    """Read the parameter `channels`: "embedding", "lexical", or both with a comma between them.

    Raises:
        InvalidRequest: the value is anything else.
    """
    names = [name.strip() for name in value.split(",")] if isinstance(value, str) else []
    if not names or not set(names) <= set(_NAMES) or len(set(names)) < len(names):
        raise InvalidRequest("channels", f"must be embedding, lexical or embedding,lexical, got {show(value)}")
    found = Channel(0)
    for name in names:
        found |= _NAMES[name]
    return found


def parse_fusion(value: Any, channels: Channel) -> float | None:
    """Read the parameter `fusion`: "rrf", or "weighted:" and the weight of the embedding channel.

    Args:
        value: as the caller gave it.
        channels: the channels of the same request.

    Returns:
        The weight, 0 to 1; None for reciprocal-rank fusion.

    Raises:
        InvalidRequest: the value is anything else, or the request does not have two channels to merge.
    """
    weight = None
    if value != "rrf":
        try:
            weight = float(value.removeprefix(_WEIGHTED)) if value.startswith(_WEIGHTED) else None
        except (AttributeError, ValueError):
            weight = None
        if weight is None or not 0 <= weight <= 1:
            raise InvalidRequest("fusion", f"must be rrf, or weighted: and a number from 0 to 1, got {show(value)}")
    if channels != Channel.BOTH:
        raise InvalidRequest(
            "fusion", f"merges two channels: ask for channels 'embedding,lexical', or leave fusion out; got {value!r}"
        )
    return weight
