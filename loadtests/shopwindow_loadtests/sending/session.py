"""The part of one process in a load test, closed or open loop. Needs gevent in place, see `locustfile`."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

import gevent
from gevent.pool import Pool

from shopwindow_loadtests.judging.samples import NOT_SENT, Sample
from shopwindow_loadtests.scenario.mix import Mix
from shopwindow_loadtests.scenario.options import LoadTestOptions
from shopwindow_loadtests.scenario.shapes import due_times
from shopwindow_loadtests.scenario.truth import ExactAnswers
from shopwindow_loadtests.sending.sender import Drawn, Traffic, now, send

REPORT_S = 0.5
WINDOW_S = 5.0  # short enough to see a spike, long enough to ignore a burst


class CpuShare:
    """How much of a core this process uses, from now on.

    A process near a full core measures its own limit and not the server's.
    """

    def __init__(self) -> None:
        self._looks = deque([(time.perf_counter(), time.process_time())])
        self._busiest: float | None = None

    def look(self) -> float:
        """Return the cores used in the busiest `WINDOW_S` so far. Call it often.

        Until `WINDOW_S` is over: the cores used since the start.
        """
        at_s, cpu_s = time.perf_counter(), time.process_time()
        while len(self._looks) > 1 and self._looks[1][0] <= at_s - WINDOW_S:
            self._looks.popleft()
        began_s, before_s = self._looks[0]
        self._looks.append((at_s, cpu_s))
        share = (cpu_s - before_s) / max(at_s - began_s, 1e-9)
        if at_s - began_s >= WINDOW_S:
            self._busiest = max(share, self._busiest or 0.0)
        return share if self._busiest is None else self._busiest


class Session:
    """The part of one process in a load test.

    Args:
        options: The test.
        mix: The requests to send.
        deliver: Takes the samples, see `Collector.take`.
    """

    def __init__(self, options: LoadTestOptions, mix: Mix, deliver: Callable[..., None]) -> None:
        self.finished = False  # whether to stop sending
        self._options, self._mix, self._deliver = options, mix, deliver
        self._answers = ExactAnswers.read(options.answers_file) if options.recall_share else None
        self._client = options.client()
        self._samples: list[Sample] = []
        self._in_flight = 0
        self._worker, self._started = 0, float("inf")
        self._schedule_ended = not options.open_loop

    def start(self, worker: int) -> None:
        """Start the clock.

        Args:
            worker: Number of this process, from 0.
        """
        self._client.health()  # opens the connection, so that no request of the test waits for that
        self._worker = worker
        self._traffic = Traffic(self._mix, self._options.seed * 1000 + worker)
        self._due: list[float] = []
        if self._options.open_loop:
            options = self._options
            self._due = due_times(
                options.load, arrivals=options.arrivals, seed=options.seed, worker=worker, workers=options.workers
            ).tolist()
        self._started = now()
        self._cpu = CpuShare()
        gevent.spawn(self._report)

    def send_one(self) -> None:
        """Closed loop: send a request and wait for its answer."""
        if self.finished or now() > self._started + self._options.duration_s:
            gevent.sleep(REPORT_S)
            return
        if self._send(self._traffic.draw(), None):
            gevent.sleep(0.05)  # a server that refuses at once must not turn the users into a busy loop

    def send_when_due(self) -> None:
        """Open loop: send each request when it is due, whether or not earlier ones were answered."""
        if self._schedule_ended:
            gevent.sleep(REPORT_S)
            return
        pool = Pool(self._options.max_in_flight // self._options.workers)
        for due in self._due:
            drawn = self._traffic.draw()
            at = self._started + due
            gevent.sleep(max(0.0, at - now()))  # sleep even if late: requests in flight need their turn
            if self.finished:
                break
            if pool.full():
                unsent = Sample(at, 0.0, 0.0, drawn.request.name, drawn.request.batch, NOT_SENT, worker=self._worker)
                self._samples.append(unsent)
            else:
                pool.spawn(self._send, drawn, at)
        pool.join()
        self._schedule_ended = True

    def _send(self, drawn: Drawn, due: float | None) -> str:
        """Send a request and return its error; empty if it was answered."""
        self._in_flight += 1
        try:
            sample = send(drawn, self._client, due=due, answers=self._answers, worker=self._worker)
        finally:
            self._in_flight -= 1
        self._samples.append(sample)
        return sample.error

    def _report(self) -> None:
        done = False
        while not done:
            gevent.sleep(REPORT_S)
            over = self.finished or now() > self._started + self._options.duration_s
            done = over and self._schedule_ended and not self._in_flight
            rows, self._samples = self._samples, []
            self._deliver(
                rows=[list(row) for row in rows], worker=self._worker, done=done, cpu=self._cpu.look(), clock_s=now()
            )
