"""Load tests of a served Shopwindow: Locust users on the client, raw samples, pass or fail by stated limits."""

from __future__ import annotations

from loadtests.options import LoadTestOptions
from loadtests.runner import EXIT_LIMIT_BROKEN, EXIT_NOT_READY, run

__all__ = ["EXIT_LIMIT_BROKEN", "EXIT_NOT_READY", "LoadTestOptions", "run"]
