"""Canary requests: small real requests, because Triton 2.51 reports a model as ready after its process has died."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any
from uuid import uuid4

from tritonclient.utils import InferenceServerException

from shopwindow.server.watch.models import answered, connect, steps
from shopwindow_client import DeadlineExceeded, QueueTimeout, RetrievalClient, ServerOverloaded, ShopwindowError, Tls

MODELS = ("retrieve", "retrieve_similar", "embed_query", "embed_product", "product_index")
"""The pipelines and the index. Requests to them reach every model that clients use."""

# A busy server is not faulty. If it were taken away, the others would only get busier.
BUSY = (ServerOverloaded, QueueTimeout)
_LIVE_DEADLINE_S = 1.0


class PerhapsBusy(DeadlineExceeded):
    """A model was late, and Triton's statistics, which tell a busy model from one that hangs, could not be had."""


class Canary:
    """Asks every pipeline and the index for one answer, all at the same time and each with its own deadline.

    Args:
        url: `host:port` of the server's gRPC endpoint.
        deadline_s: Seconds that each answer may take.
        headers: gRPC metadata of every request.
        tls: How to encrypt the connection; None for plain text.
        token: The caller's key; None if it needs none.
    """

    def __init__(
        self,
        url: str,
        *,
        deadline_s: float = 2.0,
        headers: Mapping[str, str] | None = None,
        tls: Tls | None = None,
        token: str | None = None,
    ) -> None:
        self._url = url
        self._tls = tls
        self._headers = dict(headers or {}) | ({"authorization": f"Bearer {token}"} if token else {})
        self._client = RetrievalClient(
            url,
            timeout_s=deadline_s,
            retry=None,
            max_concurrent=len(MODELS),
            headers=self._headers,
            tls=tls,
        )
        self._threads = ThreadPoolExecutor(len(MODELS))
        self._embedding: Any = None
        self._asks: dict[str, Callable[[], object]] = dict(
            zip(
                MODELS,
                (self._retrieve, self._retrieve_similar, self._embed_query, self._embed_product, self._search),
                strict=True,
            )
        )

    def __enter__(self) -> Canary:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. Requests that wait for their answers are cancelled."""
        self._client.close()
        self._threads.shutdown(wait=False)

    def ask(self, models: Iterable[str] = MODELS) -> dict[str, ShopwindowError | None]:
        """Send the requests and wait for all answers.

        Args:
            models: Names from MODELS.

        Returns:
            For each model the error, or None if it works. A busy model that refuses counts as working. A model that is
            late has a DeadlineExceeded: see `ask_patiently`. The index is left out while no query could be embedded,
            because its request needs an embedding.
        """
        models = list(models)
        if "product_index" in models and self._embedding is None:
            self._outcome("embed_query")
        asked = [model for model in models if model != "product_index" or self._embedding is not None]
        return dict(zip(asked, self._threads.map(self._outcome, asked), strict=True))

    def ask_patiently(self, models: Iterable[str] = MODELS) -> dict[str, ShopwindowError | None]:
        """As `ask`, but a model that was late counts as working if each of its steps answered other requests meanwhile.

        That is what an overload looks like when queues have no limit (Triton 2.51 on a CPU). It needs Triton's
        statistics. Where they are closed to this caller, or late too, a late model has a `PerhapsBusy`.
        """
        models = list(models)
        before = answered(self._url, self._headers, self._tls)
        found = self.ask(models)
        if "product_index" in models and "product_index" not in found:
            found["product_index"] = self._outcome("embed_query")
        late = [model for model, error in found.items() if isinstance(error, DeadlineExceeded)]
        # Count only successful requests. Triton does not say whether a cancelled one, such as the canary's own, was
        # dropped by a working model or from the queue of a model that hangs.
        now = answered(self._url, self._headers, self._tls) if late else {}
        for model in late:
            its_steps = steps(self._url, model, self._headers, self._tls)
            if not (before and now and its_steps):
                found[model] = PerhapsBusy(
                    f"{found[model]}; it may only be busy: the server's statistics, which would tell, could not be "
                    "asked for ('shopwindow serve --expose statistics' opens them)"
                )
            elif all(now.get(step, 0) > before.get(step, now.get(step, 0)) for step in its_steps):
                found[model] = None
        return found

    def is_live(self) -> bool:
        """Return whether the server answers at all, within a second."""
        try:
            with connect(self._url, self._tls) as client:
                return bool(client.is_server_live(headers=self._headers, client_timeout=_LIVE_DEADLINE_S))
        except InferenceServerException:
            return False

    def _outcome(self, model: str) -> ShopwindowError | None:
        try:
            self._asks[model]()
        except BUSY:
            return None
        except ShopwindowError as error:
            return error
        return None

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
