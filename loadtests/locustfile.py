"""The Locust side of a load test: users that call `retrieve`, raw samples, the verdict. Started by `loadtests.run`."""

# The order matters: Locust patches the standard library when it is imported, gRPC must then be told about gevent
# before its first channel, and only after that may the client be used.
# ruff: noqa: E402, I001
from __future__ import annotations

import csv
import os
import time
from typing import Any

from locust import User, constant, events, task
from locust.env import Environment
from grpc.experimental.gevent import init_gevent

init_gevent()

import gevent

from loadtests.options import LoadTestOptions
from loadtests.queries import ZipfSampler, read_queries
from loadtests.runner import EXIT_LIMIT_BROKEN, OPTIONS_VARIABLE
from loadtests.slo import Sample, broken_limits, read_samples, summarise
from shopwindow_client import RetrievalClient

OPTIONS = LoadTestOptions.from_json(os.environ[OPTIONS_VARIABLE])
SAMPLER = ZipfSampler(read_queries(OPTIONS.queries), exponent=OPTIONS.zipf_exponent, seed=OPTIONS.seed)
SAMPLES_PATH = OPTIONS.out / "samples.csv"

samples_file = SAMPLES_PATH.open("w", newline="", encoding="utf-8")
samples = csv.writer(samples_file)
samples.writerow(Sample._fields)


class Shopper(User):
    """Asks for products, one request after the other."""

    wait_time = constant(0)

    def on_start(self) -> None:
        """Connect."""
        self.client = RetrievalClient(OPTIONS.url, timeout_s=OPTIONS.timeout_s)

    def on_stop(self) -> None:
        """Disconnect."""
        self.client.close()

    @task
    def retrieve(self) -> None:
        """Send one request and report it to Locust."""
        queries = SAMPLER.draw(OPTIONS.queries_per_request)
        found, error = 0, None
        start_s, started = time.time(), time.perf_counter()
        try:
            found = int(self.client.retrieve(queries, top_k=OPTIONS.top_k).counts.sum())
        except Exception as caught:  # whatever goes wrong is a failed request, or the verdict would not see it
            error = caught
        self.environment.events.request.fire(
            request_type="grpc",
            name=f"retrieve batch={OPTIONS.queries_per_request}",  # one name a kind, never the words
            response_time=(time.perf_counter() - started) * 1000,
            response_length=found,
            exception=error,
            context={},
            start_time=start_s,
        )
        if error is not None:
            gevent.sleep(0.05)  # a server that refuses at once must not turn the users into a busy loop


def keep_sample(start_time: float, response_time: float, exception: Exception | None, **_: Any) -> None:
    """Write one raw sample: Locust itself only keeps rounded latencies."""
    error = "" if exception is None else type(exception).__name__
    samples.writerow(Sample(round(start_time, 6), round(response_time, 3), error))


def judge(environment: Environment, **_: Any) -> None:
    """Print the summary and the limits that are broken, and set the exit code."""
    samples_file.close()
    summary = summarise(read_samples(SAMPLES_PATH), queries_per_request=OPTIONS.queries_per_request)
    broken = broken_limits(summary, OPTIONS)
    print(summary)
    for line in broken:
        print(f"LIMIT BROKEN {line}")
    print(f"reports and raw samples are in {OPTIONS.out}", flush=True)
    environment.process_exit_code = EXIT_LIMIT_BROKEN if broken else 0


events.request.add_listener(keep_sample)  # type: ignore[no-untyped-call]
events.quitting.add_listener(judge)  # type: ignore[no-untyped-call]
