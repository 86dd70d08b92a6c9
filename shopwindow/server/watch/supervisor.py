"""Watch a server by real requests, and replace a model's process or restart the whole server when it dies or hangs."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime

from shopwindow.server.errors import ServingError
from shopwindow.server.gateway import Gateway
from shopwindow.server.processes import Stub, is_at_work, kill_group, process_status, stubs
from shopwindow.server.tritonserver import TritonServer
from shopwindow.server.watch.backoff import Backoff
from shopwindow.server.watch.canary import MODELS, Canary
from shopwindow.server.watch.health import Health, ModelHealth
from shopwindow.server.watch.models import answered, steps
from shopwindow.server.watch.progress import Progress, Sample, take_sample
from shopwindow.server.watch.reloading import Reloads
from shopwindow_client import DeadlineExceeded, ShopwindowError

_INTERVAL_S = 1.0  # from the start of one round to the start of the next
# Number of failed rounds in a row after which a pipeline's models are loaded again, or a silent server is restarted.
# One failure may be chance.
_PATIENCE = 3
# The same for a server that is silent but moves, such as on a machine with far more work than cores.
_PATIENCE_WITH_MOVING = 15
_CANARY_DEADLINE_S = 2.0
# If a round takes this much longer than its deadline, the machine stood still, and late answers say nothing.
_STOOD_STILL_S = 1.0
# If the supervisor has not finished a round for this long, it is itself at fault.
_STALE_S = 30.0
_DEAD_STUB = re.compile(r"Stub process '(.+)' is not healthy")


class Supervisor:
    """Watches a server and recovers it automatically.

    Once a second it looks at every process, and asks every pipeline for an answer. It judges progress, not latency: a
    pipeline that is late is only busy as long as its models compute or answer.

    - If a process of a model died or was frozen by a signal, another one is started at once. The model's other
      processes go on serving.
    - If a model does nothing although it has work, or answers with errors, its processes are replaced after three
      rounds.
    - If Triton ended, was frozen, does not answer for three rounds, or cannot replace a process, it is restarted after
      a pause that doubles each time.
    - If the gateway ended or was frozen, it is restarted. If its certificates or keys changed, it takes the new ones.

    Triton 2.51 does not do this: a killed model process stays dead, while model and server report that they are ready.

    Args:
        server: A running server with `options.reloadable`.
        gateway: The running gateway in front of it; None if there is none.
        say: Receives a line about everything that the supervisor does; None prints the lines with the time.
    """

    def __init__(
        self, server: TritonServer, gateway: Gateway | None = None, *, say: Callable[[str], None] | None = None
    ) -> None:
        self._server = server
        self._gateway = gateway
        self._say = say or _print_with_time
        self._health = _unready("not looked yet")
        self._looked = time.monotonic()
        self._canary: Canary | None = None
        self._stubs: list[Stub] = []
        self._wanted: Counter[str] = Counter()  # model -> processes that it should have
        self._steps: dict[str, list[str]] = {}
        self._progress = Progress([], Sample(at=0.0))
        self._failed: dict[str, int] = {}  # pipeline -> rounds in a row
        self._silent = 0  # rounds in a row in which Triton did not answer
        self._reloads = Reloads(server)
        self._trouble_since: float | None = None
        self._server_backoff = Backoff()
        self._gateway_backoff = Backoff()
        self._gateway_due = 0.0
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
            while True:
                started = time.monotonic()
                self.look()
                time.sleep(max(0.0, _INTERVAL_S - (time.monotonic() - started)))
        finally:
            self._reloads.abandon()
            if self._canary is not None:
                self._canary.close()

    def look(self) -> None:
        """Do one round: check the server, and recover what died. It takes seconds, unless Triton restarts.

        Reloads go on in the background; later rounds notice their end.
        """
        try:
            self._look()
        except ServingError as error:
            self._restart(str(error), graceful=True)
        self._server.rotate_log()
        self._looked = time.monotonic()

    def _look(self) -> None:
        if (status := self._server.poll()) is not None:
            self._restart(f"Triton ended by itself with status {status}")
            return
        if (process := process_status(self._server.pid)) is not None and process.state == "T":
            self._restart("Triton was frozen by a signal")
            return
        if not self._gateway_works():
            return
        if self._canary is None:
            self._settle()
        self._finish_reloads()
        if model := self._reloads.stuck():
            self._restart(f"{model}: its new processes died or did nothing while they loaded")
            return
        self._replace_dead()
        assert self._canary is not None
        started = time.monotonic()
        if not self._canary.is_live():
            self._progress.add(self._sample({}))
            if time.monotonic() - started < 1 + _STOOD_STILL_S:
                self._count_silence()
            return
        self._silent = 0
        started = time.monotonic()
        found = self._canary.ask([pipeline for pipeline in MODELS if not self._waits_for_reload(pipeline)])
        stood_still = time.monotonic() - started > _CANARY_DEADLINE_S + _STOOD_STILL_S
        self._progress.add(self._sample(answered(self._server.grpc_url, self._server.owner_header)))
        self._judge(found, stood_still=stood_still)

    def _gateway_works(self) -> bool:
        """Restart the gateway if it does not work, and return whether it does."""
        if self._gateway is None:
            return True
        if self._gateway.is_at_work():
            self._gateway.refresh()
            return True
        reason = "the gateway ended by itself or was frozen"
        self._in_trouble(reason)
        if time.monotonic() < self._gateway_due:
            return False
        self._say(f"{reason}; starting it again")
        with suppress(ServingError):  # nothing of it is left to kill
            kill_group(self._gateway.pid)  # one that is frozen would not stop
        try:
            self._gateway.restart()
        except ServingError as error:
            pause = self._gateway_backoff.pause_s()
            self._gateway_due = time.monotonic() + pause
            self._say(f"the gateway did not start: {error}; trying again in {pause:g} s")
            return False
        return True

    def _replace_dead(self) -> None:
        """Start other processes in place of those that died or were frozen."""
        self._stubs = [stub for stub in self._stubs if is_at_work(stub.pid, self._server.pid)]
        working = Counter(stub.model for stub in self._stubs)
        for model, wanted in self._wanted.items():
            if model not in self._reloads and working[model] < wanted:
                which = "a process of it" if wanted == 1 else f"{wanted - working[model]} of its {wanted} processes"
                self._reload(model, f"{which} died", [stub.pid for stub in self._stubs if stub.model == model])

    def _count_silence(self) -> None:
        self._silent += 1
        moves = self._progress.moves(self._server.pid)
        if self._silent >= (_PATIENCE_WITH_MOVING if moves else _PATIENCE):
            self._restart("Triton does not answer")
        elif self._silent >= 2 or not moves:
            self._in_trouble("Triton does not answer")

    def _sample(self, counts: Mapping[str, int]) -> Sample:
        return take_sample([self._server.pid, *(stub.pid for stub in self._stubs)], counts)

    def _judge(self, found: Mapping[str, ShopwindowError | None], *, stood_still: bool) -> None:
        """Update the health by the canaries' answers, and recover pipelines that keep failing."""
        models: dict[str, ModelHealth] = {}
        blamed: dict[str, list[str]] = {}  # pipeline -> models that make it fail
        for pipeline in MODELS:
            error = found.get(pipeline)
            if pipeline not in found:
                models[pipeline] = self._health_in_reload(pipeline)
            elif error is None:
                models[pipeline] = ModelHealth(ready=True, text="ok")
            elif (faulty := self._models_at_fault(pipeline, error, stood_still=stood_still)) is None:
                models[pipeline] = ModelHealth(ready=True, text="ok, but busy")
            else:
                models[pipeline] = ModelHealth(ready=False, text=f"{pipeline}: {error}")
                blamed[pipeline] = faulty
        self._failed = {pipeline: self._failed.get(pipeline, 0) + 1 for pipeline in blamed}
        self._report(models)
        if not (stuck := [pipeline for pipeline, rounds in self._failed.items() if rounds >= _PATIENCE]):
            return
        reason = "; ".join(f"{pipeline}: {found[pipeline]}" for pipeline in stuck)
        faulty_models = {model for pipeline in stuck for model in blamed[pipeline]}
        if len(stuck) == len(found) or not faulty_models:
            self._restart(f"nothing answers ({reason})")
            return
        for model in sorted(faulty_models):
            if model not in self._reloads:
                moving = [stub.pid for stub in self._stubs if stub.model == model and self._progress.moves(stub.pid)]
                self._reload(model, f"{_PATIENCE} canaries failed ({reason})", moving)
        self._failed = {}

    def _models_at_fault(self, pipeline: str, error: ShopwindowError, *, stood_still: bool) -> list[str] | None:
        """Return the models that make a pipeline fail, as far as known; None if it is only busy."""
        its_steps = self._steps.get(pipeline) or steps(self._server.grpc_url, pipeline, self._server.owner_header)
        self._steps[pipeline] = its_steps
        if isinstance(error, DeadlineExceeded) and its_steps:
            step = None if stood_still else self._progress.stuck_step(its_steps)
            return None if step is None or self._reloads.serves(step) else [step]
        if dead := _DEAD_STUB.search(str(error)):  # the name of an instance, such as query_tower_0_0
            named = max((step for step in its_steps if dead[1].startswith(f"{step}_")), key=len, default="")
            return None if self._reloads.serves(named) else [named] if named else its_steps
        return its_steps

    def _health_in_reload(self, pipeline: str) -> ModelHealth:
        """Return the health of a pipeline that was not asked."""
        for step in self._steps.get(pipeline, [pipeline]):
            if step in self._reloads:
                return ModelHealth(ready=False, text=f"{step}: {self._reloads[step].reason}; loading it again")
        return ModelHealth(ready=False, text=f"{pipeline}: no query could be embedded for it")

    def _waits_for_reload(self, pipeline: str) -> bool:
        its_steps = self._steps.get(pipeline, [pipeline])
        return any(step in self._reloads and not self._reloads.serves(step) for step in its_steps)

    def _report(self, models: Mapping[str, ModelHealth]) -> None:
        failing = "; ".join(dict.fromkeys(health.text for health in models.values() if not health.ready))
        waiting = [one.model for one in self._reloads if not one.keep]
        if not failing and not waiting:
            if self._trouble_since is not None:
                self._say(f"ready again, after {time.monotonic() - self._trouble_since:.1f} s")
                self._trouble_since = None
            self._health = Health(live=True, ready=True, models=models)
            return
        # A reload has told its reason. No pipeline of this profile may use its model.
        if self._trouble_since is None:
            self._say(f"not ready: {failing}")
        self._in_trouble(failing or self._health.reason, models)

    def _reload(self, model: str, reason: str, working: list[int]) -> None:
        """Begin to replace the processes of a model that do not work."""
        self._say(f"{model}: {reason}; loading it again")
        pause = self._model_backoffs.setdefault(model, Backoff(first_s=0.25)).pause_s()
        self._reloads.begin(model, reason, working, pause)
        if not self._reloads.serves(model):
            self._in_trouble(f"{model}: {reason}", self._health.models)

    def _finish_reloads(self) -> None:
        """Look at the reloads that ended, and take over the new processes.

        Raises:
            ServingError: One of them failed.
        """
        for one in self._reloads.ended():
            took = one.done.result()
            self._say(f"{one.model}: loaded in {took:.1f} s")
            self._stubs = [stub for stub in self._stubs if stub.model != one.model]
            new = [stub for stub in stubs(self._server.pid) if stub.model == one.model]
            self._stubs += new
            # A process that was dead before the first round was not counted then.
            self._wanted[one.model] = max(self._wanted[one.model], len(new))
            self._watch_progress()

    def _restart(self, reason: str, *, graceful: bool = False) -> None:
        """Restart the server, and try again until it starts.

        Args:
            reason: Why.
            graceful: Requests in flight get time to finish.
        """
        self._in_trouble(reason)
        self._reloads.abandon()
        if not graceful:
            kill_group(self._server.pid)
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
                self._health = _unready(reason, live=False)
            else:
                break
        self._say(f"Triton started in {time.monotonic() - started:.1f} s")
        self._settle()

    def _in_trouble(self, reason: str, models: Mapping[str, ModelHealth] | None = None) -> None:
        self._health = _unready(reason, models)
        if self._trouble_since is None:
            self._trouble_since = time.monotonic()

    def _settle(self) -> None:
        """Watch the server as it is now: its present processes, through a new connection."""
        if self._canary is not None:
            self._canary.close()  # its connection may wait long before it tries to reach the new server
        url, headers = self._server.grpc_url, self._server.owner_header
        self._canary = Canary(url, deadline_s=_CANARY_DEADLINE_S, headers=headers)
        self._stubs = stubs(self._server.pid)
        self._wanted = Counter(stub.model for stub in self._stubs)
        self._steps = {pipeline: its_steps for pipeline in MODELS if (its_steps := steps(url, pipeline, headers))}
        self._failed, self._silent = {}, 0
        self._watch_progress()

    def _watch_progress(self) -> None:
        counts = answered(self._server.grpc_url, self._server.owner_header)
        self._progress = Progress(self._stubs, self._sample(counts))


def _unready(reason: str, models: Mapping[str, ModelHealth] | None = None, *, live: bool = True) -> Health:
    """Return the health of a server that is not ready; without `models` no pipeline is."""
    none = {pipeline: ModelHealth(ready=False, text=reason) for pipeline in MODELS}
    return Health(live=live, ready=False, reason=reason, models=none if models is None else models)


def _print_with_time(line: str) -> None:
    print(f"{datetime.now().astimezone().isoformat(sep=' ', timespec='milliseconds')}  {line}", flush=True)
