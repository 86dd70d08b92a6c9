"""Canary requests: small real requests, because Triton 2.51 reports a model as ready after its process has died."""

from __future__ import annotations

from types import TracebackType
from typing import Any
from uuid import uuid4

from shopwindow.server.models import answered, steps
from shopwindow_client import DeadlineExceeded, QueueTimeout, RetrievalClient, ServerOverloaded, ShopwindowError

# A busy server is not faulty. If it were taken away, the others would only get busier.
BUSY = (ServerOverloaded, QueueTimeout)


class Canary:
    """Asks every pipeline and the index for one answer. Together the requests reach every model that clients use.

    Args:
        url: `host:port` of the server's gRPC endpoint.
        deadline_s: Seconds that each answer may take.
    """

    def __init__(self, url: str, *, deadline_s: float = 2.0) -> None:
        self._client = RetrievalClient(url, timeout_s=deadline_s, retry=None)
        self._url = url
        self._embedding: Any = None

    def __enter__(self) -> Canary:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def ask(self) -> dict[str, ShopwindowError | None]:
        """Send the requests one after the other.

        Returns:
            For each model the error, or None if it works. A busy model that refuses counts as working. So does a
            model that was late while each of its steps answered other requests: that is what an overload looks like
            when queues have no limit (Triton 2.51 on a CPU). The index is left out until a query was embedded, because
            its request needs an embedding.
        """
        before = answered(self._url)
        found: dict[str, ShopwindowError | None] = {}
        for model, ask in (
            ("retrieve", self._retrieve),
            ("retrieve_similar", self._retrieve_similar),
            ("embed_query", self._embed_query),
            ("embed_product", self._embed_product),
            ("product_index", self._search),
        ):
            if model == "product_index" and self._embedding is None:
                continue
            try:
                ask()
                found[model] = None
            except BUSY:
                found[model] = None
            except ShopwindowError as error:
                found[model] = error
        late = [model for model, error in found.items() if isinstance(error, DeadlineExceeded)]
        # Count only successful requests. Triton does not say whether a cancelled one, such as the canary's own, was
        # dropped by a working model or from the queue of a model that hangs.
        now = answered(self._url) if late else {}
        for model in late:
            its_steps = steps(self._url, model)
            if its_steps and all(now.get(step, 0) > before.get(step, now.get(step, 0)) for step in its_steps):
                found[model] = None
        return found

    def is_live(self) -> bool:
        """Return whether the server answers at all."""
        return self._client.health().live

    def _retrieve(self) -> None:
        self._client.retrieve(_new_query(), top_k=1, effort=1)

    def _retrieve_similar(self) -> None:
        self._client.retrieve_similar(title="canary", top_k=1, effort=1)

    def _embed_query(self) -> None:
        self._embedding = self._client.embed_query(_new_query())

    def _embed_product(self) -> None:
        self._client.embed_product(title="canary")

    def _search(self) -> None:
        self._client.retrieve_by_embedding(self._embedding, top_k=1, effort=1)


def _new_query() -> str:
    """Return a query that nobody has asked before.

    A repeated query would be answered from the cache of embeddings, and a failing query tower would go unnoticed. The
    queries differ in digits, because a tokeniser may normalise letters but not digits.
    """
    return f"canary {uuid4().int % 10**12}"
