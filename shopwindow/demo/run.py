"""`make demo`: start Triton on the demo shop, search it in eight ways, update it, measure 500 requests, stop."""

from __future__ import annotations

import os
import platform
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from shopwindow.base.default_places import INDEX, REPOSITORY, SHOP
from shopwindow.cli.server.show import is_served, look_up, page, section, table
from shopwindow.demo.catalogue_life import fresh_home, show_update
from shopwindow.demo.photos import photo
from shopwindow.demo.result_page import show_page
from shopwindow.server import ServerOptions, TritonServer
from shopwindow_client import Product, RetrievalClient

TOP_K = 5
REQUESTS = 500
PAGE = Path("build/demo/results.html")
HOME = Path("build/demo/index")
MUG = Path("build/demo/mug.jpg")  # the commands of the README use it


@dataclass(frozen=True, kw_only=True)
class Search:
    """One search of the demo: a query or a product, and the parameters."""

    asked: str
    query: str | None = None
    product: Product | None = None
    parameters: dict[str, Any] = field(default_factory=dict)


def searches() -> list[Search]:
    """Return the searches of the demo."""
    cheap = {"price": {"lt": 30}, "stock": {"gte": 1}}
    return [
        Search(asked="“polka dot tea pot”", query="polka dot tea pot"),
        Search(asked="“navy trainers”", query="navy trainers"),
        Search(asked="“红色连衣裙”, which is “red dress”", query="红色连衣裙"),
        Search(asked="“tartan scarf”, price below 30 and in stock", query="tartan scarf", parameters={"filter": cheap}),
        Search(asked="a photo of a green checked sneaker", product=Product(image=photo("sneaker", "green", "checked"))),
        Search(
            asked="a photo of a blue mug + the word “white”", product=Product(title="white", image=MUG.read_bytes())
        ),
        Search(
            asked="a photo of a brown boot + the word “purple”",
            product=Product(title="purple", image=photo("boot", "brown", "plain")),
        ),
    ]


def main() -> None:
    """Run the demo."""
    MUG.write_bytes(photo("mug", "blue", "plain"))
    started = time.perf_counter()
    options = ServerOptions(
        repository=REPOSITORY, index=fresh_home(INDEX, HOME), host="127.0.0.1", http_port=0, grpc_port=0, metrics_port=0
    )
    print("starting Triton ...", flush=True)
    with TritonServer(options) as server, RetrievalClient(server.grpc_url) as client:
        print(f"Triton {server.version} was ready after {time.perf_counter() - started:.1f} s\n")
        PAGE.write_text(page([_show(client, search) for search in searches()]))
        print(f"the same results with photos: {PAGE}\n")
        show_page(client)
        show_update(server.grpc_url, HOME)
        latencies = _measure(client)
    p50, p99 = np.percentile(latencies, [50, 99])
    print(
        f"{REQUESTS} requests, one query each, top 100, one caller: p50 {p50:.2f} ms, p99 {p99:.2f} ms "
        f"({_machine()})\nTriton is stopped."
    )


def _show(client: RetrievalClient, search: Search) -> str:
    """Search, print the results, and return them as a section of the page."""
    if search.product is not None:
        results = client.retrieve_similar(search.product, top_k=TOP_K, **search.parameters)
    else:
        results = client.retrieve([str(search.query)], top_k=TOP_K, **search.parameters)
    found = {int(product_id) for row in results for product_id in row.ids}
    products = look_up(INDEX, is_served(INDEX, client), found, images=True)
    print(table([search.asked], results, products) + "\n")
    return section([search.asked], results, products)


def _measure(client: RetrievalClient) -> list[float]:
    """Return the milliseconds that each of REQUESTS requests took."""
    texts = pq.read_table(SHOP / "queries.parquet")["text"].to_pylist()
    latencies = []
    for number in range(REQUESTS):
        started = time.perf_counter()
        client.retrieve(texts[number % len(texts)])
        latencies.append(1e3 * (time.perf_counter() - started))
    return latencies


def _machine() -> str:
    """Return the cores and the processor, to print beside a figure."""
    cpuinfo = Path("/proc/cpuinfo")
    named = re.search(r"^model name\s*: (.*)$", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.exists() else None
    return f"{os.cpu_count()} cores, {named[1] if named else platform.machine()}"


if __name__ == "__main__":
    main()
