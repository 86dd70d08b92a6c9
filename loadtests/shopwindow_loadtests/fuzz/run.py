"""A run: several senders, the neighbours and the watch around one server."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tritonclient.grpc import InferenceServerClient

from shopwindow_client import RetrievalClient
from shopwindow_loadtests.fuzz.neighbours import Neighbours
from shopwindow_loadtests.fuzz.requests.cases import Case, Model, Tensor
from shopwindow_loadtests.fuzz.requests.making import make_case
from shopwindow_loadtests.fuzz.requests.pages import MOST_LIKE
from shopwindow_loadtests.fuzz.sending import Reply, Sender
from shopwindow_loadtests.fuzz.state import State
from shopwindow_loadtests.fuzz.verdicts import judge, kind_of
from shopwindow_loadtests.fuzz.watching import Watch, growths
from shopwindow_loadtests.soak.watched_server import WatchedServer

# Small caches fill during the warm-up. Those of a usual server would grow all the time, because most texts are new.
SETTINGS = {"SHOPWINDOW_EMBEDDING_CACHE": "500", "SHOPWINDOW_RESULT_CACHE_MIB": "2"}
_SAVE_EVERY_S = 2.0
_RECENT = 200
_KEPT_SAMPLES = 60


def models_of(server: WatchedServer) -> list[Model]:
    """Return the models of a server, in alphabetical order."""
    with RetrievalClient(server.url, timeout_s=30.0) as shop:
        products = tuple(sorted(shop.retrieve("red dress", top_k=MOST_LIKE)[0].products))
    with InferenceServerClient(server.url, channel_args=[("grpc.enable_http_proxy", 0)]) as client:
        found = []
        for name in server.models:
            described = client.get_model_metadata(name)
            inputs, outputs = (
                tuple(Tensor(name=one.name, datatype=one.datatype, shape=tuple(one.shape)) for one in tensors)
                for tensors in (described.inputs, described.outputs)
            )
            rows = client.get_model_config(name).config.max_batch_size
            searched = products if any(one.name == "like" for one in inputs) else ()
            found.append(Model(name=name, inputs=inputs, outputs=outputs, max_rows=rows, products=searched))
        return found


@dataclass
class Run:
    """Sends the requests from `state.done` up to `requests`.

    Args:
        server: The server.
        models: Its models.
        state: What was done before; it is changed.
        requests: Number of requests of the whole run.
        connections: Number of senders.
        file: Where to keep the state.
        show: Called now and then with a line about the progress.
        cancel: Whether some calls do not wait for their answer.
    """

    server: WatchedServer
    models: Sequence[Model]
    state: State
    requests: int
    connections: int
    file: Path
    show: Callable[[str], None]
    cancel: bool = False

    def __post_init__(self) -> None:
        self._next = self.state.done
        self._lock = threading.Lock()
        self._flying: dict[int, Case] = {}
        self._recent: deque[tuple[float, int]] = deque(maxlen=_RECENT)
        self._stopped = threading.Event()
        self._fault: Exception | None = None

    def run(self) -> None:
        """Send them all. After KeyboardInterrupt the requests in flight end, and the state is complete.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed.
            Exception: A fault of the fuzzer itself.
        """
        began, before = time.monotonic(), self.state.seconds
        neighbours = Neighbours(self.server.url, lambda text: self._suspect("neighbours are unharmed", text))
        watch = Watch(self.server, lambda text: self._suspect("the server stays up", text))
        senders = [threading.Thread(target=self._send_all, args=(watch,)) for _ in range(self.connections)]
        try:
            with neighbours, watch:
                try:
                    for sender in senders:
                        sender.start()
                    while any(sender.is_alive() for sender in senders):
                        senders[0].join(_SAVE_EVERY_S) if senders[0].is_alive() else time.sleep(_SAVE_EVERY_S / 4)
                        self.state.seconds = before + time.monotonic() - began
                        self._save(watch)
                finally:
                    self._stopped.set()
                    watch.well.set()
                    for sender in senders:
                        sender.join()
        finally:
            self.state.seconds = before + time.monotonic() - began
            self.state.compared += neighbours.compared
            self.state.refused += neighbours.refused
            if grown := growths(watch.samples):
                self.state.memory.append({one.part: [one.before, one.after] for one in grown})
                self.state.samples.append(watch.samples[:: max(1, len(watch.samples) // _KEPT_SAMPLES)])
            for one in grown:
                if not one.flat:
                    text = f"{one.part}: from {one.before / 2**20:.0f} to {one.after / 2**20:.0f} MiB"
                    self.state.find(f"memory {one.part}", "memory stays flat", text, [], "")
            self._save(watch)
        if self._fault is not None:
            raise self._fault

    def _send_all(self, watch: Watch) -> None:
        sender = Sender(self.server.addresses)
        try:
            while True:
                watch.well.wait()  # a server that is being recovered would only add failures of one cause
                with self._lock:
                    if self._stopped.is_set() or watch.lost or self._next >= self.requests:
                        return
                    number = self._next
                    self._next += 1
                case = make_case(self.state.seed, number, self.models, cancel=self.cancel)
                with self._lock:
                    self._flying[number] = case
                self._note(case, sender.send(case), watch)
                with self._lock:
                    del self._flying[number]
                    self._recent.append((time.monotonic(), number))
        except Exception as fault:
            self._fault = fault
            self._stopped.set()
        finally:
            sender.close()

    def _note(self, case: Case, reply: Reply, watch: Watch) -> None:
        faults, reasons = judge(case, reply, [watch.regions] if watch.regions else [])
        self.state.count(case.kind, reply.status, reasons)
        for fault in faults:
            self.state.find(
                kind_of(fault.invariant, fault.text),
                fault.invariant,
                fault.text,
                [case.number],
                f"{case.kind}: {case.what}",
            )

    def _suspect(self, invariant: str, text: str) -> None:
        """Note what was wrong, with the requests of that time."""
        with self._lock:
            since = time.monotonic() - 1.5
            numbers = [*self._flying, *(number for when, number in reversed(self._recent) if when >= since)]
        self.state.find(kind_of(invariant, text), invariant, text, numbers, "one of the requests of that time")

    def _save(self, watch: Watch) -> None:
        with self._lock:
            self.state.done = min([self._next, *self._flying])
            sent = self._next
        self.state.write(self.file)
        memory = watch.samples[-1] if watch.samples else {}
        parts = ", ".join(f"{part} {size / 2**20:.0f}" for part, size in memory.items() if size >= 100 * 2**20)
        rate = sent / max(self.state.seconds, 0.001)
        self.show(f"{sent:,} of {self.requests:,}, {rate:.0f}/s, findings: {len(self.state.findings)}; MiB: {parts}")
