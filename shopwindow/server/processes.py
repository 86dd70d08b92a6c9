"""The processes of a server: its process group, with one stub process for each instance of a Python model."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_STUB = "triton_python_backend_stub"
_KILL_GRACE_S = 3.0
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True)
class Stub:
    """The process of one instance of a Python model.

    Args:
        pid: Process id.
        model: Name of the model.
        instance: Triton's name of the instance, such as `retrieve_0_0`.
    """

    pid: int
    model: str
    instance: str = ""


@dataclass(frozen=True, kw_only=True)
class ProcessStatus:
    """What proc(5) says about a process.

    Attributes:
        state: One letter; `Z` is a zombie, `X` dead, `T` stopped by a signal.
        parent: Id of its parent.
        group: Its process group.
        session: Its session.
        cpu_seconds: User and system time so far.
    """

    state: str
    parent: int
    group: int
    session: int
    cpu_seconds: float


def stubs(group: int) -> list[Stub]:
    """Return the stubs of the server that leads a process group."""
    found = []
    for pid in members(group):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        # The first argument is the path of the model's code: REPOSITORY/MODEL/VERSION/model.py. A process that is just
        # starting may not show it yet.
        if len(command) > 1 and Path(os.fsdecode(command[0])).name == _STUB and command[1].count(b"/") > 1:
            model = Path(os.fsdecode(command[1])).parents[1].name
            found.append(Stub(pid=pid, model=model, instance=os.fsdecode(b"".join(command[8:9]))))
    return found


def started_by(pid: int, program: str) -> int:
    """Return the process id of a living child that runs a program, given by its file's name; 0 if there is none."""
    for found, status in all_processes():
        if status.parent == pid and status.state not in "ZX":
            with suppress(OSError):
                if Path(f"/proc/{found}/exe").readlink().name == program:
                    return found
    return 0


def is_at_work(pid: int, group: int) -> bool:
    """Return whether a process is alive, still in this group, and not stopped by a signal."""
    status = process_status(pid)
    return status is not None and status.group == group and status.state not in "ZXT"


def members(group: int) -> Iterator[int]:
    """Yield the process ids of a group, without zombies: a container without an init process never reaps them."""
    for pid, status in all_processes():
        if status.group == group and status.state not in "ZX":
            yield pid


def all_processes() -> Iterator[tuple[int, ProcessStatus]]:
    """Yield the id and the status of every process in /proc, zombies included."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (status := process_status(int(entry.name))) is not None:
            yield int(entry.name), status


def kill(pid: int) -> None:
    """Kill a process. It may be gone already."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def kill_group(group: int) -> None:
    """Kill the remaining processes of a group and wait until they are gone."""
    deadline = time.monotonic() + _KILL_GRACE_S
    while any(members(group)) and time.monotonic() < deadline:
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            return
        time.sleep(0.02)


def blank_argument(pid: int, secret: str) -> None:
    """Overwrite a secret in the command line of a child, which every user of this machine can read in /proc.

    The child must have read its arguments. If the kernel does not let us write into its memory, nothing happens.
    """
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        start, end = int(fields[45]), int(fields[46])  # arg_start and arg_end of proc(5)
        with Path(f"/proc/{pid}/mem").open("r+b", buffering=0) as memory:
            memory.seek(start)
            arguments = memory.read(end - start)
            for found in re.finditer(re.escape(secret.encode()), arguments):
                memory.seek(start + found.start())
                memory.write(b"x" * len(secret))


def process_status(pid: int) -> ProcessStatus | None:
    """Read `/proc/PID/stat`; None for a process that is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return ProcessStatus(
        state=fields[0],
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        cpu_seconds=(int(fields[11]) + int(fields[12])) * _TICK_S,  # utime and stime
    )
