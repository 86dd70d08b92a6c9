"""The public calls of a client, declared once for both twins."""

# `_run` gives a result or a coroutine, as the twin decides; no type can say that of one method.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import grpc
import numpy.typing as npt

from ._calls import Calls
from ._compose import Part
from ._sending.engine import Engine
from ._sending.retries import Hedge, Retry
from ._sending.throttling import Throttle
from ._values.deadline import check_timeout
from ._values.errors import InvalidRequest
from ._values.options import CallDefaults, CallOptions, Connection, SearchOptions, Tls, check_headers
from ._values.requests import ImageSource, Product

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._in_process import InProcess

# What the calls return: the thing itself, or a coroutine that gives it.
ResultsT = TypeVar("ResultsT")
VectorsT = TypeVar("VectorsT")
ProductsT = TypeVar("ProductsT")
InfoT = TypeVar("InfoT")
HealthT = TypeVar("HealthT")

DEFAULT_RETRY = Retry()


class BaseClient(ABC, Generic[ResultsT, VectorsT, ProductsT, InfoT, HealthT]):
    """A client of one Shopwindow server, or of all the replicas behind one name.

    Make one, keep it for the life of the process, and close it. Nothing is sent before the first call.

    Args:
        url: `host:port` of the server's gRPC service, with no scheme. `dns:///host:port` asks all addresses behind
            the name in turn (round robin), as does a list, `ipv4:10.0.0.1:8001,10.0.0.2:8001`. Or an `InProcess`.
        timeout_s: Deadline of a whole call in seconds, unless the call brings its own.
        max_concurrent: How many parts of long calls are in flight at once, over the whole client. A call that fits
            the server's batch is one part and is never held back by this.
        retry: When to send again what was not carried out; None for never.
        hedge: When to send a second time what is slow to answer; None for never.
        throttle: How much to send on to a server that refuses requests; None for all.
        tls: Encrypts the connection; None for plain text.
        credentials: The same as gRPC's own object, instead of `tls`.
        token: A bearer token, or a function that returns the one of the moment. Needs an encrypted connection.
        headers: gRPC metadata of every call, names in lower case.
        compression: "gzip" or "deflate"; None for none, which is right unless photos or the network are slow.
        traceparent: A function that returns the W3C trace context of the moment, or None.
        channel_options: Further options of gRPC's channel, such as `{"grpc.keepalive_time_ms": 300_000}`; they win
            over the client's own.
        clocks_synchronised: The clocks of this machine and of the servers are in step (NTP), to well below `timeout_s`.
            Then every request names the time of its end, which counts what it waits in the server's queues too. With
            clocks that are apart the server would drop requests that are in time.

    Raises:
        InvalidRequest: An argument is out of range.
    """

    def __init__(
        self,
        url: str | InProcess = "localhost:8001",
        *,
        timeout_s: float = 5.0,
        max_concurrent: int = 4,
        retry: Retry | None = DEFAULT_RETRY,
        hedge: Hedge | None = None,
        throttle: Throttle | None = None,
        tls: Tls | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        token: str | Callable[[], str] | None = None,
        headers: Mapping[str, str] | None = None,
        compression: str | None = None,
        traceparent: Callable[[], str | None] | None = None,
        channel_options: Mapping[str, int | str] | None = None,
        clocks_synchronised: bool = False,
    ) -> None:
        if max_concurrent < 1:
            raise InvalidRequest(f"max_concurrent must be at least 1, got {max_concurrent!r}")
        source: Connection | InProcess
        if isinstance(url, str):
            source = Connection(url, tls, credentials, compression, channel_options)
            if token is not None and not source.is_private:
                raise InvalidRequest(
                    "token would travel in plain text: give tls=Tls(). Where something else encrypts the way, give "
                    "headers={'authorization': 'Bearer ...'} instead"
                )
        else:
            source = url
        self.url = source.url
        self.timeout_s = check_timeout(timeout_s)
        self._transport = self._connect(source, max_concurrent)
        self._calls = Calls(
            Engine(self._transport, retry, hedge, throttle=throttle, clocks_synchronised=clocks_synchronised),
            CallDefaults(self.timeout_s, check_headers(headers or {}), token, traceparent),
        )

    def retrieve(self, queries: str | Sequence[str], **options: Unpack[SearchOptions]) -> ResultsT:
        """Find the products that match a shopper's words.

        Args:
            queries: One query, or any number of them.
            **options: top_k, effort, filter, min_score, timings and more, and what every call takes: timeout_s,
                request_id, traceparent, headers. See `SearchOptions` and `CallOptions`.

        Returns:
            `Results`: one row a query, in order.

        Raises:
            ShopwindowError: One of its subclasses; see their list in the package.
        """
        return self._run(self._calls.retrieve(queries, options))

    def retrieve_similar(
        self,
        products: Product | Sequence[Product] | None = None,
        *,
        title: str | None = None,
        image: ImageSource | None = None,
        **options: Unpack[SearchOptions],
    ) -> ResultsT:
        """Find the products that are like a product, a photo, or a photo changed by words.

        Args:
            products: One product, or any number of them.
            title: With `image`, short for one `Product(title, image)`, as in
                `retrieve_similar(image="mug.jpg", title="red")`.
            image: See `Product.image`.
            **options: As in `retrieve`.

        Returns:
            `Results`: one row a product, in order.

        Raises:
            ShopwindowError: One of its subclasses.
        """
        return self._run(self._calls.retrieve_similar(products, title, image, options))

    def retrieve_by_embedding(self, embeddings: npt.ArrayLike, **options: Unpack[SearchOptions]) -> ResultsT:
        """Find the products nearest to embeddings, (n, d) or (d,) numbers. The rest is as in `retrieve`."""
        return self._run(self._calls.retrieve_by_embedding(embeddings, options))

    def retrieve_composed(
        self, queries: Sequence[Part] | Sequence[Sequence[Part]], **options: Unpack[SearchOptions]
    ) -> ResultsT:
        """Find the products nearest to a weighted sum of photos, words and vectors.

        Args:
            queries: The parts of one query, or of each of any number of them, as in
                `retrieve_composed([Part(Product(image="mug.jpg")), Part("red", 0.5), Part("cup", -0.3)])`.
            **options: As in `retrieve`.

        Returns:
            `Results`: one row a query, in order.

        Raises:
            ShopwindowError: One of its subclasses.
        """
        return self._run(self._calls.retrieve_composed(queries, options))

    def embed_query(self, queries: str | Sequence[str], **options: Unpack[CallOptions]) -> VectorsT:
        """Return the embeddings of queries, (n, d) float32, L2-normalised.

        Raises:
            ShopwindowError: One of its subclasses.
        """
        return self._run(self._calls.embed_query(queries, options))

    def embed_product(
        self,
        products: Product | Sequence[Product] | None = None,
        *,
        title: str | None = None,
        image: ImageSource | None = None,
        **options: Unpack[CallOptions],
    ) -> ProductsT:
        """Return the embeddings of products, and how much title and image counted, as `ProductEmbeddings`.

        The arguments are those of `retrieve_similar`.

        Raises:
            ShopwindowError: One of its subclasses.
        """
        return self._run(self._calls.embed_product(products, title, image, options))

    def info(self, **options: Unpack[CallOptions]) -> InfoT:
        """Return the server's name, version, limits, bundle and index generation as `ServerInfo`.

        What only a model's reply tells, the generation above all, is None when that model is overloaded.

        Raises:
            ShopwindowError: One of its subclasses; never because the server doesn't say one of them.
        """
        return self._run(self._calls.info(options))

    def health(self, **options: Unpack[CallOptions]) -> HealthT:
        """Return `Health`: live and ready. That the server can't be reached is an answer, not an error.

        This is the server's own account. A Triton model whose process has died can still count as ready: only
        a `retrieve` that succeeds proves that it works.

        Raises:
            ClientClosed: The client is closed.
        """
        return self._run(self._calls.health(options))

    @abstractmethod
    def _connect(self, source: Any, max_concurrent: int) -> Any:
        """Return the transport."""

    @abstractmethod
    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Return what the work gives, or will give."""
