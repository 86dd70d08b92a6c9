"""Find the lines of a tritonserver log that say why the server did not start."""

from __future__ import annotations

import re

_HEADER = re.compile(r"^[EWIF]\d{4} [\d:.]+\s+\d+ \S+\]\s*")
_USAGE = "Usage: tritonserver"

# After one of these lines, a model or the server cannot become ready. The severity does not help: on a machine without
# a GPU, Triton logs harmless errors at each start, and it logs a missing model.py as information.
_FATAL = re.compile(
    r"Poll failed for model directory"
    r"|failed to load (?:'[^']*' version|model '[^']*':)"
    r"|Failed to preinitialize Python stub"
    r"|which has no loaded version"
    r"|failed to start \w+ service"
    r"|\[libprotobuf ERROR"
    r"|unrecognized option"
    r"|^error: "
)


def fatal_lines(log: str) -> list[str]:
    """Return the messages after which the server cannot become ready.

    Args:
        log: The server's output so far.

    Returns:
        The messages without time stamps, each once; none if nothing fatal was logged.
    """
    head = log.partition(_USAGE)[0]  # after a wrong flag Triton prints its whole help
    return list(dict.fromkeys(_readable(line) for line in head.splitlines() if _FATAL.search(line)))


def last_lines(log: str, count: int) -> str:
    """Return the last lines of a log."""
    return "\n".join(log.splitlines()[-count:])


def _readable(line: str) -> str:
    """Return a log line without its header and quotes, with the line breaks of a Python exception restored."""
    return _HEADER.sub("", line).strip().strip('"').replace("\\n", "\n").strip()
