"""What the commands that publish generations of an index home share."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_home(parser: argparse.ArgumentParser) -> None:
    """The index home, and how long to wait for the servers on it."""
    parser.add_argument(
        "--index",
        type=Path,
        metavar="DIR",
        help="index home, as 'shopwindow index' writes it (default: `index` beside the repository)",
    )
    add_waiting(parser)


def add_waiting(parser: argparse.ArgumentParser) -> None:
    """How to wait for the servers on an index home."""
    parser.add_argument(
        "--timeout",
        type=float,
        default=60.0,
        metavar="S",
        help="seconds to wait until running servers have taken the generation (default: %(default)s)",
    )
    parser.add_argument(
        "--expect-processes",
        type=int,
        default=0,
        metavar="N",
        help="wait until so many processes serve it, and fail where fewer are seen: for servers that may not be able "
        "to write that they live into the index home (default: all that are seen)",
    )


def await_served(home: Path, generation: int, timeout_s: float, expected: int = 0) -> None:
    """Wait until every process that serves the home has taken a generation, and say so.

    One that a process refuses does not stay CURRENT, where the next server would find it: the one that the process
    serves on takes its place. It stays on disk until the next one is published, to be tried again.

    Raises:
        NotServed: one refused it, or is late, or fewer than expected are there.
    """
    from shopwindow.retrieval.errors import GenerationRefused
    from shopwindow.retrieval.index.home import IndexHome
    from shopwindow.retrieval.live.awaiting_servers import wait_until_served

    try:
        processes = wait_until_served(home, generation, timeout_s, expected=expected)
    except GenerationRefused as error:
        pointer = IndexHome(home).withdraw(generation, error.served)
        if pointer is None:
            raise
        raise GenerationRefused(
            f"{error}; {home} is back at generation {pointer.generation}; once the reason is gone, "
            f"'shopwindow rollback --to {generation}' tries it again",
            served=error.served,
        ) from None
    if processes:
        print(f"served by {processes} processes")
    else:
        print("no running server watches this index; the next one that starts serves it")
