"""Canary requests: real ones, small ones, since Triton calls a model ready whose process has died (2.51)."""

from __future__ import annotations

from types import TracebackType
from typing import Any
from uuid import uuid4

from shopwindow.server.models import answered, steps
from shopwindow_client import DeadlineExceeded, QueueTimeout, RetrievalClient, ServerOverloaded, ShopwindowError

# Too much to do is not a fault: taking a server away because it is busy only makes the others busier.
BUSY = (ServerOverloaded, QueueTimeout)


class Canary:
    """Asks every pipeline and the index for one answer; together they pass through every model that clients use.

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
        """Closes the connection."""
        self._client.close()

    def ask(self) -> dict[str, ShopwindowError | None]:
        """Sends one request after another.

        Returns:
            For each model asked, why it did not answer, or None when it did. A model that is too busy did, and so did
            one that was late while each of its steps answered others: that is what overload looks like where queues
            have no limit (Triton 2.51 on a CPU). The index is asked with the embedding of a query, so not before one
            was made.
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
        # Only what ended well counts: whether a request that was given up, such as the canary's own, was dropped by a
        # model at work or from the queue of one that hangs is not known.
        now = answered(self._url) if late else {}
        for model in late:
            needed = steps(self._url, model)
            if needed and all(now.get(step, 0) > before.get(step, now.get(step, 0)) for step in needed):
                found[model] = None
        return found

    def is_live(self) -> bool:
        """Whether the server answers at all."""
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
    """A query that nobody asked before: one that comes again is answered from the cache of embeddings, where a query
    tower that fails is not noticed. It differs by digits, which no tokeniser's normaliser folds as it may letters."""
    return f"canary {uuid4().int % 10**12}"
