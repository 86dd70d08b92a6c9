"""Options and waiting, shared by the commands that publish a generation of an index."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shopwindow.retrieval.index.home import Pointer


def add_home(parser: argparse.ArgumentParser) -> None:
    """Add --index, and the options for waiting until servers use it."""
    parser.add_argument(
        "--index",
        type=Path,
        metavar="DIR",
        help="index home that 'shopwindow index' wrote (default: `index` beside the repository)",
    )
    add_waiting(parser)


def add_waiting(parser: argparse.ArgumentParser) -> None:
    """Add the options for waiting until servers use a new generation."""
    parser.add_argument(
        "--timeout",
        type=float,
        default=60.0,
        metavar="S",
        help="seconds to wait until running servers use the generation (default: %(default)s)",
    )
    parser.add_argument(
        "--expect-processes",
        type=int,
        default=0,
        metavar="N",
        help="wait until N processes serve it, and fail if fewer are found; use it where servers may lack write access "
        "to the index home and so go unnoticed (default: all processes that are found)",
    )


def add_force(parser: argparse.ArgumentParser) -> None:
    """Add --force, for the commands that build an index and measure its recall."""
    parser.add_argument(
        "--force",
        action="store_true",
        help="publish a rebuilt index even if it finds less than 0.97 of what exact search finds",
    )


def await_served(
    home: Path, generation: int, timeout_s: float, expected: int = 0, *, before: Pointer | None = None
) -> None:
    """Wait until every process that serves the home uses a generation, and print how many do.

    If a process refuses the generation, CURRENT goes back to the one that the process still serves. So the next server
    does not load the refused one. The refused generation stays on disk until the next one is published, so that it can
    be tried again.

    Args:
        home: the index home.
        generation: the generation that CURRENT names.
        timeout_s: longest wait in seconds.
        expected: number of processes to wait for at least.
        before: what CURRENT said before a rollback; it does so again if the generation is refused. None if the
            generation was published.

    Raises:
        NotServed: a process refused it or is late, or fewer processes than expected were found.
    """
    from shopwindow.retrieval.errors import GenerationRefused
    from shopwindow.retrieval.index.home import IndexHome
    from shopwindow.retrieval.live.awaiting_servers import wait_until_served

    try:
        processes = wait_until_served(home, generation, timeout_s, expected=expected)
    except GenerationRefused as error:
        pointer = IndexHome(home).withdraw(generation, error.served, before=before)
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
        print("no running server watches this index; the next server that starts will serve this generation")
