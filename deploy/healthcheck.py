"""Health of a running server: one query answered end to end, or exit 1 with the reason."""

from __future__ import annotations

import os
import sys

from shopwindow_client import RetrievalClient, ShopwindowError


def main() -> int:
    """Ask the server of SHOPWINDOW_URL (default localhost:8001) for one product.

    Returns:
        0 when it answered, 1 when it did not.
    """
    try:
        with RetrievalClient(os.environ.get("SHOPWINDOW_URL", "localhost:8001"), timeout_s=8.0) as client:
            client.retrieve("health check", top_k=1)
    except ShopwindowError as error:
        print(f"unhealthy: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
