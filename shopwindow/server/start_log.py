"""Finding the lines of a tritonserver log that say why it did not start."""

from __future__ import annotations

import re

_HEADER = re.compile(r"^[EWIF]\d{4} [\d:.]+\s+\d+ \S+\]\s*")
_USAGE = "Usage: tritonserver"

# A model or the server is beyond saving once one of these appears. Matching on the severity would not do: a
# machine without a GPU logs harmless errors at each start, and a missing model.py is logged as information.
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
    """Picks the lines after which the server can't become ready, as readable text.

    Args:
        log: The server's output so far.

    Returns:
        The messages without time stamps, each once; none when nothing fatal was logged.
    """
    head = log.partition(_USAGE)[0]  # a wrong flag is followed by the whole help
    return list(dict.fromkeys(_readable(line) for line in head.splitlines() if _FATAL.search(line)))


def last_lines(log: str, count: int) -> str:
    """The last lines of a log, for when nothing in it stands out."""
    return "\n".join(log.splitlines()[-count:])


def _readable(line: str) -> str:
    """One log line without header and quotes, the exception of a Python model over several lines again."""
    return _HEADER.sub("", line).strip().strip('"').replace("\\n", "\n").strip()
