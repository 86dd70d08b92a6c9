"""CPU time and memory of a server: its process and all processes that it started."""

from __future__ import annotations

from pathlib import Path

from shopwindow.server.processes import all_processes, stubs

SERVER = "server"  # everything except the Python models


def cpu_seconds(root: int) -> dict[int, float]:
    """Return the user and system time so far of a process and all its descendants, by process id.

    Args:
        root: Id of the process. The processes of its session count too, whoever adopted them.
    """
    processes = dict(all_processes())
    ours = {root} | {pid for pid, one in processes.items() if one.session == root}
    while more := {pid for pid, one in processes.items() if one.parent in ours} - ours:
        ours |= more
    return {pid: processes[pid].cpu_seconds for pid in ours if pid in processes}


def memory_bytes(root: int) -> int:
    """Return the private memory of a process and all its descendants, in bytes; see `private_bytes`."""
    return sum(map(private_bytes, cpu_seconds(root)))


def private_bytes(pid: int) -> int:
    """Return the private memory of one process (RssAnon, no mapped files), in bytes; 0 for a process that is gone."""
    try:
        lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(lines.get("RssAnon", "0").split()[0]) * 1024


def spent(before: dict[int, float], after: dict[int, float], root: int) -> dict[str, float]:
    """Return the CPU seconds between two looks at a server, by part: `SERVER` and the model of each Python process.

    Args:
        before: The earlier result of `cpu_seconds`.
        after: The later one.
        root: Id of the server's process.
    """
    models = {stub.pid: stub.model for stub in stubs(root)}
    parts: dict[str, float] = {}
    for pid, seconds in after.items():
        part = models.get(pid, SERVER)
        parts[part] = parts.get(part, 0.0) + seconds - before.get(pid, 0.0)
    return parts
