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
    parser.add_argument(
        "--timeout",
        type=float,
        default=60.0,
        metavar="S",
        help="seconds to wait until running servers have taken the generation (default: %(default)s)",
    )


def await_served(home: Path, generation: int, timeout_s: float) -> None:
    """Wait until every process that serves the home has taken a generation, and say so.

    One that a process refuses does not stay CURRENT, where the next server would find it: the one before, which is
    still served, takes its place. It stays on disk as what `rollback` leads to, to be tried again.

    Raises:
        NotServed: one refused it, or is late.
    """
    from retrieval.errors import GenerationRefused
    from retrieval.index_home import IndexHome
    from retrieval.live_files import wait_until_served

    try:
        processes = wait_until_served(home, generation, timeout_s)
    except GenerationRefused as error:
        index = IndexHome(home)
        with index.writing():
            pointer = index.pointer
            if pointer is None or pointer.generation != generation or pointer.previous is None:
                raise
            before = index.rollback().generation
        raise GenerationRefused(
            f"{error}; {home} is back at generation {before}; once the reason is gone, 'shopwindow rollback' leads to "
            f"{generation} again"
        ) from None
    if processes:
        print(f"served by {processes} processes")
    else:
        print("no running server watches this index; the next one that starts serves it")
