"""What each public call does, step by step. Both clients share it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from tritonclient.grpc import service_pb2

from ._compose import Composition, Part
from ._sending.engine import Engine
from ._sending.wire import embedding_dim, server_info
from ._values import page as pages
from ._values import requests as wire
from ._values.errors import (
    DeadlineExceeded,
    InvalidRequest,
    QueueTimeout,
    ServerFault,
    ServerNotReady,
    ServerOverloaded,
    ServerUnreachable,
    VersionMismatch,
)
from ._values.like import Ids, Like, encode_like
from ._values.options import Call, CallDefaults, CallOptions, PageOptions, SearchOptions
from ._values.requests import ImageSource, ModelRequest, Product
from ._values.results import Health, ProductEmbeddings, Results, ServerInfo
from ._values.timings import TIMING_OUTPUTS, Timings

if TYPE_CHECKING:
    from typing_extensions import Unpack

# After these errors `info` leaves out what only that model's reply tells. People look at the rest above all in an
# overload, and it is known without the model.
_LEFT_OUT = (ServerNotReady, ServerOverloaded, QueueTimeout, ServerFault)
_EARLIER_VERSION_S = 10.0  # how long a client does not ask a server again for text ids that it does not know of


class _Search(NamedTuple):
    """The options of a search, checked."""

    call: Call
    parameters: wire.Parameters
    outputs: tuple[str, ...]
    timings: bool


class Calls:
    """The calls. `RetrievalClient` documents them.

    Args:
        engine: Answers model requests.
        defaults: What is added to each call.
    """

    def __init__(self, engine: Engine, defaults: CallDefaults) -> None:
        self._engine = engine
        self._defaults = defaults
        self._ask_keys_from = -math.inf

    async def retrieve(self, queries: str | Sequence[str], **options: Unpack[SearchOptions]) -> Results:
        search = self._begin(options)
        return await self._search(wire.RETRIEVE, wire.encode_queries(queries), search)

    async def retrieve_similar(
        self,
        products: Product | Sequence[Product] | None,
        title: str | None,
        image: ImageSource | None,
        **options: Unpack[SearchOptions],
    ) -> Results:
        search = self._begin(options)
        inputs = wire.encode_products(_products(products, title, image))
        return await self._search(wire.RETRIEVE_SIMILAR, inputs, search)

    async def retrieve_by_embedding(self, embeddings: npt.ArrayLike, **options: Unpack[SearchOptions]) -> Results:
        search = self._begin(options)
        return await self._search(wire.PRODUCT_INDEX, wire.encode_embeddings(embeddings), search)

    async def retrieve_like(self, like: Ids | Like | Sequence[Like], **options: Unpack[SearchOptions]) -> Results:
        search = self._begin(options)
        return await self._search(wire.PRODUCT_INDEX, encode_like(like), search)

    async def retrieve_composed(
        self, queries: Sequence[Part] | Sequence[Sequence[Part]], **options: Unpack[SearchOptions]
    ) -> Results:
        search = self._begin(options)
        composition = Composition(queries)
        requests = composition.requests()
        replies = await self._engine.answer(requests, search.call) if requests else []
        inputs = wire.encode_embeddings(composition.embeddings(requests, replies))
        return await self._search(wire.PRODUCT_INDEX, inputs, search)

    async def embed_query(
        self, queries: str | Sequence[str], **options: Unpack[CallOptions]
    ) -> npt.NDArray[np.float32]:
        call = self._defaults.begin(**options)
        request = ModelRequest(wire.EMBED_QUERY, wire.encode_queries(queries), ("embedding",), {})
        return (await self._engine.answer([request], call))[0]["embedding"]

    async def embed_product(
        self,
        products: Product | Sequence[Product] | None,
        title: str | None,
        image: ImageSource | None,
        **options: Unpack[CallOptions],
    ) -> ProductEmbeddings:
        call = self._defaults.begin(**options)
        inputs = wire.encode_products(_products(products, title, image))
        request = ModelRequest(wire.EMBED_PRODUCT, inputs, ("embedding", "modality_weights"), {})
        (reply,) = await self._engine.answer([request], call)
        return ProductEmbeddings(reply["embedding"], reply["modality_weights"])

    async def info(self, **options: Unpack[CallOptions]) -> ServerInfo:
        call = self._defaults.begin(**options)
        server = await self._engine.ask("ServerMetadata", service_pb2.ServerMetadataRequest(), call)
        retrieve = await self._config_or_none(wire.RETRIEVE, call)
        index = await self._config_or_none(wire.PRODUCT_INDEX, call)
        generation = await self._generation(embedding_dim(index), call)
        towers = await self._towers(call)
        return server_info(server.name, server.version, retrieve, index, generation, towers)

    async def health(self, **options: Unpack[CallOptions]) -> Health:
        call = self._defaults.begin(**options)
        try:
            live = (await self._engine.ask_once("ServerLive", service_pb2.ServerLiveRequest(), call)).live
            ready = (await self._engine.ask_once("ServerReady", service_pb2.ServerReadyRequest(), call)).ready
            models = {}
            for model in wire.MODELS:
                message = service_pb2.ModelReadyRequest(name=model)
                models[model] = (await self._engine.ask_once("ModelReady", message, call, about=model)).ready
        except (ServerUnreachable, ServerNotReady, DeadlineExceeded) as error:
            return Health(reachable=False, detail=str(error))
        return Health(reachable=True, live=live, ready=ready and all(models.values()), models=models)

    async def _search(self, model: str, inputs: Mapping[str, wire.Array], search: _Search) -> Results:
        outputs = wire.RESULT_OUTPUTS + search.outputs
        asks_keys = time.monotonic() >= self._ask_keys_from
        if asks_keys:
            outputs += (wire.KEYS_OUTPUT,)
        if search.timings:
            outputs += tuple(name for name in TIMING_OUTPUTS if name not in outputs)
        if model == wire.RETRIEVE and wire.wants_words(search.parameters):  # the other models refuse it
            outputs += (wire.CHANNELS_OUTPUT,)
        request = ModelRequest(model, inputs, outputs, search.parameters)
        try:
            (reply,) = await self._engine.answer([request], search.call)
        except VersionMismatch as error:
            if not asks_keys or wire.KEYS_OUTPUT not in str(error):
                raise
            # A server of an earlier version, whose ids are whole numbers. It may be replaced at any time.
            self._ask_keys_from = time.monotonic() + _EARLIER_VERSION_S
            return await self._search(model, inputs, search)
        keys = reply.get(wire.KEYS_OUTPUT)
        if keys is not None and not keys.shape[1]:
            keys = None
        facets = reply.get(pages.FACETS_OUTPUT)
        return Results(
            reply["product_ids"],
            reply["scores"],
            Timings.from_reply(reply) if search.timings else None,
            reply.get(wire.CHANNELS_OUTPUT),
            keys,
            attributes=reply.get(pages.ATTRIBUTES_OUTPUT),
            group_sizes=reply.get(pages.SIZES_OUTPUT),
            group_members=reply.get(pages.MEMBERS_OUTPUT),
            total=_column(reply, pages.TOTAL_OUTPUT),
            facets=None if facets is None else facets[:, 0].tolist(),
            generation=_column(reply, wire.GENERATION_OUTPUT),
        )

    async def _config_or_none(self, model: str, call: Call) -> Any:
        try:
            return await self._engine.config(model, call)
        except ServerNotReady:
            return None

    async def _generation(self, dim: int | None, call: Call) -> int | None:
        if dim is None:
            return None
        # Only replies carry the generation, so search for anything.
        anything = wire.encode_embeddings(np.eye(1, dim))
        request = ModelRequest(wire.PRODUCT_INDEX, anything, ("generation",), {"top_k": 1})
        try:
            (reply,) = await self._engine.answer([request], call)
        except (*_LEFT_OUT, VersionMismatch):
            return None
        return int(reply["generation"][0, 0])

    async def _towers(self, call: Call) -> str | None:
        config = await self._config_or_none(wire.EMBED_QUERY, call)
        if config is None or "towers" not in {output.name for output in config.output}:
            return None
        # A configuration names the towers that the server started with. A newer index may have brought others since.
        request = ModelRequest(wire.EMBED_QUERY, wire.encode_queries("towers"), ("towers",), {})
        try:
            (reply,) = await self._engine.answer([request], call)
        except _LEFT_OUT:
            return None
        return str(reply["towers"][0, 0])

    def _begin(self, options: SearchOptions) -> _Search:
        """Start the call, and turn the other options into request parameters."""
        parameters: dict[str, Any] = dict(options)
        of_call = {name: parameters.pop(name) for name in CallOptions.__annotations__ if name in parameters}
        timings = parameters.pop("timings", False)
        if not isinstance(timings, bool):
            raise InvalidRequest(f"timings must be True or False, got {timings!r}")
        call = self._defaults.begin(**of_call)
        page = pages.encode_page(
            **{name: parameters.pop(name) for name in PageOptions.__annotations__ if name in parameters}
        )
        return _Search(call, {**wire.encode_parameters(**parameters), **page.parameters}, page.outputs, timings)


def _column(reply: wire.Reply, name: str) -> wire.Array | None:
    return reply[name][:, 0] if name in reply else None


def _products(
    products: Product | Sequence[Product] | None, title: str | None, image: ImageSource | None
) -> Product | Sequence[Product]:
    if products is None:
        return Product(title, image)
    if title is not None or image is not None:
        raise InvalidRequest("give either products, or the title and image of one product, not both")
    return products
