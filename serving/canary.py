"""Canary requests: real ones, small ones, since Triton calls a model ready whose process has died (2.51)."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from shopwindow_client import QueueTimeout, RetrievalClient, ServerOverloaded, ShopwindowError

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
            For each model asked, why it did not answer, or None when it did. A model that is too busy did. The
            index is asked with the embedding of a query, so not before one was made.
        """
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
        return found

    def is_live(self) -> bool:
        """Whether the server answers at all."""
        return self._client.health().live

    def _retrieve(self) -> None:
        self._client.retrieve("canary", top_k=1, effort=1)

    def _retrieve_similar(self) -> None:
        self._client.retrieve_similar(title="canary", top_k=1, effort=1)

    def _embed_query(self) -> None:
        self._embedding = self._client.embed_query("canary")

    def _embed_product(self) -> None:
        self._client.embed_product(title="canary")

    def _search(self) -> None:
        self._client.retrieve_by_embedding(self._embedding, top_k=1, effort=1)
