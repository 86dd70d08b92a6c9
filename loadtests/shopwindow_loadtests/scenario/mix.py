"""What shoppers ask for: kinds of requests and how often each comes, from a YAML file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import yaml

from shopwindow_loadtests.scenario.options import LoadTestOptions

KINDS = ("text", "similar", "composed")


@dataclass(frozen=True, kw_only=True)
class Request:
    """One kind of request.

    Attributes:
        kind: `text`: words. `similar`: a product's photo, or its title when it has none. `composed`: a photo and words.
        weight: How often it comes, in proportion to the other weights.
        batch: Queries or products in one request.
        label: Stands for the kind in the name; the kind, with "+filter" where there is one, when None.
        filter: Conditions on attributes, as the client takes them.
        top_k: Products a query.
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
        """What its samples are counted under: kind and batch size, never the words."""
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
    """All that is sent.

    Attributes:
        requests: The kinds.
        queries: File of queries, the most popular first; see `read_queries`. For `text` and `composed`.
        products: Parquet file with title and image, the most popular first. For `similar` and `composed`.
        zipf: How much the popular dominate, in queries and products.
    """

    requests: tuple[Request, ...]
    queries: Path | None = None
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
            if kinds & users and (path is None or not path.is_file()):
                raise ValueError(f"{name} must be a file for {' and '.join(sorted(kinds & users))}, got {path}")
        names = [request.name for request in self.requests]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two requests are both named {twice[0]!r}: give one of them a label")

    @property
    def models(self) -> list[str]:
        """The models that are called."""
        return sorted({"retrieve" if request.kind == "text" else "retrieve_similar" for request in self.requests})


def read_mix(options: LoadTestOptions) -> Mix:
    """The mix of a load test: its YAML file, or what its options say.

    The file has `queries` and `products` (paths, seen from the file), `zipf`, and `requests`: a list of `Request`.

    Raises:
        ValueError: Names the file and what is wrong with it.
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
    """A mapping out of a YAML file, with no key that a dataclass doesn't have."""
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
