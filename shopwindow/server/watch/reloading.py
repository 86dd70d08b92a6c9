"""Replace processes of a model while the others of it go on serving.

Triton 2.51 never starts a dead process of a Python model again. But if a model is loaded with a configuration that
differs in the instance groups alone, Triton keeps the instances whose group is unchanged, starts the others beside
them, and then ends those that are gone from the configuration. Requests that wait stay in the queue meanwhile. Unlike
unloading the model, this leaves no zombie and no shared memory region of the dead process.

Each replaced process gets an instance group of its own with a number that nobody had before. The number stands in the
group's name, and in its rate limiter's priority, because Triton does not look at names when it compares groups. The
priority has no other effect unless `--rate-limit` is given.
"""

from __future__ import annotations

import itertools
import math
import re
import threading
import time
from collections.abc import Collection, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field

from google.protobuf import json_format, text_format
from tritonclient.grpc import InferenceServerClient, model_config_pb2
from tritonclient.utils import InferenceServerException

from shopwindow.server.errors import ServingError
from shopwindow.server.processes import Stub, is_at_work, kill, stubs
from shopwindow.server.tritonserver import DIRECT, TritonServer
from shopwindow.server.watch.models import config_on_disk
from shopwindow.server.watch.progress import Progress, Sample, take_sample

_NUMBERS = itertools.count(1)
_NOTICED_AFTER_S = 5.0
# New processes compute or read from a disk until they are ready, or wait a moment for the network.
_STILL_S = 20.0
_ON_EACH_GPU = (model_config_pb2.ModelInstanceGroup.KIND_AUTO, model_config_pb2.ModelInstanceGroup.KIND_GPU)


def reload(server: TritonServer, model: str, keep: Collection[int] = ()) -> None:
    """Start new processes of a model in place of those that died, froze or hang.

    Args:
        server: A server with `options.reloadable`.
        model: Name of the model.
        keep: Ids of the model's processes that work. Triton may replace them too, but each serves until a new one does.

    Raises:
        ServingError: The server did not load the model, or not within `ready_timeout_s`.
    """
    _end_others(server, model, keep)  # one that hangs would keep its requests for ever
    kept = [stub for stub in stubs(server.pid) if stub.pid in keep and is_at_work(stub.pid, server.pid)]
    try:
        with InferenceServerClient(server.grpc_url, channel_args=DIRECT) as client:
            client.load_model(
                model,
                headers=server.owner_header,
                config=json_format.MessageToJson(
                    _with_new_instances(config_on_disk(server.options, model), kept),
                    preserving_proto_field_name=True,
                ),
                client_timeout=server.options.ready_timeout_s,
            )
    except InferenceServerException as error:
        raise ServingError(f"{model} could not be loaded again: {error.message()}") from error
    except (OSError, text_format.ParseError) as error:
        raise ServingError(f"{model} could not be loaded again, its configuration is unreadable: {error}") from error


def _end_others(server: TritonServer, model: str, keep: Collection[int]) -> None:
    for stub in stubs(server.pid):
        if stub.model == model and stub.pid not in keep:
            kill(stub.pid)


def _with_new_instances(config: model_config_pb2.ModelConfig, kept: Collection[Stub]) -> model_config_pb2.ModelConfig:
    """Give each instance a group of its own: that of a kept process if it has one, or else a new one."""
    groups = [_group_of(stub, config.name) for stub in kept]
    # Without an instance group there is one instance of the backend's own kind.
    wanted = list(config.instance_group) or [model_config_pb2.ModelInstanceGroup()]
    del config.instance_group[:]
    for place, group in enumerate(wanted):
        numbers = [number for its_place, number in groups if its_place == place and number]
        for _ in range(max(1, group.count)):
            number = numbers.pop() if numbers else next(_NUMBERS)
            single = config.instance_group.add()
            single.CopyFrom(group)
            single.count = 1
            single.name = f"{config.name}_{place}_{number}"
            single.rate_limiter.priority = number
    return config


def _keepable(server: TritonServer, model: str, working: Collection[int]) -> list[int]:
    """Return those of a model's working processes that may go on while others are started.

    On a GPU that is only a process with a group of its own: there is no room for a second copy of the others.
    """
    try:
        groups = config_on_disk(server.options, model).instance_group
    except (OSError, text_format.ParseError):
        return []  # loading it will fail, and say why
    if groups and all(group.kind not in _ON_EACH_GPU for group in groups):
        return list(working)
    if not all(len(group.gpus) == 1 for group in groups):
        return []  # such a group has a process on each GPU, and one of them may be dead
    return [stub.pid for stub in stubs(server.pid) if stub.pid in working and _group_of(stub, model)[1]]


def _group_of(stub: Stub, model: str) -> tuple[int, int]:
    """Return the place of a process's instance group in the configuration, and its number; 0 if it has none yet."""
    found = re.fullmatch(rf"{re.escape(model)}_(\d+)_(\d+)_\d+", stub.instance)
    return (int(found[1]), int(found[2])) if found else (0, 0)


@dataclass(kw_only=True)
class Reload:
    """A reload that goes on or has ended.

    Attributes:
        model: Name of the model.
        reason: Why it is loaded again.
        keep: Ids of its processes that go on serving.
        before: Ids of its processes before.
        done: Becomes the seconds that loading took.
        abandoned: Set it, and the reload does nothing more after its pause.
        started: Ids of its new processes.
        lost_at: When the first of these died, in seconds of `time.monotonic`; infinite if none did.
        moved_at: When one of these did something, or before that when the pause ends.
        progress: What they did.
    """

    model: str
    reason: str
    keep: Collection[int]
    before: Collection[int]
    done: Future[float] = field(default_factory=Future)
    abandoned: threading.Event = field(default_factory=threading.Event)
    started: set[int] = field(default_factory=set)
    lost_at: float = math.inf
    moved_at: float = math.inf
    progress: Progress = field(default_factory=lambda: Progress([], Sample(at=time.monotonic())))


class Reloads:
    """Reloads models in the background, each in a thread of its own.

    Args:
        server: A server with `options.reloadable`.
    """

    def __init__(self, server: TritonServer) -> None:
        self._server = server
        self._running: dict[str, Reload] = {}

    def __contains__(self, model: str) -> bool:
        return model in self._running

    def __getitem__(self, model: str) -> Reload:
        return self._running[model]

    def __iter__(self) -> Iterator[Reload]:
        return iter(self._running.values())

    def serves(self, model: str) -> bool:
        """Return whether a model works although it is being loaded again: another process of it serves."""
        return model in self._running and len(self._running[model].keep) > 0

    def begin(self, model: str, reason: str, working: Collection[int], pause_s: float) -> None:
        """End the processes of a model that do not work, pause, and start others in their place.

        Triton 2.51 gives up on a process that is silent for more than a second. If that process goes on later and
        answers, Triton itself ends. So it is ended before the pause.
        """
        keep = _keepable(self._server, model, working)
        before = [stub.pid for stub in stubs(self._server.pid) if stub.model == model]
        _end_others(self._server, model, keep)
        one = Reload(model=model, reason=reason, keep=keep, before=before, moved_at=time.monotonic() + pause_s)
        self._running[model] = one

        def run() -> None:
            try:
                started = time.monotonic()
                if not one.abandoned.wait(pause_s):
                    started = time.monotonic()
                    reload(self._server, model, keep)
            except ServingError as error:
                one.done.set_exception(error)
            except Exception as error:  # such as a file that vanished: a restart is the remedy too
                one.done.set_exception(ServingError(f"{model} could not be loaded again: {error!r}"))
            else:
                one.done.set_result(time.monotonic() - started)

        threading.Thread(target=run, daemon=True).start()

    def stuck(self) -> str:
        """End new processes that were frozen, and return a model that Triton waits for in vain; empty if none.

        Triton 2.51 mostly notices that a process dies while it loads. But if it held a lock, Triton waits for ever, or
        starts none.
        """
        found = stubs(self._server.pid) if self._running else []
        for one in self._running.values():
            new = [stub for stub in found if stub.model == one.model and stub.pid not in one.before]
            at_work = {stub.pid for stub in new if is_at_work(stub.pid, self._server.pid)}
            for stub in new:
                if stub.pid not in at_work:
                    kill(stub.pid)
            one.started.update(stub.pid for stub in new)
            if not one.started <= at_work:
                one.lost_at = min(one.lost_at, time.monotonic())
            one.progress.add(take_sample(at_work, {}))
            if any(map(one.progress.moves, at_work)):
                one.moved_at = time.monotonic()
            lost, still = time.monotonic() - one.lost_at, time.monotonic() - one.moved_at
            if (lost > _NOTICED_AFTER_S or still > _STILL_S) and not one.done.done():
                return one.model
        return ""

    def ended(self) -> list[Reload]:
        """Return the reloads that have ended since the last call."""
        ended = [one for one in self._running.values() if one.done.done()]
        for one in ended:
            del self._running[one.model]
        return ended

    def abandon(self) -> None:
        """Forget all reloads, because the server is about to be stopped."""
        for one in self._running.values():
            one.abandoned.set()
        self._running.clear()
