"""The synchronous client: one channel, deadlines, splitting into slices, errors of one family."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Union

import grpc
import numpy as np
import numpy.typing as npt
from tritonclient.grpc import InferenceServerClient
from tritonclient.grpc.model_config_pb2 import ModelConfig
from tritonclient.utils import InferenceServerException

from . import _requests as wire
from ._deadline import Deadline, check_timeout
from ._errors import ClientClosed, DeadlineExceeded, InvalidRequest, ServerNotReady, ServerUnreachable
from ._errors import from_triton as translate_error
from ._requests import ImageSource, ModelRequest, Product, Reply
from ._results import Health, ProductEmbeddings, Results, ServerInfo

_Filter = Union[Mapping[str, Any], str, None]

# Giving channel arguments drops tritonclient's own, so the message sizes are repeated here: without them gRPC
# refuses replies above 4 MB. The back-off is capped as gRPC's two minutes far outlast a server's restart.
_CHANNEL_ARGS = [
    ("grpc.max_send_message_length", 2**31 - 1),
    ("grpc.max_receive_message_length", 2**31 - 1),
    ("grpc.max_reconnect_backoff_ms", 2000),
]


class RetrievalClient:
    """A client of one Shopwindow server (or of the load balancer before several).

    Safe to share between threads: make one, keep it for the life of the process, and close it. Nothing is
    sent before the first call. A process that forks makes its client after the fork: gRPC channels don't
    survive one.

    Args:
        url: `host:port` of the server's gRPC service, with no scheme.
        timeout_s: Deadline of a whole call in seconds, unless the call brings its own.
        max_concurrent: How many slices of long calls are in flight at once, over all threads. A call that
            fits the server's batch is one slice and is never held back by this.
        credentials: TLS credentials of gRPC; None for plain text.

    Raises:
        InvalidRequest: An argument is out of range.
    """

    def __init__(
        self,
        url: str = "localhost:8001",
        *,
        timeout_s: float = 5.0,
        max_concurrent: int = 4,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        if url.startswith(("http://", "https://", "grpc://")):
            raise InvalidRequest(f"url must be host:port of the gRPC service with no scheme, got {url!r}")
        if max_concurrent < 1:
            raise InvalidRequest(f"max_concurrent must be at least 1, got {max_concurrent!r}")
        self.url = url
        self.timeout_s = check_timeout(timeout_s)
        self._triton = InferenceServerClient(url, creds=credentials, channel_args=_CHANNEL_ARGS)
        # Threads and the blocking `infer`: tritonclient's async_infer keeps the call it just started on the
        # client object, so two threads that start one at the same time can get each other's callback.
        self._slices = ThreadPoolExecutor(max_concurrent, thread_name_prefix="shopwindow-client")
        self._max_rows: dict[str, int] = {}
        self._closed = False

    def retrieve(
        self,
        queries: str | Sequence[str],
        *,
        top_k: int | None = None,
        effort: int | None = None,
        filter: _Filter = None,
        min_score: float | None = None,
        timeout_s: float | None = None,
    ) -> Results:
        """Find the products that match a shopper's words.

        Args:
            queries: One query, or any number of them.
            top_k: Products a query; the server's default when None.
            effort: Search effort, 1 (fastest) to 10 (most thorough); the server's default when None.
            filter: Conditions on attribute columns, as a mapping or its JSON:
                `{"colour": "red", "price": {"lt": 50}, "brand": {"in": ["a", "b"]}}`.
            min_score: Leave out products that score less.
            timeout_s: Deadline of the whole call in seconds; the client's when None.

        Returns:
            One row a query, in order.

        Raises:
            ShopwindowError: One of its subclasses; see their list in the package.
        """
        parameters = wire.encode_parameters(top_k=top_k, effort=effort, filter=filter, min_score=min_score)
        return self._retrieve(wire.RETRIEVE, wire.encode_queries(queries), parameters, timeout_s)

    def retrieve_similar(
        self,
        products: Product | Sequence[Product] | None = None,
        *,
        title: str | None = None,
        image: ImageSource | None = None,
        top_k: int | None = None,
        effort: int | None = None,
        filter: _Filter = None,
        min_score: float | None = None,
        timeout_s: float | None = None,
    ) -> Results:
        """Find the products that are like a product, a photo, or a photo changed by words.

        Args:
            products: One product, or any number of them.
            title: With `image`, short for one `Product(title, image)`, as in
                `retrieve_similar(image="mug.jpg", title="red")`.
            image: See `Product.image`.
            top_k: As in `retrieve`, like the rest.
            effort: Search effort, 1 to 10.
            filter: Conditions on attribute columns.
            min_score: Leave out products that score less.
            timeout_s: Deadline of the whole call in seconds.

        Returns:
            One row a product, in order.

        Raises:
            ShopwindowError: One of its subclasses.
        """
        parameters = wire.encode_parameters(top_k=top_k, effort=effort, filter=filter, min_score=min_score)
        inputs = wire.encode_products(_one_way_to_say_it(products, title, image))
        return self._retrieve(wire.RETRIEVE_SIMILAR, inputs, parameters, timeout_s)

    def retrieve_by_embedding(
        self,
        embeddings: npt.ArrayLike,
        *,
        top_k: int | None = None,
        effort: int | None = None,
        filter: _Filter = None,
        min_score: float | None = None,
        timeout_s: float | None = None,
    ) -> Results:
        """Find the products nearest to embeddings, (n, d) or (d,) numbers. The rest is as in `retrieve`."""
        parameters = wire.encode_parameters(top_k=top_k, effort=effort, filter=filter, min_score=min_score)
        return self._retrieve(wire.PRODUCT_INDEX, wire.encode_embeddings(embeddings), parameters, timeout_s)

    def embed_query(self, queries: str | Sequence[str], *, timeout_s: float | None = None) -> npt.NDArray[np.float32]:
        """Return the embeddings of queries, (n, d) float32, L2-normalised.

        Raises:
            ShopwindowError: One of its subclasses.
        """
        request = ModelRequest(wire.EMBED_QUERY, wire.encode_queries(queries), ("embedding",), {})
        return self._call(request, timeout_s)["embedding"]

    def embed_product(
        self,
        products: Product | Sequence[Product] | None = None,
        *,
        title: str | None = None,
        image: ImageSource | None = None,
        timeout_s: float | None = None,
    ) -> ProductEmbeddings:
        """Return the embeddings of products, and how much title and image counted.

        The arguments are those of `retrieve_similar`.

        Raises:
            ShopwindowError: One of its subclasses.
        """
        inputs = wire.encode_products(_one_way_to_say_it(products, title, image))
        request = ModelRequest(wire.EMBED_PRODUCT, inputs, ("embedding", "modality_weights"), {})
        reply = self._call(request, timeout_s)
        return ProductEmbeddings(reply["embedding"], reply["modality_weights"])

    def info(self, *, timeout_s: float | None = None) -> ServerInfo:
        """Return the server's name, version and limits.

        Raises:
            ShopwindowError: One of its subclasses; never because a limit isn't stated.
        """
        deadline = self._deadline(timeout_s)
        with self._errors("server metadata", deadline):
            server = self._triton.get_server_metadata(client_timeout=deadline.left_s())
        retrieve = self._config_or_none(wire.RETRIEVE, deadline)
        index = self._config_or_none(wire.PRODUCT_INDEX, deadline)
        return server_info(server.name, server.version, retrieve, index)

    def health(self, *, timeout_s: float | None = None) -> Health:
        """Return whether the server is live and ready; that it can't be reached is an answer, not an error.

        This is the server's own account. A Triton model whose process has died can still count as ready: only
        a `retrieve` that succeeds proves that it works.

        Raises:
            ClientClosed: The client is closed.
        """
        deadline = self._deadline(timeout_s)
        try:
            with self._errors("health", deadline):
                live = self._triton.is_server_live(client_timeout=deadline.left_s())
                ready = self._triton.is_server_ready(client_timeout=deadline.left_s())
                models = {
                    model: self._triton.is_model_ready(model, client_timeout=deadline.left_s()) for model in wire.MODELS
                }
        except (ServerUnreachable, ServerNotReady, DeadlineExceeded) as error:
            return Health(reachable=False, detail=str(error))
        return Health(reachable=True, live=live, ready=ready and all(models.values()), models=models)

    def close(self) -> None:
        """Close the connection: calls in flight and later ones raise ClientClosed. Closing twice is fine."""
        self._closed = True
        self._slices.shutdown(wait=False, cancel_futures=True)
        self._triton.close()

    def __enter__(self) -> RetrievalClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _retrieve(
        self,
        model: str,
        inputs: Mapping[str, wire.Array],
        parameters: wire.Parameters,
        timeout_s: float | None,
    ) -> Results:
        reply = self._call(ModelRequest(model, inputs, wire.RESULT_OUTPUTS, parameters), timeout_s)
        return Results(reply["product_ids"], reply["scores"])

    def _call(self, request: ModelRequest, timeout_s: float | None) -> Reply:
        deadline = self._deadline(timeout_s)
        if request.rows == 1:  # fits any server, whatever its limit: no need to ask for it
            return self._infer(request, deadline)
        parts = request.split(self._batch_limit(request.model, deadline) or request.rows)
        if len(parts) == 1:
            return self._infer(request, deadline)
        with self._errors(request.model, deadline):
            slices = [self._slices.submit(self._infer, part, deadline) for part in parts]
            try:
                return wire.join([part.result() for part in slices])
            finally:
                for part in slices:  # after a failure, what has not been sent yet never is
                    part.cancel()

    def _infer(self, request: ModelRequest, deadline: Deadline) -> Reply:
        inputs, outputs = wire.to_triton(request)
        left_s = deadline.left_s()
        with self._errors(request.model, deadline):
            result = self._triton.infer(
                request.model,
                inputs,
                outputs=outputs,
                parameters=request.parameters,
                client_timeout=left_s,  # seconds, for the whole call
                timeout=max(1, int(left_s * 1e6)),  # microseconds in the server's queue; 0 would mean no limit
            )
        return wire.from_triton(result, request)

    def _batch_limit(self, model: str, deadline: Deadline) -> int:
        # Two threads may both ask at first; they store the same number.
        if model not in self._max_rows:
            self._max_rows[model] = self._config(model, deadline).max_batch_size
        return self._max_rows[model]

    def _config(self, model: str, deadline: Deadline) -> ModelConfig:
        with self._errors(model, deadline):
            return self._triton.get_model_config(model, client_timeout=deadline.left_s()).config

    def _config_or_none(self, model: str, deadline: Deadline) -> ModelConfig | None:
        try:
            return self._config(model, deadline)
        except ServerNotReady:
            return None

    def _deadline(self, timeout_s: float | None) -> Deadline:
        if self._closed:
            raise ClientClosed(f"the client of {self.url} is closed. Make a new RetrievalClient.")
        return Deadline(self.timeout_s if timeout_s is None else timeout_s)

    @contextmanager
    def _errors(self, model: str, deadline: Deadline) -> Iterator[None]:
        """Turn what tritonclient raises into the client's own errors."""
        try:
            yield
        except InferenceServerException as error:
            if self._closed:
                raise ClientClosed(f"the client of {self.url} was closed during the call.") from error
            raise translate_error(error, url=self.url, model=model, timeout_s=deadline.timeout_s) from error
        except (ValueError, RuntimeError, CancelledError) as error:
            # What a closed channel, a pool that was shut down and its cancelled work raise.
            if self._closed:
                raise ClientClosed(f"the client of {self.url} was closed during the call.") from error
            raise


def server_info(name: str, version: str, retrieve: ModelConfig | None, index: ModelConfig | None) -> ServerInfo:
    """Put together what the configurations of `retrieve` and `product_index` state; either may be absent."""
    parameters: dict[str, str] = {}
    for config in (index, retrieve):  # where both state one, the pipeline's own limit counts
        if config is not None:
            parameters.update({key: value.string_value for key, value in config.parameters.items()})

    def number(key: str) -> int | None:
        text = parameters.get(key, "")
        return int(text) if text.isdecimal() else None

    widths = [] if index is None else [tensor.dims[-1] for tensor in index.input if tensor.name == "embedding"]
    return ServerInfo(
        name=name,
        version=version,
        max_batch_size=None if retrieve is None else retrieve.max_batch_size or None,
        max_top_k=number("max_top_k"),
        default_top_k=number("default_top_k"),
        embedding_dim=number("embedding_dim") or next((width for width in widths if width > 0), None),
        tower_hash=parameters.get("tower_hash"),
        parameters=parameters,
    )


def _one_way_to_say_it(
    products: Product | Sequence[Product] | None, title: str | None, image: ImageSource | None
) -> Product | Sequence[Product]:
    if products is None:
        return Product(title, image)
    if title is not None or image is not None:
        raise InvalidRequest("give either products, or title and image of one product, not both")
    return products
