"""`make fuzz`: sends hostile requests to `shopwindow serve` and checks that nothing breaks.

The requests are gRPC calls with hostile content, mutated bytes of protobuf, photos that are broken in every way, HTTP
with sizes that lie. Beside them innocent callers ask and compare the answers. A seed and a number determine each
request, so `--only N` sends one of them again and shows it. A run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from google.protobuf import text_format
from google.protobuf.message import DecodeError
from tritonclient.grpc import service_pb2 as pb

from shopwindow.base.default_places import INDEX, REPOSITORY
from shopwindow_loadtests.fuzz.report import as_json, summary
from shopwindow_loadtests.fuzz.requests.cases import INFER, Call, Case
from shopwindow_loadtests.fuzz.requests.making import make_case
from shopwindow_loadtests.fuzz.run import SETTINGS, Run, models_of
from shopwindow_loadtests.fuzz.sending import Sender
from shopwindow_loadtests.fuzz.state import State
from shopwindow_loadtests.fuzz.verdicts import Fault, judge
from shopwindow_loadtests.fuzz.watching import region_prefix
from shopwindow_loadtests.soak.watched_server import WatchedServer

_SHOWN = 3_000  # characters of a request
_SETTLE_S = 3.0


def main(arguments: list[str] | None = None) -> int:
    """Read the options and run; 0 when no rule was broken."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that it stops the server too
    file = options.out / "state.json"
    state = State(seed=options.seed)
    if options.only is None and not options.fresh and file.exists():
        kept = State.read(file)
        if kept.seed == options.seed and kept.done < options.requests:
            state = kept
            print(f"goes on at request {state.done:,}; --fresh begins anew", flush=True)
    with WatchedServer(options.repository, options.index, options.out / "triton.log", SETTINGS) as server:
        if options.only is not None:
            return _send_again(server, options.seed, options.only, cancel=options.cancel)
        run = Run(
            server=server,
            models=models_of(server),
            state=state,
            requests=options.requests,
            connections=options.connections,
            file=file,
            show=_show_progress(),
            cancel=options.cancel,
        )
        try:
            run.run()
        except KeyboardInterrupt:
            print("\nstopped; the same command goes on", flush=True)
    (options.out / "report.json").write_text(json.dumps(as_json(state, options.requests), indent=1) + "\n")
    text = summary(state, options.requests)
    (options.out / "summary.txt").write_text(text + "\n")
    print(f"{text}\nreport: {options.out}/report.json", flush=True)
    return 0 if state.done >= options.requests and not state.findings else 1


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repository", type=Path, default=REPOSITORY)
    parser.add_argument("--index", type=Path, default=INDEX)
    parser.add_argument("--requests", type=int, default=100_000, metavar="N", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--connections", type=int, default=8, metavar="N", help="default: %(default)s")
    parser.add_argument("--only", type=int, nargs="+", metavar="N", help="send only these requests, and show them")
    parser.add_argument(
        "--cancel", action="store_true", help="some calls do not wait for their answer; that can end Triton 2.51"
    )
    parser.add_argument("--fresh", action="store_true", help="begin anew, even if a run was stopped")
    parser.add_argument(
        "--out", type=Path, default=Path("build/fuzz"), metavar="DIR", help="folder for report.json, summary.txt, "
        "state.json and triton.log (default: %(default)s)"
    )  # fmt: skip
    options = parser.parse_args(arguments)
    for name in ("requests", "connections"):
        if getattr(options, name) <= 0:
            parser.error(f"--{name}: must be above 0, got {getattr(options, name)}")
    options.out.mkdir(parents=True, exist_ok=True)
    return options


def _show_progress() -> Callable[[str], None]:
    """Return a function that shows the progress: on one line of a terminal, else every ten seconds."""
    shown = 0.0

    def show(text: str) -> None:
        nonlocal shown
        if sys.stdout.isatty():
            print(f"\r\x1b[K{text}", end="", flush=True)
        elif time.monotonic() > shown + 10:
            shown = time.monotonic()
            print(text, flush=True)

    return show


def _send_again(server: WatchedServer, seed: int, numbers: Sequence[int], *, cancel: bool) -> int:
    """Send some requests one after the other, and print each, its answer, and what is wrong with it."""
    before, models = (server.triton, server.stubs), models_of(server)
    sender, broken = Sender(server.addresses), False
    secrets = [prefix] if (prefix := region_prefix(server.triton)) else []
    for number in numbers:
        case = make_case(seed, number, models, cancel=cancel)
        print(f"request {number}, {case.kind}: {case.what}\n{_shown(case)}", flush=True)
        reply = sender.send(case)
        print(f"answer: {reply.status} {reply.text[:_SHOWN]!a} and {sum(map(len, reply.messages)):,} bytes")
        faults, _ = judge(case, reply, secrets)
        if len(numbers) == 1 or faults:
            time.sleep(_SETTLE_S)  # a process may end a little later
        if (server.triton, server.stubs) != before or not server.is_ready:
            faults.append(Fault(invariant="the server stays up", text="a process ended, or the server is not ready"))
        for fault in faults:
            print(f"FINDING  {fault.invariant}: {fault.text}", flush=True)
        if faults and faults[-1].invariant == "the server stays up":
            return 1
        broken = broken or bool(faults)
    sender.close()
    return int(broken)


def _shown(case: Case) -> str:
    """Return what is sent, readable and cut."""
    if not isinstance(case.sent, Call):
        return "\n".join(repr(piece[:_SHOWN]) for piece in case.sent.pieces)
    texts = [f"{case.sent.path} {case.sent.metadata or ''}"]
    for message in case.sent.messages:
        try:
            parsed = pb.ModelInferRequest.FromString(message) if case.sent.path == INFER else None
        except DecodeError:
            parsed = None
        texts.append(text_format.MessageToString(parsed)[:_SHOWN] if parsed else repr(message[:_SHOWN]))
    return "\n".join(texts)


if __name__ == "__main__":
    raise SystemExit(main())
