"""The mix of requests: which kinds there are and how often each comes, read from a YAML file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import yaml

from shopwindow_loadtests.scenario.options import LoadTestOptions
from shopwindow_loadtests.scenario.queries import read_queries

KINDS = ("text", "similar", "composed")


@dataclass(frozen=True, kw_only=True)
class Request:
    """One kind of request.

    Attributes:
        kind: `text`: words. `similar`: a product's photo, or its title when it has none. `composed`: a photo and words.
        weight: How often it comes, relative to the other weights.
        batch: Queries or products in one request.
        label: Replaces the kind in the name. None: the kind, followed by "+filter" if there is a filter.
        filter: Conditions on attributes, in the client's form.
        top_k: Products for each query.
        effort: Search effort, 1 to 10.
    """

    kind: str
    weight: float = 1.0
    batch: int = 1
    label: str | None = None
    filter: Mapping[str, Any] | None = None
    top_k: int = 100
    effort: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if not isinstance(self.weight, (int, float)) or not self.weight > 0:
            raise ValueError(f"weight must be above 0, got {self.weight!r}")
        for name in ("batch", "top_k"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ValueError(f"{name} must be a number of at least 1, got {getattr(self, name)!r}")

    @property
    def name(self) -> str:
        """The name under which its samples are counted: kind and batch size, never the words."""
        return f"{self.group} batch={self.batch}"

    @property
    def group(self) -> str:
        """The name without the batch size."""
        return self.label or self.kind + ("+filter" if self.filter else "")

    @property
    def filter_json(self) -> str:
        """The filter as text, empty without one."""
        return json.dumps(self.filter, sort_keys=True) if self.filter else ""


@dataclass(frozen=True, kw_only=True)
class Mix:
    """Everything that a load test sends.

    Attributes:
        requests: The kinds of requests.
        queries: File of queries, the most popular first, see `read_queries`; or the queries themselves. For `text` and
            `composed`.
        products: Parquet file with title and image, the most popular first. For `similar` and `composed`.
        zipf: How strongly popular queries and products dominate.
    """

    requests: tuple[Request, ...]
    queries: Path | tuple[str, ...] | None = None
    products: Path | None = None
    zipf: float = 1.0

    def __post_init__(self) -> None:
        if not self.requests:
            raise ValueError("requests must name at least one kind")
        if not isinstance(self.zipf, (int, float)) or not 0 <= self.zipf < float("inf"):
            raise ValueError(f"zipf must be finite and at least 0, got {self.zipf!r}")
        kinds = {request.kind for request in self.requests}
        for name, users in (("queries", {"text", "composed"}), ("products", {"similar", "composed"})):
            path = getattr(self, name)
            if kinds & users and not isinstance(path, tuple) and (path is None or not path.exists()):
                raise ValueError(f"{name} must be a file for {' and '.join(sorted(kinds & users))}, got {path}")
        names = [request.name for request in self.requests]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two requests are both named {twice[0]!r}: give one of them a label")

    def texts(self) -> list[str]:
        """Return the distinct queries, the most popular first.

        Raises:
            ValueError: See `read_queries`.
        """
        return read_queries(self.queries) if isinstance(self.queries, Path) else list(self.queries or ())

    @property
    def models(self) -> list[str]:
        """The names of the models that these requests call."""
        return sorted({"retrieve" if request.kind == "text" else "retrieve_similar" for request in self.requests})


def read_mix(options: LoadTestOptions) -> Mix:
    """Return the mix of a load test, from its YAML file or from its options.

    The file has `queries` and `products` (paths relative to the file), `zipf`, and `requests`: a list of `Request`.

    Raises:
        ValueError: The file is wrong; the message names it and what is wrong.
    """
    default = Request(kind="text", batch=options.batch, top_k=options.top_k)
    if options.mix is None:
        return Mix(requests=(default,), queries=options.queries, zipf=options.zipf)
    try:
        given = known_keys(yaml.safe_load(options.mix.read_text(encoding="utf-8")), Mix)
        rows = given.pop("requests", None)
        if not isinstance(rows, list):
            raise ValueError(f"requests must be a list, got {rows!r}")
        base = replace(default, batch=1)
        requests = tuple(_request(base, known_keys(row, Request), number) for number, row in enumerate(rows))
        for name in ("queries", "products"):
            if given.get(name) is not None:
                given[name] = options.mix.parent / str(given[name])
        return Mix(requests=requests, **{"zipf": options.zipf, **given})
    except (ValueError, TypeError, yaml.YAMLError) as error:
        raise ValueError(f"{options.mix}: {error}") from error


def known_keys(given: Any, kind: type) -> dict[str, Any]:
    """Return a mapping from a YAML file after checking that a dataclass has all of its keys."""
    names = [field.name for field in fields(kind)]
    if not isinstance(given, dict):
        raise ValueError(f"must have the keys {', '.join(names)}, got {given!r}")
    unknown = [str(key) for key in given if key not in names]
    if unknown:
        raise ValueError(f"unknown key {unknown[0]!r}; there are {', '.join(names)}")
    return dict(given)


def _request(base: Request, given: dict[str, Any], number: int) -> Request:
    try:
        return replace(base, **given)
    except (ValueError, TypeError) as error:
        raise ValueError(f"requests[{number}]: {error}") from error
