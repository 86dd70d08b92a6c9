"""The public calls that both clients share, and how a client is made."""

# `_run` returns a result or a coroutine, depending on the client. No type can say that of one method.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import grpc

from ._calls import Calls
from ._in_process import InProcess
from ._searches import Searches
from ._sending.engine import Engine
from ._sending.retries import Hedge, Retry
from ._sending.throttling import Throttle
from ._values.deadline import check_timeout
from ._values.errors import InvalidRequest
from ._values.numbers import is_whole
from ._values.options import CallDefaults, Connection, Tls, check_headers, check_token
from ._values.requests import ImageSource, Product
from ._vector_searches import ResultsT

# What the calls return, or a coroutine that returns it.
VectorsT = TypeVar("VectorsT")
ProductsT = TypeVar("ProductsT")
InfoT = TypeVar("InfoT")
HealthT = TypeVar("HealthT")

DEFAULT_RETRY = Retry()


class BaseClient(Searches[ResultsT], Generic[ResultsT, VectorsT, ProductsT, InfoT, HealthT]):
    """A client of one Shopwindow server, or of all the replicas behind one name."""

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
        """Make a client. It sends nothing before the first call.

        Args:
            url: `host:port` or `[IPv6 address]:port` of the server's gRPC service, without a scheme. `dns:///host:port`
                calls all addresses behind the name in turn (round robin). So does a list:
                `ipv4:10.0.0.1:8001,10.0.0.2:8001`. `unix:/path` is a socket of a proxy on this machine. Or give an
                `InProcess`.
            timeout_s: Deadline of a whole call in seconds. A call can set its own.
            max_concurrent: How many parts of long calls are in flight at once, over the whole client. A call that fits
                into one batch of the server is one part and never waits for this.
            retry: When to send again what the server did not carry out. None: never.
            hedge: When to send a slow request a second time. None: never.
            throttle: How much to send to a server that refuses requests. None: everything.
            tls: Encrypts the connection. None: plain text.
            credentials: gRPC's own credentials object, instead of `tls`.
            token: A bearer token, or a function that returns the current one. Needs an encrypted connection, unless
                all of `url` is this machine: localhost, 127.0.0.0/8, ::1 or a unix socket.
            headers: gRPC metadata of every call, names in lower case.
            compression: "gzip" or "deflate". None: no compression, which is best unless you send many long titles over
                a slow network. Photos are compressed already. The gateway of `shopwindow serve` takes only "gzip", in
                messages of at most 256 KiB.
            traceparent: A function that returns the current W3C trace context, or None.
            channel_options: More options of gRPC's channel, such as `{"grpc.keepalive_time_ms": 300_000}`. They
                override the client's own.
            clocks_synchronised: Say True if the clocks of this machine and of the servers agree (NTP) to well below
                `timeout_s`. Then each request also names the time of its deadline, so the time that it waits in the
                server's queues counts too. If the clocks differ, the server drops requests that are still in time.

        Raises:
            InvalidRequest: An argument is out of range.
        """
        if not is_whole(max_concurrent) or max_concurrent < 1:
            raise InvalidRequest(f"max_concurrent must be a whole number of at least 1, got {max_concurrent!r}")
        if token is not None and not callable(token):
            check_token(token)
        source: Connection | InProcess
        if isinstance(url, InProcess):
            source = url
        else:
            source = Connection(url, tls, credentials, compression, channel_options)
            if token is not None and not source.is_private:
                raise InvalidRequest(
                    f"token would travel in plain text to {url}: give tls=Tls(). Only this machine (localhost, "
                    "127.0.0.1, [::1], unix:) gets it without. If something else encrypts the connection, give "
                    "headers={'authorization': 'Bearer ...'} instead"
                )
        self.url = source.url
        self.timeout_s = check_timeout(timeout_s)
        defaults = CallDefaults(self.timeout_s, check_headers(headers or {}), token, traceparent)
        self._transport = self._connect(source, max_concurrent)
        self._calls = Calls(
            Engine(self._transport, retry, hedge, throttle=throttle, clocks_synchronised=clocks_synchronised),
            defaults,
        )

    def embed_query(
        self,
        queries: str | Sequence[str],
        *,
        timeout_s: float | None = None,
        request_id: str | None = None,
        traceparent: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> VectorsT:
        """Return the embeddings of queries, (n, d) float32, L2-normalised.

        The options are those of `retrieve`.

        Args:
            queries: One query, or any number of them.

        Raises:
            ShopwindowError: One of its subclasses.
        """
        return self._run(
            self._calls.embed_query(
                queries, timeout_s=timeout_s, request_id=request_id, traceparent=traceparent, headers=headers
            )
        )

    def embed_product(
        self,
        products: Product | Sequence[Product] | None = None,
        *,
        title: str | None = None,
        image: ImageSource | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
        traceparent: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> ProductsT:
        """Return the embeddings of products, and how much title and image counted, as `ProductEmbeddings`.

        The options not listed here are those of `retrieve`.

        Args:
            products: One product, or any number of them.
            title: With `image`, short for one `Product(title, image)`.
            image: See `Product.image`.

        Raises:
            ShopwindowError: One of its subclasses.
        """
        return self._run(
            self._calls.embed_product(
                products,
                title,
                image,
                timeout_s=timeout_s,
                request_id=request_id,
                traceparent=traceparent,
                headers=headers,
            )
        )

    def info(
        self,
        *,
        timeout_s: float | None = None,
        request_id: str | None = None,
        traceparent: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> InfoT:
        """Return the server's name, version, limits, towers and index generation as `ServerInfo`.

        The options are those of `retrieve`. Some values, such as the generation, come only with a model's reply. They
        are None while that model is overloaded.

        Raises:
            ShopwindowError: One of its subclasses, but never because the server leaves a value out.
        """
        return self._run(
            self._calls.info(timeout_s=timeout_s, request_id=request_id, traceparent=traceparent, headers=headers)
        )

    def health(
        self,
        *,
        timeout_s: float | None = None,
        request_id: str | None = None,
        traceparent: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> HealthT:
        """Return whether the server is live and ready, as `Health`.

        The options are those of `retrieve`. A server that cannot be reached is an answer, not an error. The answer is
        what the server says about itself. Triton can still call a model ready whose process has died: only a `retrieve`
        that succeeds proves that it works.

        Raises:
            ShopwindowError: One of its subclasses: the options are wrong, the client is closed, or the server refuses
                this caller or answers what cannot be true.
        """
        return self._run(
            self._calls.health(timeout_s=timeout_s, request_id=request_id, traceparent=traceparent, headers=headers)
        )

    @abstractmethod
    def _connect(self, source: Any, max_concurrent: int) -> Any:
        """Return the transport."""
