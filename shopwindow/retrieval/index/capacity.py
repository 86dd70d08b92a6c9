"""Estimate what an index of any size needs: memory, disk, machines, build time. Every formula names its source.

The estimate covers the index alone. The query tower, the network and Triton's own work cost the same at any size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from shopwindow.retrieval.engines.recipes import KINDS, Recipe, choose_recipe

GIB = 2**30

TOP_K = 100
# Seconds of one core to score one vector of 128 dimensions in memory, by recipe. `make bench-index` measured the
# inverted indexes at 1 and 5 million vectors (column "ns each" in docs/benchmarks.md). A flat index reads whole vectors
# as `ivf` does. The value for `hnsw` is an estimate. The cost grows in proportion to the vector length.
SCORE_S = {"flat": 22e-9, "ivf": 22e-9, "ivf-sq8": 13e-9, "ivf-pq32": 15e-9, "hnsw": 150e-9}
_MEASURED_DIM = 128
# Vectors that HNSW scores for each candidate it keeps (efSearch): an estimate for a million vectors. Replace it by a
# measurement (column "scored" in docs/benchmarks.md). The number grows with the logarithm of the count.
HNSW_SCORED = 15.0
_HNSW_ROWS = 1_000_000
# Seconds to read one random page from an NVMe disk. Compressed recipes rescore their candidates with whole vectors, and
# those that are not in the page cache cost such a read.
READ_S = 80e-6
# Operations a second at which one core assigns vectors to lists (a matrix product), and the k-means rounds of FAISS's
# training. The builds of `make bench-index` reached 43 to 99 billion operations a second.
FLOPS = 40e9
KMEANS_ROUNDS = 10

# Bytes of memory for each title while the lexical channel is built, with all titles in memory at once: a title of six
# words, and a Chinese title of 30 characters, which counts as 59 words (see `WordSplitter`).
# tests/retrieval/index/test_capacity.py measures both. Every build needs this memory, whatever its recipe.
TITLE_BYTES = 650
CHINESE_TITLE_BYTES = 6_500

HNSW_LINKS = 32  # as `choose_recipe` sets it
MOST_SHARDS = 1_000


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What the index must hold and achieve, and on which machines.

    Attributes:
        count: number of products.
        dim: vector length.
        qps: queries a second, in total.
        p99_s: the time in seconds within which 99 % of the searches must end, including the wait for a core.
        breadth: nprobe or efSearch at effort 5, as in an index's manifest.json. It decides the cost of a search and
            depends on the data: calibrate it on a part of the catalogue.
        columns_bytes: memory for a product's attribute columns, 1 to 9 bytes a column. A column of lists takes
            1 to 8 bytes, and 1 to 9 for each value. Titles are not kept in memory.
        text_bytes: disk space for a product's title and attributes, in attributes.parquet and attributes.arrow.
        machine_bytes: memory of one machine.
        machine_cores: cores of one machine.
        load: share of the time that the cores may be busy, above 0 and below 1. The wait grows without bound towards 1.
        embed_rate: products embedded a second by all machines together; 0 leaves embedding out of the build time.
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
    """What an index needs with one recipe.

    Attributes:
        kind: kind of the recipe.
        vector_bytes: bytes of the index for each vector, including lists and graph.
        index_bytes: bytes of the index in memory, and of its file.
        loaded_bytes: bytes of one copy of everything that a process keeps in memory: index, product ids, attributes.
        disk_bytes: bytes of one index folder. Two generations lie on the disk.
        engine: "faiss" for Shopwindow's own engine, or "milvus" if the index needs more than one part or if Milvus
            needs fewer machines.
        shards: number of parts that the catalogue is split into.
        replicas: number of machines that hold each part.
        searchers: searches at a time on each machine: processes with a copy each, or Milvus's threads, which share one.
        search_s: seconds of one core for one query in one part.
        cached: share of the whole vectors that fits into the page cache. Compressed recipes rescore candidates with
            them. 1 for other recipes.
        p99_s: the time in seconds within which 99 % of the searches end.
        build_s: seconds that the build takes on one machine.
        fits: whether the plan meets the required p99.
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
        """The number of machines: shards times replicas."""
        return self.shards * self.replicas


def index_bytes(recipe: Recipe, count: int, dim: int) -> int:
    """Return the size of a FAISS index in bytes, in memory and on disk, as `faiss.write_index` writes its structures.

    A flat index takes 4 bytes a dimension for each vector.

    An inverted index takes for each vector its code and 8 bytes of row number, and for each list a centroid (4 bytes a
    dimension) and a length (8 bytes). SQ8 also keeps a minimum and a range for each dimension, PQ 256 values for each.

    HNSW (Malkov and Yashunin, arXiv:1603.09320, section 4) adds 2 M links of 4 bytes on the lowest level and M links on
    each level above. A node reaches the next level with probability 1/M, so it is on 1/(M-1) upper levels on average.
    Each node also stores its level (4 bytes) and the offset of its links (8 bytes).
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
    """Return the seconds of one core for one query: the number of vectors scored, times the cost of one (`SCORE_S`).

    An inverted index scores every centroid and then the vectors of nprobe lists, which hold count / lists vectors each.
    With 4 sqrt(count) lists, both numbers grow with the square root of the count. A graph scores some vectors for each
    of its efSearch candidates. Their number grows with the logarithm of the count (arXiv:1603.09320, section 4).
    """
    length = dim / _MEASURED_DIM
    cost = SCORE_S[recipe.kind] * (1.0 if recipe.kind == "ivf-pq32" else length)
    if recipe.kind == "flat":
        return count * cost
    if recipe.kind == "hnsw":
        kept = max(breadth, 2 * TOP_K)  # the engine widens efSearch to this
        return kept * HNSW_SCORED * math.log(max(count, 2)) / math.log(_HNSW_ROWS) * cost
    lists = recipe.max_breadth
    return lists * SCORE_S["flat"] * length + min(breadth, lists) * count / lists * cost


def build_seconds(recipe: Recipe, count: int, dim: int, cores: int) -> float:
    """Return the seconds to train and fill an index on one machine, without embedding.

    Training assigns its rows to the lists in each k-means round, and filling assigns every vector once. Each assignment
    takes 2 x dim x lists operations. A graph searches for the efConstruction best neighbours of every vector.
    """
    if recipe.inverted:
        assigned = KMEANS_ROUNDS * recipe.training_rows + count
        return 2.0 * dim * recipe.max_breadth * assigned / (FLOPS * cores)
    if recipe.kind == "hnsw":
        return count * search_seconds(recipe, count, dim, recipe.construction) / cores
    return 0.0


def waiting_p99(service_s: float, load: float) -> float:
    """Return the time in seconds within which 99 % of the requests end, if each core serves its own queue.

    The time is the sum of service and wait. With equal service times and Poisson arrivals, the wait in heavy traffic
    has an exponential tail of rate 2 (1 - load) / service (Kingman 1962).
    """
    return service_s * (1 + math.log(100) / (2 * (1 - load)))


def make_plan(demand: Demand, kind: str) -> Plan:
    """Plan one recipe: as few parts as memory and latency allow, then as many copies as the traffic needs.

    Memory must hold two generations of everything, because a swap loads the new one beside the old one. With
    Shopwindow's own engine each process holds its own copy and searches on one core. Milvus's threads share one copy.
    If memory for the copies runs out before the cores do, so that Milvus needs fewer machines, the plan takes Milvus.

    Args:
        demand: what the index must hold and achieve.
        kind: one of `shopwindow.retrieval.engines.recipes.KINDS`.
    """
    shards = 1
    while True:
        plan = _plan(demand, kind, "milvus", shards)
        if plan.searchers and plan.fits:
            break
        if shards >= MOST_SHARDS:  # more parts do not help: plan for memory alone and miss the p99
            shards = 1
            while not (plan := _plan(demand, kind, "milvus", shards)).searchers:
                shards = _next(shards)
            break
        shards = _next(shards)
    own = _plan(demand, kind, "faiss", shards) if shards == 1 else None
    return own if own and own.searchers and own.machines <= plan.machines else plan


def _plan(demand: Demand, kind: str, engine: str, shards: int) -> Plan:
    """Return the plan with this number of parts. It has 0 searchers if a part does not fit into a machine."""
    rows = math.ceil(demand.count / shards)
    recipe = choose_recipe(rows, kind)
    size = index_bytes(recipe, rows, demand.dim)
    loaded = size + rows * (8 + demand.columns_bytes)  # product ids are 8 bytes
    usable = 0.8 * demand.machine_bytes  # the rest is for the system and Triton
    copies = int(usable // (2 * loaded))
    searchers = min(demand.machine_cores, copies) if engine == "faiss" else demand.machine_cores * min(copies, 1)
    search_s = search_seconds(recipe, rows, demand.dim, demand.breadth)
    left = usable - 2 * loaded * (searchers if engine == "faiss" else 1)
    spare = recipe.spare(TOP_K)
    cached = min(1.0, max(0.0, left / (4 * demand.dim * rows))) if spare else 1.0
    p99_s = waiting_p99(search_s, demand.load) + (1 - cached) * (TOP_K + spare) * READ_S
    embedding = demand.count / demand.embed_rate if demand.embed_rate else 0.0
    return Plan(
        kind=kind,
        vector_bytes=size / rows,
        index_bytes=shards * size,
        loaded_bytes=shards * loaded,
        disk_bytes=shards * (0 if kind == "flat" else size) + demand.count * (4 * demand.dim + 16 + demand.text_bytes),
        engine=engine,
        shards=shards,
        replicas=max(1, math.ceil(demand.qps * search_s / (demand.load * max(searchers, 1)))),
        searchers=searchers,
        search_s=search_s,
        cached=cached,
        p99_s=p99_s,
        build_s=embedding + shards * build_seconds(recipe, rows, demand.dim, demand.machine_cores),
        fits=p99_s <= demand.p99_s,
    )


def _next(shards: int) -> int:
    """Return the next number of parts to try: one more, or 1/8 more if there are many."""
    return shards + max(1, shards // 8)


def make_plans(demand: Demand) -> list[Plan]:
    """Return a plan for each recipe that supports vectors of this length."""
    return [make_plan(demand, kind) for kind in KINDS if kind != "ivf-pq32" or demand.dim % 32 == 0]
