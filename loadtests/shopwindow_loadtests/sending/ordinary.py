"""Users for plain Locust: its own options say how many there are and for how long, and its own tables count requests.

They are a closed loop and judge nothing. `shopwindow loadtest` has open loops, limits and recall.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
from pathlib import Path
from typing import Any

import gevent
from locust import User, constant, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.exception import StopUser
from locust.runners import MasterRunner

from shopwindow.base.default_places import GRPC_URL, SHOP
from shopwindow_client import RetrievalClient
from shopwindow_loadtests.judging.slo import ExitCode
from shopwindow_loadtests.scenario.mix import Mix, Request, read_mix
from shopwindow_loadtests.scenario.options import LoadTestOptions
from shopwindow_loadtests.scenario.queries import BUILT_IN_QUERIES
from shopwindow_loadtests.sending.sender import Traffic, now

_LOG = logging.getLogger(__name__)
_SEEDS = 10**6
_PAUSE_S = 0.05  # a server that refuses at once must not turn the users into a busy loop


class Source:
    """What the users of this process send, and through which client.

    Attributes:
        ready: Whether the other two are there; without them users stop at once.
        traffic: Draws the requests.
        client: Connected to the host of the test.
    """

    ready = False
    traffic: Traffic
    client: RetrievalClient


SOURCE = Source()


class Shopper(User):
    """Sends a request, waits for its answer, and sends the next one."""

    host = GRPC_URL
    wait_time = constant(0)

    def on_start(self) -> None:
        """Stop at once if there is nothing to send."""
        if not SOURCE.ready:
            raise StopUser

    @task
    def shop(self) -> None:
        """Send one request and report its outcome to Locust."""
        drawn = SOURCE.traffic.draw()
        began, error = now(), None
        try:
            drawn.send(SOURCE.client)
        except Exception as caught:  # Locust would log anything else with its stack, at every request
            error = caught
        self.environment.events.request.fire(
            request_type="gRPC",
            name=drawn.request.name,
            response_time=(now() - began) * 1e3,
            response_length=0,
            exception=error,
            context={},
        )
        if error is not None:
            gevent.sleep(_PAUSE_S)


def mix_of(options: argparse.Namespace) -> tuple[Mix, str]:
    """Return what to send, and in words where its queries come from.

    Args:
        options: Parsed by Locust; see `add_options`.

    Raises:
        ValueError: An option or a file is wrong.
    """
    # Locust sets the number of users. This one only completes the options, so that they can be checked.
    names = ("batch", "top_k", "zipf", "timeout_s")
    given: dict[str, Any] = {"users": (1.0,), **{name: getattr(options, name) for name in names}}
    given |= {name: Path(getattr(options, name)) for name in ("mix", "queries") if getattr(options, name)}
    demo = SHOP / "queries.parquet"
    if "mix" in given or "queries" in given:
        source = f"the mix {options.mix}" if options.mix else f"queries from {options.queries}"
        return read_mix(LoadTestOptions(**given)), source
    if demo.is_file():
        source = f"queries from {demo} (the demo shop's; --queries takes others)"
        return read_mix(LoadTestOptions(queries=demo, **given)), source
    request = Request(kind="text", batch=options.batch, top_k=options.top_k)
    mix = Mix(requests=(request,), queries=BUILT_IN_QUERIES, zipf=options.zipf)
    return mix, f"{len(BUILT_IN_QUERIES)} built-in queries (there is no {demo}; --queries takes yours)"


def address_of(host: str) -> str:
    """Return the address of a host as Locust's users write it, with or without `http://` and a final slash.

    Raises:
        ValueError: The host has no port, or asks for TLS, which these users do not speak.
    """
    address = host.removeprefix("http://").rstrip("/")
    if address.startswith("https:") or not address.rpartition(":")[2].isdigit():
        raise ValueError(f"host must be HOST:PORT of the server's gRPC service, without TLS, got {host!r}")
    return address


def add_options(parser: LocustArgumentParser) -> None:
    """Declare the options beside Locust's own. Added to the parser itself, they are fields of the web interface too."""
    parser.add_argument(
        "--queries", default="", help="parquet with a column text, or text with one query per line, most popular first"
    )
    parser.add_argument("--mix", default="", help="YAML file with kinds of requests, instead of --queries")
    parser.add_argument("--batch", type=int, default=1, help="queries in one request")
    parser.add_argument("--top-k", type=int, default=100, help="products for each query")
    parser.add_argument("--zipf", type=float, default=1.0, help="exponent of popularity")
    parser.add_argument("--timeout-s", type=float, default=5.0, help="deadline of one request in seconds")


def check(environment: Environment, **_: Any) -> None:
    """Check host, options and files when the process starts, so that a wrong one ends it at once."""
    try:
        _prepared(environment)
    except (ValueError, OSError) as error:
        print(f"locust: error: {error}", file=sys.stderr)
        sys.exit(ExitCode.BAD_USAGE)


def start(environment: Environment, **_: Any) -> None:
    """Prepare what this process sends; the web interface may have changed host and options since it started."""
    runner = environment.runner
    assert runner is not None  # Locust makes it first
    SOURCE.ready = False
    try:
        traffic, source, url = _prepared(environment)
        if not isinstance(runner, MasterRunner):
            SOURCE.client = RetrievalClient(url, timeout_s=_options(environment).timeout_s, retry=None)
            SOURCE.traffic, SOURCE.ready = traffic, True
    except (ValueError, OSError) as error:
        _LOG.error("nothing is sent: %s", error)
        gevent.spawn_later(_PAUSE_S, runner.stop)
        return
    _LOG.info("sending %s to %s", source, url)


def stop(**_: Any) -> None:
    """Close the connection."""
    if SOURCE.ready:
        SOURCE.ready = False
        SOURCE.client.close()


def _options(environment: Environment) -> argparse.Namespace:
    options: argparse.Namespace | None = environment.parsed_options
    assert options is not None  # Locust's command line always makes them
    return options


def _prepared(environment: Environment) -> tuple[Traffic, str, str]:
    """Return the traffic, where its queries come from, and the server's address."""
    mix, source = mix_of(_options(environment))
    url = address_of(environment.host or Shopper.host)
    return Traffic(mix, seed=random.randrange(_SEEDS)), source, url


events.init_command_line_parser.add_listener(add_options)  # type: ignore[no-untyped-call]
events.init.add_listener(check)  # type: ignore[no-untyped-call]
events.test_start.add_listener(start)  # type: ignore[no-untyped-call]
events.test_stop.add_listener(stop)  # type: ignore[no-untyped-call]
