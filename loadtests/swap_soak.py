"""A soak of index swaps: a real server under steady load while generations come and go back.

    python -m loadtests.swap_soak --repository build/model_repository --swaps 50 --rollbacks 20 --rate 100

It makes its own generations of random vectors, in a temporary index home. It prints PASS or FAIL a criterion: no failed
request, no reply that mixes generations, and flat memory of the server's processes.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
from tritonclient.grpc import InferenceServerClient, InferInput

from retrieval.bundle import Bundle
from retrieval.engines import FaissCpuEngine
from retrieval.index_folder import Manifest, write_index
from retrieval.index_home import IndexHome
from retrieval.live import wait_until_served
from retrieval.recipes import choose_recipe
from serving import ServerOptions, TritonServer

IDS = 10**9  # product ids of generation g are g * IDS and up, so that an id tells its generation
WORDS = ("red", "blue", "dress", "mug", "leather", "bag", "summer", "lamp")
SETTLING = 5  # swaps after which memory must stay as it is
MAX_GROWTH = 0.05
CLIENTS = 8


@dataclass
class Load:
    """Clients that together send `rate` requests a second, on time whether or not earlier ones were answered in time.

    Args:
        url: of the server's gRPC endpoint.
        rate: requests a second.
    """

    url: str
    rate: float
    answered: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    mixed: int = 0
    took: float = 0.0

    def __enter__(self) -> Load:
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._began = time.perf_counter()
        self._threads = [threading.Thread(target=self._call, args=(number,)) for number in range(CLIENTS)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()
        self.took = time.perf_counter() - self._began

    def _call(self, number: int) -> None:
        rng = np.random.default_rng(number)
        due = time.perf_counter() + number / self.rate
        with InferenceServerClient(self.url) as client:
            while not self._done.wait(max(0.0, due - time.perf_counter())):
                self._ask(client, " ".join(rng.choice(WORDS, 3)), due)
                due += CLIENTS / self.rate

    def _ask(self, client: InferenceServerClient, query: str, due: float) -> None:
        tensor = InferInput("query", [1, 1], "BYTES").set_data_from_numpy(np.array([[query.encode()]], dtype=object))
        try:
            reply = client.infer("retrieve", [tensor], parameters={"top_k": 20}, client_timeout=30)
        except Exception as error:
            with self._lock:
                self.failures.append(str(error))
            return
        generation = int(reply.as_numpy("generation")[0, 0])
        with self._lock:
            self.seconds.append(time.perf_counter() - due)
            self.answered[generation] += 1
            self.mixed += bool((reply.as_numpy("product_ids") // IDS != generation).any())


def publish(home: IndexHome, bundle: Bundle, rows: int) -> int:
    """Publish a generation of random vectors; returns its number."""
    with home.writing():
        generation = home.next_generation
        rng = np.random.default_rng(generation)
        # Around a few directions, as embeddings lie: nothing is found fast in what lies everywhere.
        vectors = rng.normal(size=(200, bundle.embedding_dim))[rng.integers(200, size=rows)]
        vectors += 0.5 * rng.normal(size=vectors.shape)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        recipe = choose_recipe(rows)
        manifest = Manifest(
            generation=generation,
            count=rows,
            dim=bundle.embedding_dim,
            tower_hash=bundle.tower_hash,
            recipe=recipe,
            recall_at_100=1.0,
            skipped=0,
            build_seconds=0.0,
            catalog="",
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        columns = {"price": rng.random(rows), "brand": rng.integers(rows // 10 + 1, size=rows).astype(str)}
        vectors = vectors.astype(np.float32)
        write_index(
            home.building,
            manifest=manifest,
            vectors=vectors,
            product_ids=generation * IDS + np.arange(rows),
            attributes=pa.table(columns),
            engine=FaissCpuEngine.build(vectors, recipe),
            skipped="",
        )
        home.publish(home.building, generation)
    return generation


def roll_back(home: IndexHome) -> int:
    """Serve the previous generation; returns its number."""
    with home.writing():
        return home.rollback().generation


def memory_of(group: int) -> int:
    """Bytes of memory of its own (not of mapped files) that a process group takes."""
    return sum(_field(process, "RssAnon") * 1024 for process in _members(group))


def _members(group: int) -> Iterator[Path]:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(process.name)) == group:
                yield process
        except ProcessLookupError:
            continue  # it ended while we looked


def _field(process: Path, name: str) -> int:
    try:
        lines = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    except OSError:
        return 0
    return int(lines.get(name, "0").split()[0])


def soak(repository: Path, home: IndexHome, *, swaps: int, rollbacks: int, rate: float, rows: int) -> bool:
    """Run the soak and print what came out; returns whether all criteria hold."""
    bundle = Bundle.read(repository)
    publish(home, bundle, rows)
    options = ServerOptions(
        repository=repository, index=home.path, host="127.0.0.1", http_port=0, grpc_port=0, metrics_port=0
    )
    memory: list[int] = []
    slowest = 0.0
    with TritonServer(options) as server, Load(server.grpc_url, rate) as load:
        for swap in range(swaps):
            back = rollbacks * (swap + 1) // swaps - rollbacks * swap // swaps
            for step in range(1 + back):
                generation = roll_back(home) if step else publish(home, bundle, rows)
                started = time.perf_counter()
                wait_until_served(home.path, generation, timeout_s=120)
                slowest = max(slowest, time.perf_counter() - started)
            time.sleep(1)  # requests in flight end, and what they held is freed
            memory.append(memory_of(server.pid))
            print(f"swap {swap + 1}: generation {generation}, {memory[-1] / 2**20:.0f} MiB", flush=True)
    settled = memory[min(SETTLING, len(memory)) - 1]
    growth = max(memory[SETTLING:], default=settled) / settled - 1
    late = np.quantile(load.seconds, [0.5, 0.99, 0.999]) * 1000
    sent = load.answered.total() + len(load.failures)
    criteria = {
        f"failed requests: {len(load.failures)} of {sent}": not load.failures,
        f"replies that mix generations: {load.mixed}": load.mixed == 0,
        f"memory after {SETTLING} swaps {settled / 2**20:.0f} MiB, then at most {growth:+.1%}": growth <= MAX_GROWTH,
    }
    for text, passed in criteria.items():
        print(f"{'PASS' if passed else 'FAIL'}  {text}")
    for failure in load.failures[:3]:
        print(f"      {failure}")
    print(
        f"      {swaps} swaps and {rollbacks} rollbacks of {rows} rows, {len(load.answered)} generations answered; the "
        f"slowest change took {slowest:.1f} s\n"
        f"      {sent / load.took:.0f} requests/s sent of {rate:g} wanted; latency from the planned start, ms: "
        f"p50 {late[0]:.1f}, p99 {late[1]:.1f}, p99.9 {late[2]:.1f}"
    )
    return all(criteria.values())


def main() -> int:
    """Read the options and run; 0 when all criteria hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repository", type=Path, default=Path("build/model_repository"))
    parser.add_argument("--swaps", type=int, default=50)
    parser.add_argument("--rollbacks", type=int, default=20)
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second (default: 100)")
    parser.add_argument("--rows", type=int, default=20_000, help="products of a generation (default: 20000)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return not soak(
            options.repository,
            IndexHome(Path(folder) / "home"),
            swaps=options.swaps,
            rollbacks=options.rollbacks,
            rate=options.rate,
            rows=options.rows,
        )


if __name__ == "__main__":
    raise SystemExit(main())
