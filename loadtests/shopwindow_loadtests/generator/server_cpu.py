"""CPU time and memory of a server: of its process and of all that it started."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from shopwindow.server.processes import stubs

SERVER = "server"  # the part that is no Python model
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def cpu_seconds(root: int) -> dict[int, float]:
    """User and system time so far of a process and all its descendants, by process id.

    Args:
        root: Id of the process; its session's processes count too, whoever adopted them.
    """
    seconds, parents, ours = {}, {}, {root}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended while we looked
            pid = int(entry.name)
            parents[pid] = int(fields[1])
            seconds[pid] = (int(fields[11]) + int(fields[12])) * _TICK_S  # utime and stime of proc(5)
            if int(fields[3]) == root:
                ours.add(pid)
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return {pid: seconds[pid] for pid in ours if pid in seconds}


def memory_bytes(root: int) -> int:
    """RssAnon of a process and all its descendants: memory of their own, not of mapped files."""
    total = 0
    for pid in cpu_seconds(root):
        with suppress(FileNotFoundError, ProcessLookupError):  # it ended while we looked
            lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
            total += int(lines.get("RssAnon", "0").split()[0]) * 1024
    return total


def spent(before: dict[int, float], after: dict[int, float], root: int) -> dict[str, float]:
    """CPU seconds between two looks at a server, by part: `SERVER` and the model of each Python process of a Triton.

    Args:
        before: What `cpu_seconds` said.
        after: What it said later.
        root: The server's process.
    """
    models = {stub.pid: stub.model for stub in stubs(root)}
    parts: dict[str, float] = {}
    for pid, seconds in after.items():
        part = models.get(pid, SERVER)
        parts[part] = parts.get(part, 0.0) + seconds - before.get(pid, 0.0)
    return parts
