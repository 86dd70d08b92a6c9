"""Waiting, after a generation was published, until the processes that serve the index home have taken it."""

from __future__ import annotations

import time
from pathlib import Path

from shopwindow.retrieval.errors import GenerationRefused, NotServed
from shopwindow.retrieval.index.home import IndexHome
from shopwindow.retrieval.index.serving_processes import served_by

_POLL_S = 0.05


def wait_until_served(home: Path, generation: int, timeout_s: float = 60.0, *, expected: int = 0) -> int:
    """Wait until every living process serves a generation.

    Args:
        home: the index home.
        generation: the one that CURRENT names.
        timeout_s: longest wait in seconds.
        expected: wait for at least so many processes, where some may be unable to say that they live.

    Returns:
        The number of processes; 0 when none lives.

    Raises:
        GenerationRefused: a process found it unfit.
        NotServed: some are late, or CURRENT names another one by now.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        processes = served_by(home)
        for process in processes:
            if process.refused is not None and process.refused.generation == generation:
                raise GenerationRefused(
                    f"generation {generation} of {home} was refused by {process.name}, generation "
                    f"{process.generation} is served on: {process.refused.reason}",
                    served=process.generation,
                )
        late = [process for process in processes if process.generation != generation]
        if not late and len(processes) >= expected:
            return len(processes)
        pointer = IndexHome(home).pointer
        if pointer is None or pointer.generation != generation:
            now = f"CURRENT names {pointer.generation}" if pointer else "there is no CURRENT"
            raise NotServed(f"generation {generation} of {home} is not to be served any more: {now}")
        if time.monotonic() > deadline:
            if not late:
                raise NotServed(
                    f"generation {generation} of {home} is served by {len(processes)} processes, {expected} were "
                    f"expected, and no more are seen after {timeout_s:g} s; look into the logs of the others"
                )
            names = ", ".join(f"{process.name} (serves {process.generation})" for process in late)
            raise NotServed(
                f"generation {generation} of {home} is not served after {timeout_s:g} s by {len(late)} of "
                f"{len(processes)} processes: {names}; look into the server's log"
            )
        time.sleep(_POLL_S)
