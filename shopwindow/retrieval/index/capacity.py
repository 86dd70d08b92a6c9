"""What an index of any size takes: memory, disk, machines, build time. Every formula says where it is from.

The index alone is planned. A query tower in front of it, the network and Triton's own work cost the same at any size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from shopwindow.retrieval.engines.recipes import KINDS, Recipe, choose_recipe

GIB = 2**30

TOP_K = 100
# Seconds of one core for each vector of 128 dimensions that a search looks at, by what is kept of it, out of memory: of
# the inverted indexes as `make bench-index` measured it at 1 and 5 million vectors, column "ns each" in
# docs/benchmarks.md. A flat index reads whole vectors as `ivf` does; `hnsw` is an estimate. Other lengths cost in
# proportion.
SCORE_S = {"flat": 22e-9, "ivf": 22e-9, "ivf-sq8": 13e-9, "ivf-pq32": 15e-9, "hnsw": 150e-9}
_MEASURED_DIM = 128
# Vectors that HNSW scores for each candidate it keeps (efSearch): an estimate for a million, to be replaced by column
# "scored" there. It grows with the logarithm of the count.
HNSW_SCORED = 15.0
_HNSW_ROWS = 1_000_000
# A random read of one page from an NVMe disk, for whole vectors that compressed ones are ranked by and that are not in
# the page cache.
READ_S = 80e-6
# Rate at which a core assigns vectors to lists (a matrix product), and k-means rounds of FAISS's training. The builds
# of `make bench-index` came to 43 to 99 billion operations a second.
FLOPS = 40e9
KMEANS_ROUNDS = 10

# Memory that a title of six words takes while the lexical channel is built, all titles at once; measured by
# tests/retrieval/index/test_plan.py. A build needs it whatever the recipe.
TITLE_BYTES = 650

HNSW_LINKS = 32  # of `choose_recipe`
MOST_SHARDS = 1_000


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is to be planned.

    Attributes:
        count: products.
        dim: vector length.
        qps: queries a second, in total.
        p99_s: what 99 % of the searches must take at most, in seconds, waiting for a core included.
        breadth: nprobe or efSearch at effort 5; an index says its own in manifest.json. It decides the cost of a
            search, and only data tells it: calibrate on a part of the catalogue.
        columns_bytes: memory of a product's attribute columns: 1 to 9 bytes a column; titles are not kept.
        text_bytes: disk for a product's title and attributes.
        machine_bytes: memory of one machine.
        machine_cores: cores of one machine.
        load: share of the time that cores may be busy; waiting grows without bound towards 1.
        embed_rate: products embedded a second, all machines together; 0 leaves embedding out of the build time.
    """

    count: int
    dim: int = 128
    qps: float = 1_000.0
    p99_s: float = 0.05
    breadth: int = 64
    columns_bytes: int = 16
    text_bytes: int = 200
    machine_bytes: int = 64 * GIB
    machine_cores: int = 16
    load: float = 0.5
    embed_rate: float = 0.0

    def __post_init__(self) -> None:
        limits = {
            "count": self.count,
            "dim": self.dim,
            "qps": self.qps,
            "p99_s": self.p99_s,
            "breadth": self.breadth,
            "machine_bytes": self.machine_bytes,
            "machine_cores": self.machine_cores,
        }
        for name, value in limits.items():
            if value <= 0:
                raise ValueError(f"{name}: must be above 0, got {value}")
        if not 0 < self.load < 1:
            raise ValueError(f"load: must be above 0 and below 1, got {self.load}")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one recipe takes.

    Attributes:
        kind: of the recipe.
        vector_bytes: of the index, by vector, lists and graph included.
        index_bytes: the index in memory, and its file.
        loaded_bytes: one copy of everything a process keeps in memory: index, product ids, attribute columns.
        disk_bytes: an index folder; two generations lie on the disk.
        engine: "faiss", Shopwindow's own, or "milvus": for more than one part, and where it takes fewer machines.
        shards: parts that the catalogue is split into.
        replicas: machines that hold each part.
        searchers: on each machine: processes, each with a copy of its own, or Milvus's threads, which share one.
        search_s: seconds of one core for one query in one part.
        cached: of the whole vectors that candidates of a compressed recipe are ranked by, the share that the page cache
            holds; 1 for other recipes.
        p99_s: 99 % of the searches take at most this, in seconds.
        build_s: seconds of one machine.
        fits: whether the p99 that was asked for can be kept at all.
    """

    kind: str
    vector_bytes: float
    index_bytes: int
    loaded_bytes: int
    disk_bytes: int
    engine: str
    shards: int
    replicas: int
    searchers: int
    search_s: float
    cached: float
    p99_s: float
    build_s: float
    fits: bool

    @property
    def machines(self) -> int:
        """All of them."""
        return self.shards * self.replicas


def index_bytes(recipe: Recipe, count: int, dim: int) -> int:
    """Size of a FAISS index in memory and on disk.

    flat: 4 bytes a dimension. Inverted: what its list keeps of a vector and 8 bytes of row number; centroids of 4
    bytes a dimension, a list's length of 8. SQ8 keeps a minimum and a range a dimension, PQ 256 values a dimension.
    HNSW (Malkov and Yashunin, arXiv:1603.09320, section 4): 2 M links of 4 bytes at the bottom, M on each level above,
    which a node reaches with probability 1/M, so 1/(M-1) levels on average; its level (4 bytes) and where its links
    begin (8). FAISS's own structures, as `faiss.write_index` writes them.
    """
    whole = 4 * dim
    if recipe.kind == "flat":
        return count * whole
    if recipe.kind == "hnsw":
        return round(count * (whole + 4 * (2 * HNSW_LINKS + HNSW_LINKS / (HNSW_LINKS - 1)) + 4 + 8))
    kept = {"ivf": whole, "ivf-sq8": dim, "ivf-pq32": 32}[recipe.kind]
    learned = {"ivf": 0, "ivf-sq8": 8 * dim, "ivf-pq32": 4 * 256 * dim}[recipe.kind]
    return count * (kept + 8) + recipe.max_breadth * (whole + 8) + learned


def search_seconds(recipe: Recipe, count: int, dim: int, breadth: int) -> float:
    """Seconds of one core for one query: vectors looked at, times the cost of one (`SCORE_S`).

    An inverted index scores every centroid, then nprobe of its lists, which hold count / lists vectors each; with
    4 sqrt(count) lists both grow with the square root of the count. A graph scores some vectors for each of efSearch
    candidates, growing with the logarithm of the count (arXiv:1603.09320, section 4).
    """
    length = dim / _MEASURED_DIM
    cost = SCORE_S[recipe.kind] * (1.0 if recipe.kind == "ivf-pq32" else length)
    if recipe.kind == "flat":
        return count * cost
    if recipe.kind == "hnsw":
        kept = max(breadth, 2 * TOP_K)  # as the engine widens it
        return kept * HNSW_SCORED * math.log(max(count, 2)) / math.log(_HNSW_ROWS) * cost
    lists = recipe.max_breadth
    return lists * SCORE_S["flat"] * length + min(breadth, lists) * count / lists * cost


def build_seconds(recipe: Recipe, count: int, dim: int, cores: int) -> float:
    """Seconds to train and fill an index on one machine, embedding left out.

    Training assigns its rows to the lists once a k-means round, filling assigns every vector: 2 dim lists operations
    each. A graph searches its efConstruction best for every vector.
    """
    if recipe.inverted:
        assigned = KMEANS_ROUNDS * recipe.training_rows + count
        return 2.0 * dim * recipe.max_breadth * assigned / (FLOPS * cores)
    if recipe.kind == "hnsw":
        return count * search_seconds(recipe, count, dim, recipe.construction) / cores
    return 0.0


def waiting_p99(service_s: float, load: float) -> float:
    """What 99 % of the requests take where each core serves its own queue: service and waiting, in seconds.

    Waiting behind others with equal service times has an exponential tail of rate 2 (1 - load) / service in heavy
    traffic (Kingman 1962, for Poisson arrivals).
    """
    return service_s * (1 + math.log(100) / (2 * (1 - load)))


def make_plan(wanted: Wanted, kind: str) -> Plan:
    """Plan one recipe: as few parts as memory and latency allow, then as many copies as the traffic takes.

    Memory holds two generations of everything, since a swap loads the new one beside the old. Shopwindow's own engine
    holds all of that once a process, and one process searches on one core; where this leaves cores idle so that Milvus,
    whose threads share one copy, takes fewer machines, Milvus it is.

    Args:
        wanted: what for.
        kind: one of `shopwindow.retrieval.engines.recipes.KINDS`.
    """
    shards = 1
    while True:
        plan = _plan(wanted, kind, "milvus", shards)
        if plan.searchers and plan.fits:
            break
        if shards >= MOST_SHARDS:  # more parts do not help: what fits into memory, and misses the p99
            shards = 1
            while not (plan := _plan(wanted, kind, "milvus", shards)).searchers:
                shards = _next(shards)
            break
        shards = _next(shards)
    own = _plan(wanted, kind, "faiss", shards) if shards == 1 else None
    return own if own and own.searchers and own.machines <= plan.machines else plan


def _plan(wanted: Wanted, kind: str, engine: str, shards: int) -> Plan:
    """The plan with so many parts; no searchers where a part does not fit into a machine."""
    rows = math.ceil(wanted.count / shards)
    recipe = choose_recipe(rows, kind)
    size = index_bytes(recipe, rows, wanted.dim)
    loaded = size + rows * (8 + wanted.columns_bytes)  # product ids are 8 bytes
    usable = 0.8 * wanted.machine_bytes  # the rest is the system's and Triton's
    copies = int(usable // (2 * loaded))
    searchers = min(wanted.machine_cores, copies) if engine == "faiss" else wanted.machine_cores * min(copies, 1)
    search_s = search_seconds(recipe, rows, wanted.dim, wanted.breadth)
    left = usable - 2 * loaded * (searchers if engine == "faiss" else 1)
    spare = recipe.spare(TOP_K)
    cached = min(1.0, max(0.0, left / (4 * wanted.dim * rows))) if spare else 1.0
    p99_s = waiting_p99(search_s, wanted.load) + (1 - cached) * (TOP_K + spare) * READ_S
    embedding = wanted.count / wanted.embed_rate if wanted.embed_rate else 0.0
    return Plan(
        kind=kind,
        vector_bytes=size / rows,
        index_bytes=shards * size,
        loaded_bytes=shards * loaded,
        disk_bytes=shards * (0 if kind == "flat" else size) + wanted.count * (4 * wanted.dim + 16 + wanted.text_bytes),
        engine=engine,
        shards=shards,
        replicas=max(1, math.ceil(wanted.qps * search_s / (wanted.load * max(searchers, 1)))),
        searchers=searchers,
        search_s=search_s,
        cached=cached,
        p99_s=p99_s,
        build_s=embedding + shards * build_seconds(recipe, rows, wanted.dim, wanted.machine_cores),
        fits=p99_s <= wanted.p99_s,
    )


def _next(shards: int) -> int:
    """One part more, in coarser steps when there are many."""
    return shards + max(1, shards // 8)


def make_plans(wanted: Wanted) -> list[Plan]:
    """A plan for each recipe that takes vectors of this length."""
    return [make_plan(wanted, kind) for kind in KINDS if kind != "ivf-pq32" or wanted.dim % 32 == 0]
