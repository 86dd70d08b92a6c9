"""Watch a server by real requests, and restart a model's process or the whole server when it dies."""

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

_INTERVAL_S = 1.0  # from the start of one round to the start of the next
# Number of failed rounds in a row after which a pipeline's models are loaded again. One failure may be chance.
_PATIENCE = 3
# If the supervisor has not finished a round for this long, it is itself at fault.
_STALE_S = 30.0
# The longest pause before a reload or restart, and the time without a failure after which pauses are short again, in
# seconds.
_LONGEST_PAUSE_S = 60.0
_HEALTHY_S = 300.0
_DEAD_STUB = re.compile(r"Stub process '(.+)_\d+_\d+' is not healthy")


class Supervisor:
    """Watches a server and recovers it automatically.

    Once a second it checks that every process of the Python models is alive, and asks every pipeline for an answer. If
    a model's process died or was stopped, the model is loaded again at once. If a model keeps failing, it is loaded
    again after three rounds. If loading fails, if nothing answers, or if the server has ended, the server is restarted
    after a pause that doubles each time. A pipeline that is only slow because it is busy stays ready and is left alone.

    Triton 2.51 does not do this: a killed model process stays dead, while model and server report that they are ready.

    Args:
        server: A running server with `options.reloadable`.
        say: Receives a line about everything that the supervisor does; None prints the lines with the time.
    """

    def __init__(self, server: TritonServer, *, say: Callable[[str], None] | None = None) -> None:
        self._server = server
        self._say = say or _print_with_time
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
        """The health in the last round. Safe to read from another thread."""
        health, age = self._health, time.monotonic() - self._looked
        if health.ready and age > _STALE_S:
            return Health(live=False, ready=False, reason=f"the supervisor has not checked the server for {age:.0f} s")
        return health

    def run(self) -> None:
        """Watch the server until an exception, such as KeyboardInterrupt, ends this."""
        try:
            self._settle()
            while True:
                started = time.monotonic()
                self.look()
                time.sleep(max(0.0, _INTERVAL_S - (time.monotonic() - started)))
        finally:
            if self._canary is not None:
                self._canary.close()

    def look(self) -> None:
        """Do one round: check the server, and recover what died."""
        if (status := self._server.poll()) is not None:
            self._restart(f"Triton ended by itself with status {status}")
        elif idle := [stub for stub in self._stubs if not is_at_work(stub.pid, self._server.pid)]:
            self._end(idle)
            self._reload(sorted({stub.model for stub in idle}), "a process of it died")
        else:
            self._judge(self._ask())
        self._looked = time.monotonic()

    def _end(self, idle: list[Stub]) -> None:
        """Kill the processes that were only stopped.

        Triton 2.51 gives up on a process that is silent for more than a second. If that process goes on later and
        answers, Triton itself ends. This could happen in the pause before the model is loaded again.
        """
        for stub in set(stubs(self._server.pid)).intersection(idle):  # the id of a dead process may be reused
            kill(stub.pid)

    def _ask(self) -> dict[str, ShopwindowError | None]:
        if self._canary is None:
            self._canary = Canary(self._server.grpc_url)
        return self._canary.ask()

    def _judge(self, found: dict[str, ShopwindowError | None]) -> None:
        """Update the health by the canaries' answers, and recover pipelines that keep failing."""
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
        models = self._models_to_reload(stuck, failing)
        if len(stuck) < len(found) and models:
            self._reload(models, f"{_PATIENCE} canaries failed ({reason})")
        else:
            self._restart(f"nothing answers ({reason})")

    def _models_to_reload(self, stuck: Iterable[str], failing: dict[str, ShopwindowError]) -> list[str]:
        """Return the models to load again for the stuck pipelines: those that Triton names, or else all their steps."""
        found: set[str] = set()
        for pipeline in stuck:
            named = _DEAD_STUB.search(str(failing[pipeline]))
            found.update([named[1]] if named else steps(self._server.grpc_url, pipeline))
        return sorted(found)

    def _reload(self, models: list[str], reason: str) -> None:
        """Load models again, all at the same time. If that fails, restart the server."""
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
        """Restart the server, and try again until it starts."""
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
        """Watch the server as it is now: its present processes, through a new connection."""
        if self._canary is not None:
            self._canary.close()  # its connection may wait long before it tries to reach the new server
        self._canary = None
        self._stubs = stubs(self._server.pid)
        self._failed = {}


def _all_at_once(do: Callable[[str], None], items: Sequence[str]) -> None:
    """Call a function for each item in its own thread. The first failure, or Ctrl-C, is raised without delay."""
    pool = ThreadPoolExecutor(len(items))
    try:
        list(pool.map(do, items))
    finally:
        pool.shutdown(wait=False)


def _print_with_time(line: str) -> None:
    print(f"{datetime.now().astimezone().isoformat(sep=' ', timespec='milliseconds')}  {line}", flush=True)


class Backoff:
    """Pauses that double with each failure and start again from the first after some time without one.

    Args:
        first_s: The first pause, in seconds.
        clock: Returns the time in seconds.
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
        """Count a failure and return the seconds to wait before the next attempt."""
        now = self._clock()
        if now - self._well_since >= _HEALTHY_S:
            self._next_s = self._first_s
        pause = self._next_s
        self._next_s = min(_LONGEST_PAUSE_S, 2 * pause)
        self._well_since = now + pause
        return pause
