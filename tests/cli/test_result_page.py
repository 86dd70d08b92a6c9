"""The options of a result page: what the commands send, and what they show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.command_line import fails, succeeds
from tests.client.sending.false_server import false_server, results

FACETS = {
    "colour": [{"value": "red", "count": 1200}, {"value": "blu\x1b[31m", "count": 1}],
    "price": [{"from": None, "to": 25, "count": 3}, {"from": 25, "to": 50.5, "count": 4}, {"from": 50.5, "count": 0}],
    "brand": [],
}
OPTIONS = (
    *("--top-k", 3, "--fields", "title,price,sizes", "--total", "--facet-over", 100, "--offset", 12),
    *("--facets", '{"colour": 9, "price": {"ranges": [null, 25, 50.5, null]}, "brand": 5}'),
    *("--collapse", "style:2", "--boost", '[{"column": "margin", "add": 0.1}]', "--sort", "price:desc"),
    *("--among", 500, "--min-score", "best*0.5"),
)


def texts(*values: Any) -> np.ndarray:
    return np.array([[b"" if value is None else json.dumps(value).encode() for value in values]], np.object_)


class Shop:
    """Answers every search with one page, and remembers what was asked."""

    def __init__(self) -> None:
        self.requests: list[Any] = []

    def __call__(self, request: Any, context: Any) -> bytes:
        self.requests.append(request)
        mug = {"title": "A mug\x1b[31m", "price": 7.0, "sizes": ["S", "M"]}
        outputs = {
            "attributes": texts(mug, {"title": "Long " * 20, "price": None, "sizes": None}, None),
            "total": np.array([[340]]),
            "facets": texts(FACETS),
            "group_sizes": np.array([[2, 1, 0]]),
            "group_members": texts([7, 9], [8], None),
            "generation": np.array([[5]]),
        }
        asked = {output.name for output in request.outputs}
        others = {name: value for name, value in outputs.items() if name in asked}
        return results([[7, 8, -1]], [[0.5, 0.75, -np.inf]], **others)

    def parameters(self) -> dict[str, Any]:
        """What the only request asked for."""
        (request,) = self.requests
        return {
            name: getattr(value, value.WhichOneof("parameter_choice"))
            for name, value in request.parameters.items()
            if name != "timeout"
        }


def test_a_page_is_shown_with_its_columns_groups_facets_and_places() -> None:
    shop = Shop()
    with false_server(shop) as url:
        printed = succeeds("retrieve", "mug", "--url", url, *OPTIONS)
    long = ("Long " * 20)[:47] + "…"
    assert printed.splitlines() == [
        "“mug”",
        f"               id   score  {'title':<48}  price  sizes  group  members",
        f"   13           7   0.500  {'A mug' + chr(92) + 'x1b[31m':<48}      7  S, M   ×2     7, 9",
        f"   14           8   0.750  {long}                ×1     8",
        r"  colour: red (1,200), blu\x1b[31m (1)",
        "  price: below 25 (3), 25 to 50.5 (4), from 50.5 (0)",
        "  brand: -",
        "  2 of 340 groups, places 13 to 14, next: --offset 14 --generation 5",
    ]
    sent = shop.parameters()
    assert json.loads(sent.pop("fields")) == ["title", "price", "sizes"]
    assert json.loads(sent.pop("facets"))["price"] == {"ranges": [None, 25, 50.5, None]}
    assert json.loads(sent.pop("collapse")) == {"by": "style", "members": 2}
    assert json.loads(sent.pop("boost")) == [{"column": "margin", "add": 0.1}]
    assert json.loads(sent.pop("sort")) == {"by": "price", "order": "desc", "among": 500}
    assert sent == {"top_k": 3, "facet_over": 100, "offset": 12, "min_score": "best*0.5"}


def test_no_page_follows_the_last_place_that_a_sort_orders() -> None:
    sorted_page = ("--top-k", 3, "--offset", 12, "--total", "--fields", "title,price,sizes", "--sort", "price")
    with false_server(Shop()) as url:
        last = succeeds("retrieve", "mug", "--url", url, *sorted_page, "--among", 14)
        other = succeeds("retrieve", "mug", "--url", url, *sorted_page, "--among", 15)
    assert last.splitlines()[-1] == "  2 of 340 products, places 13 to 14"
    assert other.splitlines()[-1] == "  2 of 340 products, places 13 to 14, next: --offset 14 --generation 5"


def test_json_carries_everything(tmp_path: Path) -> None:
    with false_server(Shop()) as url:
        printed = succeeds(
            "retrieve", "mug", "--url", url, *OPTIONS, "--json", "--html", tmp_path / "page.html", "--index", tmp_path
        )
    (page,) = json.loads(printed)
    assert (page["asked"], page["total"], page["generation"], page["facets"]) == ("mug", 340, 5, FACETS)
    assert [(one["product_id"], one["group_size"], one["group_members"]) for one in page["products"]] == [
        (7, 2, [7, 9]),
        (8, 1, [8]),
    ]
    assert page["products"][1]["attributes"] == {"title": "Long " * 20, "price": None, "sizes": None}


@pytest.mark.parametrize(
    ("like", "sent"),
    [
        ("7", {"ids": [7], "weights": [1.0]}),
        ("7,9=-0.5", {"ids": [7, 9], "weights": [1.0, -0.5]}),
        ("A-7=2,9,x=y", {"ids": ["A-7", "9", "x=y"], "weights": [2.0, 1.0, 1.0]}),
        ('"7"', {"ids": ["7"], "weights": [1.0]}),
    ],
)
def test_similar_asks_with_products_of_the_index(like: str, sent: dict[str, Any]) -> None:
    shop = Shop()
    with false_server(shop) as url:
        printed = succeeds(
            *("similar", "--like", like, "--url", url, "--top-k", 3, "--total"),
            *("--diversity", 0.3, "--fields", "title,price,sizes", "--same", 0.6, "--generation", 5),
        )
    (request,) = shop.requests
    assert request.model_name == "product_index"
    assert json.loads(request.raw_input_contents[0][4:]) == sent
    assert (shop.parameters()["diversity"], shop.parameters()["generation"]) == (0.3, 5)
    lines = printed.splitlines()
    assert lines[0] == f"like {like}: the same product"
    assert lines[2].startswith("    1           8   0.750  Long")
    assert lines[3] == f"like {like}: similar products"
    assert lines[-1] == "  2 of 340 products, places 1 to 2, next: --offset 2 --generation 5"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("retrieve", "mug", "--facets", "colour"), "facets: not valid JSON"),
        (("retrieve", "mug", "--boost", "[" * 10**5), "boost: not valid JSON"),
        (("retrieve", "mug", "--among", "5"), "--among: says how many places --sort orders, got 5 without --sort"),
        (("similar", "--like", "7,,8"), "--like: must look like ID"),
        (("similar", "--like", "7", "--title", "mug"), "give one of both"),
    ],
)
def test_what_cannot_be_sent_is_one_line(options: tuple[str, ...], named: str) -> None:
    with false_server(Shop()) as url:
        assert named in fails(*options, "--url", url)
