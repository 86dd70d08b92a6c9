"""Ask many queries at once with asyncio. A failed query does not stop the others.

python examples/many_at_once.py queries.txt localhost:8001
"""

import asyncio
import sys
from pathlib import Path

from shopwindow_client import AsyncRetrievalClient, Results, Retry, ShopwindowError

queries = Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
url = sys.argv[2] if len(sys.argv) > 2 else "localhost:8001"


async def main() -> None:
    # At most 16 calls run at once. The client's max_concurrent would not do: it limits only the parts of long calls.
    running = asyncio.Semaphore(16)

    # The client sends a request up to three times if a repeat may help.
    async with AsyncRetrievalClient(url, timeout_s=5.0, retry=Retry(attempts=3)) as client:

        async def ask(query: str) -> Results:
            async with running:
                return await client.retrieve(query, top_k=3)

        for query, found in zip(queries, await asyncio.gather(*map(ask, queries), return_exceptions=True)):
            if isinstance(found, ShopwindowError):
                print(f"{query}: {type(found).__name__}: {found}")
            elif isinstance(found, BaseException):
                raise found
            else:
                print(f"{query}: {' '.join(map(str, found[0].ids))}")


asyncio.run(main())
