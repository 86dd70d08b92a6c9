"""Wait, after publishing a generation, until all processes that serve the index home serve it."""

from __future__ import annotations

import time
from pathlib import Path

from shopwindow.retrieval.errors import GenerationRefused, NotServed
from shopwindow.retrieval.index.home import IndexHome
from shopwindow.retrieval.index.serving_processes import ServingProcess, served_by

_POLL_S = 0.05


def wait_until_served(home: Path, generation: int, timeout_s: float = 60.0, *, expected: int = 0) -> int:
    """Wait until every living process serves a generation.

    Args:
        home: the index home.
        generation: the generation that CURRENT names.
        timeout_s: longest wait in seconds.
        expected: number of processes to wait for at least. Set it if some may lack write access to the home, because
            those cannot be seen.

    Returns:
        The number of processes that serve the generation; 0 if no process lives.

    Raises:
        GenerationRefused: a process refused the generation.
        NotServed: some processes are late, fewer than `expected` were seen, or CURRENT names another generation now.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        mark = IndexHome(home).mark
        processes = served_by(home)
        for process in processes:
            refused = process.refused
            # A process may have refused the same generation before. Only its answer to this CURRENT counts.
            if refused is not None and refused.generation == generation and refused.current in (None, mark):
                raise GenerationRefused(
                    f"generation {generation} of {home} was refused by {process.name}, which still serves generation "
                    f"{process.generation}: {refused.reason}",
                    served=process.generation,
                )
        late = [process for process in processes if process.generation != generation]
        if not late and len(processes) >= expected:
            return len(processes)
        pointer = IndexHome(home).pointer
        if pointer is None or pointer.generation != generation:
            now = f"CURRENT names {pointer.generation}" if pointer else "there is no CURRENT"
            raise NotServed(f"generation {generation} of {home} was replaced before all processes served it: {now}")
        if time.monotonic() > deadline:
            if not late:
                raise NotServed(
                    f"generation {generation} of {home} is served by {len(processes)} processes, {expected} were "
                    f"expected, and no more appeared within {timeout_s:g} s; look into the logs of the others"
                )
            names = ", ".join(f"{process.name} ({_state(process)})" for process in late)
            raise NotServed(
                f"generation {generation} of {home} is not served after {timeout_s:g} s by {len(late)} of "
                f"{len(processes)} processes: {names}; look into the server's log"
            )
        time.sleep(_POLL_S)


def _state(process: ServingProcess) -> str:
    if process.unreadable:
        return f"{process.unreadable}; it writes a new one when it switches: restart that server"
    if process.refused is not None:
        return f"serves {process.generation}, last refused {process.refused.generation}: {process.refused.reason}"
    return f"serves {process.generation}"
