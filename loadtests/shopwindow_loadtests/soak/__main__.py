"""`make soak`: changes an index all the time under a steady load, then kills and freezes processes one by one.

The server is `shopwindow serve`, with its watch and health endpoint. First the soak builds new generations, updates
them (it removes products that were just shown, and changes and adds others) and rolls back. Then it harms one process
of every Python model, Triton and the gateway: with SIGKILL, and again with SIGSTOP. All the time a caller sends photos
of 49 megapixels. It prints every figure with PASS or FAIL. The products are made up, and the index home is temporary.
"""

from __future__ import annotations

import argparse
import signal
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from shopwindow.retrieval.index.home import IndexHome
from shopwindow.retrieval.live.awaiting_servers import wait_until_served
from shopwindow_client import ConnectionLost
from shopwindow_loadtests.soak.callers import LargePhotos, Load
from shopwindow_loadtests.soak.catalogue import ADDED, CHANGED, IDS, REMOVED, Catalogue
from shopwindow_loadtests.soak.timeline import Timeline
from shopwindow_loadtests.soak.watched_server import GATEWAY, TOLD_WITHIN_S, TRITON, Recovery, WatchedServer

# Photos of 49 megapixels come and go meanwhile, and take memory while they are decoded.
_LOOKS, _LOOKS_EVERY_S = 15, 0.2
SETTLING = 5  # swaps after which memory must not grow any more
MAX_GROWTH = 0.05
RECOVERED_WITHIN_S = 10.0
RESTARTED_WITHIN_S = 15.0  # for Triton
_SERVED_WITHIN_S = 120.0
_MIB = 2**20


@dataclass
class Verdicts:
    """Prints figures and whether each is as it should be.

    Attributes:
        passed: Whether all of them are.
    """

    passed: bool = True

    def add(self, passed: bool, text: str) -> None:
        """Print a figure."""
        self.passed = self.passed and passed
        print(f"{'PASS' if passed else 'FAIL'}  {text}", flush=True)


@dataclass
class Changes:
    """Publishes changes one after the other, each once the last one is served, and keeps the timeline.

    Args:
        catalogue: Makes the changes.
        timeline: The timeline that judges the replies.

    Attributes:
        memory: Bytes of memory of the server's processes after each swap, the least of some looks.
        slowest: Most seconds from publishing a change until all processes served it.
        count: Number of changes of all kinds.
    """

    catalogue: Catalogue
    timeline: Timeline
    memory: list[int] = field(default_factory=list)
    slowest: float = 0.0
    count: int = 0

    def swap(self) -> None:
        """Build and publish a new generation."""
        generation = self.catalogue.next_generation
        self.timeline.begin(generation, self.catalogue.products_of(generation))
        self._wait(self.catalogue.build())

    def roll_back(self) -> None:
        """Go back one generation."""
        pointer = self.catalogue.home.pointer
        assert pointer is not None and pointer.previous is not None  # the first change was a swap
        self.timeline.begin(pointer.previous)
        self._wait(self.catalogue.roll_back())

    def update(self, shown: np.ndarray) -> None:
        """Publish an update of the served generation.

        Args:
            shown: (k,) int64: products that were just found. The update removes the first of them.
        """
        products, generation = self.timeline.newest, self.catalogue.next_generation
        here = shown[np.isin(shown, products)]
        removed = (here if len(here) >= REMOVED else products)[:REMOVED]
        changed = products[~np.isin(products, removed)][:CHANGED]
        added = generation * IDS + np.arange(ADDED)
        self.timeline.begin(generation, np.union1d(np.setdiff1d(products, removed), added))
        self._wait(self.catalogue.update(removed.tolist(), changed.tolist(), added.tolist()))

    def _wait(self, generation: int) -> None:
        started = time.monotonic()
        wait_until_served(self.catalogue.home.path, generation, _SERVED_WITHIN_S)
        self.timeline.settle()
        self.slowest = max(self.slowest, time.monotonic() - started)
        self.count += 1


def change_all_the_time(
    server: WatchedServer, changes: Changes, load: Load, *, swaps: int, rollbacks: int, updates: int
) -> None:
    """Swap `swaps` times, and spread the updates and rollbacks evenly among the swaps."""
    for swap in range(swaps):
        changes.swap()
        changes.memory.append(_least_memory(server))
        for _ in range(_share(updates, swaps, swap)):
            changes.update(load.shown)
        for _ in range(_share(rollbacks, swaps, swap)):
            changes.roll_back()
        print(f"swap {swap + 1} of {swaps}: {changes.memory[-1] / _MIB:.0f} MiB", flush=True)


def _least_memory(server: WatchedServer) -> int:
    looks = []
    for _ in range(_LOOKS):
        time.sleep(_LOOKS_EVERY_S)
        looks.append(server.memory)
    return min(looks)


def _share(total: int, parts: int, part: int) -> int:
    return total * (part + 1) // parts - total * part // parts


def judge_changes(verdicts: Verdicts, server: WatchedServer, changes: Changes, load: Load, rate: float) -> None:
    """Print the verdicts on the changes."""
    reached, sent = load.reached, load.answered + len(load.failures)
    verdicts.add(reached >= rate, f"answered {reached:.1f} requests/s, at least {rate:g} wanted")
    verdicts.add(not load.failures, f"failed requests: {len(load.failures)} of {sent}")
    for failure in load.failures[:3]:
        print(f"      {failure.error}")
    verdicts.add(load.mixed == 0, f"replies that mix generations: {load.mixed}")
    verdicts.add(load.gone == 0, f"replies with a product that was removed before: {load.gone}")
    if len(changes.memory) > SETTLING:
        settled, most = changes.memory[SETTLING - 1], max(changes.memory[SETTLING:])
        growth = most / settled - 1
        text = f"memory after {SETTLING} swaps {settled / _MIB:.0f} MiB, then at most {growth:+.1%}"
        verdicts.add(growth <= MAX_GROWTH, f"{text}, {MAX_GROWTH:.0%} allowed")
    else:
        verdicts.add(False, f"memory: not judged, because that takes more than {SETTLING} swaps")
    looks, unready = server.looks
    verdicts.add(unready == 0, f"health endpoint not ready although all was well: {unready} of {looks} looks")
    late = np.quantile(load.seconds, [0.5, 0.99, 0.999]) * 1000
    print(
        f"      {changes.count} changes, the slowest served after {changes.slowest:.1f} s; latency from the planned "
        f"start, ms: p50 {late[0]:.1f}, p99 {late[1]:.1f}, p99.9 {late[2]:.1f}"
    )


def judge_kills(verdicts: Verdicts, server: WatchedServer, recoveries: list[Recovery], load: Load) -> None:
    """Print the verdicts on the processes that were killed or frozen."""
    for name, within, some in (
        ("models and the gateway", RECOVERED_WITHIN_S, [one for one in recoveries if one.victim != TRITON]),
        ("Triton", RESTARTED_WITHIN_S, [one for one in recoveries if one.victim == TRITON]),
    ):
        if some:
            slowest = max(some, key=lambda recovery: recovery.seconds)
            verdicts.add(
                slowest.seconds <= within,
                f"{name} recovered {len(some)} times, the slowest ({slowest.victim}, {slowest.how}) after "
                f"{slowest.seconds:.1f} s, {within:g} s allowed",
            )
    harmed = [recovery for recovery in recoveries if recovery.victim in ("retrieve", TRITON, GATEWAY)]
    outside = [failure for failure in load.failures if not any(one.explains(failure.at) for one in harmed)]
    verdicts.add(not outside, f"failed requests while retrieve and all that it needs were unharmed: {len(outside)}")
    failures = [*load.failures, *(failure for recovery in recoveries for failure in recovery.failures)]
    # A search that was under way when Triton died may have been carried out. So the client leaves it to the caller.
    final = [one for one in failures if not one.error.retryable and not isinstance(one.error, ConnectionLost)]
    verdicts.add(not final, f"errors meanwhile that do not tell to send again: {len(final)} of {len(failures)}")
    for failure in final[:3]:
        print(f"      {type(failure.error).__name__}: {failure.error}")
    untold = [failure for failure in failures if not server.was_told(failure.at)]
    verdicts.add(
        not untold, f"errors that the health endpoint did not report within {TOLD_WITHIN_S:g} s: {len(untold)}"
    )
    wrong = load.mixed + load.gone
    verdicts.add(wrong == 0, f"replies meanwhile that mix generations or have a removed product: {wrong}")


def judge_photos(verdicts: Verdicts, photos: LargePhotos) -> None:
    """Print the verdict on the large photos."""
    others = ", ".join(f"{count} {kind}" for kind, count in photos.refused.most_common())
    verdicts.add(
        photos.answered > 0, f"requests with two photos of 49 megapixels answered: {photos.answered} ({others})"
    )


def soak(options: argparse.Namespace, folder: Path) -> bool:
    """Run the soak, print the verdicts, and return whether all criteria hold."""
    home, timeline, verdicts = IndexHome(folder / "home"), Timeline(), Verdicts()
    catalogue = Catalogue(home=home, repository=options.repository, rows=options.rows)
    changes = Changes(catalogue, timeline)
    changes.swap()  # nobody serves yet
    with WatchedServer(options.repository, home.path, folder / "triton.log") as server:
        with LargePhotos(server.url) as photos, Load(server.url, options.rate, timeline) as load:
            change_all_the_time(
                server, changes, load, swaps=options.swaps, rollbacks=options.rollbacks, updates=options.updates
            )
            judge_changes(verdicts, server, changes, load, options.rate)
            judge_photos(verdicts, photos)
        if options.kills:
            with LargePhotos(server.url) as photos, Load(server.url, options.rate, timeline) as load:
                recoveries = []
                for victim in (*server.models, TRITON, GATEWAY):
                    for number in (signal.SIGKILL, signal.SIGSTOP):
                        one = server.harm_and_wait(victim, number)
                        recoveries.append(one)
                        print(f"{victim}: recovered {one.seconds:.1f} s after {one.how}", flush=True)
            judge_kills(verdicts, server, recoveries, load)
            judge_photos(verdicts, photos)
        for line in server.lines if not verdicts.passed else ():
            print(f"      {line}")
    return verdicts.passed


def main() -> int:
    """Read the options and run; 0 when all criteria hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repository", type=Path, default=Path("build/model_repository"))
    parser.add_argument("--swaps", type=int, default=50, help="default: %(default)s")
    parser.add_argument("--rollbacks", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--updates", type=int, default=100, help="default: %(default)s")
    parser.add_argument(
        "--rate", type=float, default=100.0, help="requests per second that must be answered (default: %(default)s)"
    )
    parser.add_argument("--rows", type=int, default=20_000, help="products in a generation (default: %(default)s)")
    parser.add_argument("--no-kills", dest="kills", action="store_false", help="do not kill or freeze processes")
    options = parser.parse_args()
    for name in ("swaps", "rate", "rows"):
        if getattr(options, name) <= 0:
            parser.error(f"--{name}: must be above 0, got {getattr(options, name)}")
    with tempfile.TemporaryDirectory() as folder:
        return not soak(options, Path(folder))


if __name__ == "__main__":
    raise SystemExit(main())
