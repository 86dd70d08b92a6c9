"""The processes of a server: its process group, and in it the stubs, one for each instance of a Python model."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_STUB = "triton_python_backend_stub"
_KILL_GRACE_S = 3.0


@dataclass(frozen=True, kw_only=True)
class Stub:
    """The process of one instance of a Python model.

    Args:
        pid: Its id.
        model: The model's name.
    """

    pid: int
    model: str


def stubs(group: int) -> list[Stub]:
    """The stubs of the server that leads a process group."""
    found = []
    for pid in members(group):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if len(command) > 1 and Path(os.fsdecode(command[0])).name == _STUB:
            # Its first argument is the model's code: REPOSITORY/MODEL/VERSION/model.py.
            found.append(Stub(pid=pid, model=Path(os.fsdecode(command[1])).parents[1].name))
    return found


def child(pid: int) -> int:
    """The first process that another one started and that is there; 0 without one."""
    started = Path(f"/proc/{pid}/task").glob("*/children")
    found = " ".join(file.read_text() for file in started).split()
    return int(found[0]) if found else 0


def is_at_work(pid: int, group: int) -> bool:
    """Whether a process is alive, still of this group, and not stopped by a signal."""
    state, process_group = _state(pid)
    return process_group == group and state not in "ZXT"


def members(group: int) -> Iterator[int]:
    """Process ids of a group. Zombies don't count: a container without an init process never reaps them."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            state, process_group = _state(int(entry.name))
            if process_group == group and state not in "ZX":
                yield int(entry.name)


def kill(pid: int) -> None:
    """Ends a process at once; one that is gone already is fine."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def kill_group(group: int) -> None:
    """Kills what is left of a process group and waits until it is gone."""
    deadline = time.monotonic() + _KILL_GRACE_S
    while any(members(group)) and time.monotonic() < deadline:
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            return
        time.sleep(0.02)


def _state(pid: int) -> tuple[str, int]:
    """One letter of proc(5) and the process group; `X` and 0 for a process that is gone."""
    try:
        state, _, group = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:3]
    except (FileNotFoundError, ProcessLookupError):
        return "X", 0
    return state, int(group)
