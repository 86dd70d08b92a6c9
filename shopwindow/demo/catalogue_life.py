"""Change the demo's catalogue while a caller searches it: an update, a rollback, and what the caller saw."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

from shopwindow.base.default_places import REPOSITORY
from shopwindow.indexing.update.run import update_index
from shopwindow.retrieval.index.home import IndexHome
from shopwindow.retrieval.live.awaiting_servers import wait_until_served
from shopwindow_client import RetrievalClient

QUERY = "navy trainers"
_CALLER_STEPS = 20  # requests before each change and after the last


def fresh_home(built: Path, home: Path) -> Path:
    """Return a fresh copy of an index home, so that the demo never changes the one that was built."""
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(built, home, ignore=shutil.ignore_patterns("live"))
    return home


class Caller:
    """A thread that sends one query again and again, and keeps every answer."""

    def __init__(self, client: RetrievalClient) -> None:
        self.answers: list[tuple[int, ...]] = []
        self.failures: list[Exception] = []
        self._client = client
        self._stop = threading.Event()
        self._more = threading.Condition()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> Caller:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def wait_for_more(self) -> None:
        """Wait until a few more requests were answered, or one failed."""
        with self._more:
            target = len(self.answers) + _CALLER_STEPS
            self._more.wait_for(lambda: len(self.answers) >= target or bool(self.failures), timeout=30.0)

    def _ask(self) -> None:
        while not self._stop.is_set():
            try:
                answer = tuple(self._client.retrieve(QUERY, top_k=3).ids[0].tolist())
            except Exception as error:
                self.failures.append(error)
            else:
                with self._more:
                    self.answers.append(answer)
                    self._more.notify()


def show_update(url: str, home: Path) -> None:
    """Remove the best product for a query from the index and bring it back, while a caller searches.

    Args:
        url: host:port of a server that serves `home`.
        home: the index home to change.

    Raises:
        RuntimeError: a request failed, or the removed product was still found.
    """
    # No retries, so that the caller sees every failure.
    with RetrievalClient(url, retry=None) as client:
        best = int(client.retrieve(QUERY, top_k=1).ids[0, 0])
        with Caller(client) as caller:
            caller.wait_for_more()
            update = update_index(home, REPOSITORY, removed=[best], progress=False)
            processes = wait_until_served(home, update.generation)
            removed = len(caller.answers)
            caller.wait_for_more()
            restored = len(caller.answers)
            pointer = IndexHome(home).rollback()
            wait_until_served(home, pointer.generation)
            caller.wait_for_more()
    if caller.failures or any(best in answer for answer in caller.answers[removed:restored]):
        raise RuntimeError(
            f"the caller noticed the swap: failures {caller.failures[:1]}, or product {best} after its removal"
        )
    print(
        f"While a caller asked for “{QUERY}”, an update (generation {update.generation}, served by {processes} "
        f"processes) removed product {best}, the first answer, and a rollback brought it back. None of "
        f"{len(caller.answers)} requests failed, and none of the {restored - removed} in between found the product.\n"
    )
