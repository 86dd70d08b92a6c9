"""The demo's catalogue changes while somebody searches it: an update, a rollback, and what the caller saw of it."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

from shopwindow.base.default_places import REPOSITORY
from shopwindow.indexing.update.run import update_index
from shopwindow.retrieval.index.home import IndexHome
from shopwindow.retrieval.live.live_index import wait_until_served
from shopwindow_client import RetrievalClient

QUERY = "navy trainers"
_CALLER_STEPS = 20  # requests before each change and after the last


def fresh_home(built: Path, home: Path) -> Path:
    """A copy of an index home to change, so that the demo finds the built one as it was the next time."""
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(built, home, ignore=shutil.ignore_patterns("live"))
    return home


class Caller:
    """Asks one query again and again from a thread of its own, and keeps every answer."""

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
        """Until a few more requests were answered."""
        with self._more:
            wanted = len(self.answers) + _CALLER_STEPS
            self._more.wait_for(lambda: len(self.answers) >= wanted or bool(self.failures), timeout=30.0)

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
    """Take the best product for a query out of the index, then put it back, under a caller's eyes.

    Args:
        url: host:port of a server on `home`.
        home: an index home, which is changed.

    Raises:
        RuntimeError: a request failed, or the removed product was still found.
    """
    # No retries: the caller sees whatever goes wrong.
    with RetrievalClient(url, retry=None) as client:
        best = int(client.retrieve(QUERY, top_k=1).ids[0, 0])
        with Caller(client) as caller:
            caller.wait_for_more()
            update = update_index(home, REPOSITORY, removed=[best], progress=False)
            processes = wait_until_served(home, update.generation)
            gone = len(caller.answers)
            caller.wait_for_more()
            back = len(caller.answers)
            pointer = IndexHome(home).rollback()
            wait_until_served(home, pointer.generation)
            caller.wait_for_more()
    if caller.failures or any(best in answer for answer in caller.answers[gone:back]):
        raise RuntimeError(f"the swap was seen: failures {caller.failures[:1]}, or product {best} after its removal")
    print(
        f"While a caller asked “{QUERY}”, product {best}, its first answer, was removed (generation "
        f"{update.generation}, taken up by {processes} processes) and brought back by a rollback: "
        f"{len(caller.answers)} requests, none failed, {back - gone} of them in between, none of which found it.\n"
    )
