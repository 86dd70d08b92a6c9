"""What Triton itself says to requests that it refuses before a model sees them, and that this project cannot change."""

from __future__ import annotations

import re
from typing import NamedTuple


class Allowance(NamedTuple):
    """An error whose code is not typed and that is allowed.

    Attributes:
        status: Its code.
        pattern: How its message begins, as a regular expression.
        reason: Why it is allowed.
    """

    status: str
    pattern: str
    reason: str


CODES = (
    Allowance("INTERNAL", "Unable to parse request$", "gRPC's own answer to bytes that are no message"),
    Allowance("501", "(Not Implemented)?$", "HTTP 501 says that a transfer coding is unknown"),
    Allowance("501", ".*Message: Not Implemented", "HTTP 501 says that a method is unknown"),
)


def allowed(status: str, text: str) -> str:
    """Return why an error whose code is not typed is allowed; empty if it is not.

    Args:
        status: Its code.
        text: Its message.
    """
    found = (one for one in CODES if one.status == status and re.match(one.pattern, text, re.S))
    return next((one.reason for one in found), "")
