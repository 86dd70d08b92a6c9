"""Watching a server by real inference, and bringing back what died: a model's process, or the whole server."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from shopwindow.server.canary import Canary
from shopwindow.server.errors import ServingError
from shopwindow.server.health import Health
from shopwindow.server.models import reload, steps
from shopwindow.server.processes import Stub, is_at_work, kill, stubs
from shopwindow.server.tritonserver import TritonServer
from shopwindow_client import ShopwindowError

# Rounds in a row that a pipeline fails before its models are loaded again: one failure may be chance.
_PATIENCE = 3
# A watch that has not looked for so long is itself at fault.
_STALE_S = 30.0
# The longest pause before another try, and how long all must go well before the pauses start from the first again.
_LONGEST_PAUSE_S = 60.0
_HEALTHY_S = 300.0
_DEAD_STUB = re.compile(r"Stub process '(.+)_\d+_\d+' is not healthy")


class Supervisor:
    """Watches a server, and recovers it without a person.

    Once a second it looks whether every process of the Python models is there and asks every pipeline for an answer.
    A model whose process died or was stopped is loaded again at once; one that keeps failing, after three rounds. When
    that fails, when nothing answers, or when the server is gone, the server is started anew, after a pause that
    doubles each time. A pipeline that is merely slow, because there is too much to do, is left alone and stays ready.

    Triton does neither (2.51): a killed model process stays dead, while model and server report to be ready.

    Args:
        server: A running server with `options.reloadable`.
        say: Receives a line about everything done.
        interval_s: Seconds from one look to the next.
    """

    def __init__(
        self, server: TritonServer, *, say: Callable[[str], None] | None = None, interval_s: float = 1.0
    ) -> None:
        self._server = server
        self._say = say or _print_with_time
        self._interval_s = interval_s
        self._health = Health(live=True, ready=False, reason="not looked yet")
        self._looked = time.monotonic()
        self._canary: Canary | None = None
        self._stubs: list[Stub] = []
        self._failed: dict[str, int] = {}  # pipeline -> rounds in a row
        self._trouble_since: float | None = None
        self._server_backoff = Backoff()
        self._model_backoffs: dict[str, Backoff] = {}

    @property
    def health(self) -> Health:
        """What was last seen. Safe to read from another thread."""
        health, age = self._health, time.monotonic() - self._looked
        if health.ready and age > _STALE_S:
            return Health(live=False, ready=False, reason=f"the watch has seen nothing for {age:.0f} s")
        return health

    def run(self) -> None:
        """Watches until an exception, such as KeyboardInterrupt, ends it."""
        try:
            self._settle()
            while True:
                started = time.monotonic()
                self.look()
                time.sleep(max(0.0, self._interval_s - (time.monotonic() - started)))
        finally:
            if self._canary is not None:
                self._canary.close()

    def look(self) -> None:
        """Looks once, and recovers what is dead."""
        if (status := self._server.poll()) is not None:
            self._restart(f"Triton ended by itself with status {status}")
        elif idle := [stub for stub in self._stubs if not is_at_work(stub.pid, self._server.pid)]:
            self._end(idle)
            self._reload(sorted({stub.model for stub in idle}), "a process of it died")
        else:
            self._judge(self._ask())
        self._looked = time.monotonic()

    def _end(self, idle: list[Stub]) -> None:
        """Ends those that were only stopped. Triton gives up a process that is silent for more than a second, and ends
        itself when that goes on and answers (2.51), as it may in the pause before its model is loaded again."""
        for stub in set(stubs(self._server.pid)).intersection(idle):  # the id of one that is gone may be another's
            kill(stub.pid)

    def _ask(self) -> dict[str, ShopwindowError | None]:
        if self._canary is None:
            self._canary = Canary(self._server.grpc_url)
        return self._canary.ask()

    def _judge(self, found: dict[str, ShopwindowError | None]) -> None:
        """Draws the consequences of the canaries' answers."""
        failing = {pipeline: error for pipeline, error in found.items() if error is not None}
        self._failed = {pipeline: self._failed.get(pipeline, 0) + 1 for pipeline in failing}
        if not failing:
            if self._trouble_since is not None:
                self._say(f"ready again, after {time.monotonic() - self._trouble_since:.1f} s")
                self._trouble_since = None
            self._health = Health(live=True, ready=True)
            return
        reason = "; ".join(f"{pipeline}: {error}" for pipeline, error in failing.items())
        if self._trouble_since is None:
            self._say(f"not ready: {reason}")
        self._in_trouble(reason)
        stuck = [pipeline for pipeline, rounds in self._failed.items() if rounds >= _PATIENCE]
        if not stuck:
            return
        culprits = self._culprits(stuck, failing)
        if len(stuck) < len(found) and culprits:
            self._reload(culprits, f"{_PATIENCE} canaries failed ({reason})")
        else:
            self._restart(f"nothing answers ({reason})")

    def _culprits(self, stuck: Iterable[str], failing: dict[str, ShopwindowError]) -> list[str]:
        """The models to load again for pipelines to work: those that Triton names, else all their steps."""
        found: set[str] = set()
        for pipeline in stuck:
            named = _DEAD_STUB.search(str(failing[pipeline]))
            found.update([named[1]] if named else steps(self._server.grpc_url, pipeline))
        return sorted(found)

    def _reload(self, models: list[str], reason: str) -> None:
        """Loads models again, all at once; when that fails, the server starts anew."""
        names = ", ".join(models)
        self._in_trouble(f"{names}: {reason}")
        self._say(f"{names}: {reason}; loading it again")
        pauses = [self._model_backoffs.setdefault(model, Backoff(first_s=0.25)).pause_s() for model in models]
        time.sleep(max(pauses))
        started = time.monotonic()
        try:
            _all_at_once(lambda model: reload(self._server, model), models)
        except ServingError as error:
            self._restart(str(error))
            return
        self._say(f"{names}: loaded in {time.monotonic() - started:.1f} s")
        self._settle()

    def _restart(self, reason: str) -> None:
        """Starts the server anew, as often as it takes."""
        self._in_trouble(reason)
        while True:
            pause = self._server_backoff.pause_s()
            self._say(f"{reason}; starting Triton again in {pause:g} s")
            self._server.stop()
            time.sleep(pause)
            started = time.monotonic()
            try:
                self._server.restart()
                self._server.wait_until_ready()
            except ServingError as error:
                reason = f"Triton did not start: {error}"
                self._health = Health(live=False, ready=False, reason=reason)
            else:
                break
        self._say(f"Triton started in {time.monotonic() - started:.1f} s")
        self._settle()

    def _in_trouble(self, reason: str) -> None:
        self._health = Health(live=True, ready=False, reason=reason)
        if self._trouble_since is None:
            self._trouble_since = time.monotonic()

    def _settle(self) -> None:
        """Takes the server as it is now for the one to watch."""
        if self._canary is not None:
            self._canary.close()  # its connection may be waiting long before it tries the new server
        self._canary = None
        self._stubs = stubs(self._server.pid)
        self._failed = {}


def _all_at_once(do: Callable[[str], None], items: Sequence[str]) -> None:
    """Does something to each item in threads of their own; the first failure, or Ctrl-C, is not kept waiting."""
    pool = ThreadPoolExecutor(len(items))
    try:
        list(pool.map(do, items))
    finally:
        pool.shutdown(wait=False)


def _print_with_time(line: str) -> None:
    print(f"{datetime.now().astimezone().isoformat(sep=' ', timespec='milliseconds')}  {line}", flush=True)


class Backoff:
    """Pauses that double with each failure, until all has been well for a while.

    Args:
        first_s: The first pause, in seconds.
        clock: Tells the time in seconds.
    """

    def __init__(
        self,
        *,
        first_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._first_s = first_s
        self._clock = clock
        self._next_s = first_s
        self._well_since = clock()

    def pause_s(self) -> float:
        """Counts a failure; returns the seconds to wait before the next attempt."""
        now = self._clock()
        if now - self._well_since >= _HEALTHY_S:
            self._next_s = self._first_s
        pause = self._next_s
        self._next_s = min(_LONGEST_PAUSE_S, 2 * pause)
        self._well_since = now + pause
        return pause
