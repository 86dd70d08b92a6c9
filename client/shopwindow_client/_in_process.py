"""A server inside this process: the same answers without a network, for tests and for offline work."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2
from tritonclient.utils import deserialize_bytes_tensor, np_to_triton_dtype, serialize_byte_tensor

from ._values import requests as names

if TYPE_CHECKING:
    from shopwindow.retrieval import InProcessPipeline


class InProcess:
    """Takes the place of a server's address: `RetrievalClient(InProcess.open(repository, index))`.

    Needs an installed Shopwindow. Answers one request at a time.

    Args:
        pipeline: The pipeline that answers.
    """

    url = "this process"

    def __init__(self, pipeline: InProcessPipeline) -> None:
        self._pipeline = pipeline
        self._lock = threading.Lock()

    @classmethod
    def open(cls, repository: str | os.PathLike[str], index: str | os.PathLike[str]) -> InProcess:
        """Load an exported model repository and an index folder."""
        from shopwindow.retrieval import InProcessPipeline

        return cls(InProcessPipeline(Path(repository), Path(index)))

    def channel(self, grpc_module: Any) -> Any:
        """Return an object with the methods of a channel of `grpc` or `grpc.aio`, whose calls end here."""
        return _AsyncioChannel(self) if grpc_module is grpc.aio else _Channel(self)

    def answer(self, method: str, message: Any) -> Any:
        """Answer one message as a server would.

        Raises:
            grpc.RpcError: A server would refuse it.
        """
        from shopwindow.retrieval.errors import GenerationGone, InvalidRequest, TowersDiffer

        handle: Callable[[Any], Any] | None = getattr(self, f"_{method}", None)
        if handle is None:
            raise Refused(grpc.StatusCode.UNIMPLEMENTED, f"{method} needs a server")
        with self._lock:
            try:
                return handle(message)
            except InvalidRequest as error:
                raise Refused(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from error
            except GenerationGone as error:
                raise Refused(grpc.StatusCode.NOT_FOUND, str(error)) from error
            except TowersDiffer as error:
                raise Refused(grpc.StatusCode.UNAVAILABLE, str(error)) from error
            except grpc.RpcError:
                raise
            except Exception as error:  # a server that fails says so, too
                raise Refused(grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}") from error

    def _ServerLive(self, message: Any) -> Any:
        return service_pb2.ServerLiveResponse(live=True)

    def _ServerReady(self, message: Any) -> Any:
        return service_pb2.ServerReadyResponse(ready=True)

    def _ModelReady(self, message: Any) -> Any:
        return service_pb2.ModelReadyResponse(ready=message.name in names.MODELS)

    def _ServerMetadata(self, message: Any) -> Any:
        return service_pb2.ServerMetadataResponse(name="in process", version="")

    def _ModelConfig(self, message: Any) -> Any:
        from shopwindow.retrieval.request.parameters import DEFAULT_TOP_K, MAX_TOP_K

        response = service_pb2.ModelConfigResponse()
        response.config.name = message.name  # no max_batch_size: any number of rows fits
        bundle = self._pipeline.bundle
        if message.name == names.PRODUCT_INDEX:
            response.config.input.add(name="embedding", dims=[self._pipeline.index.manifest.dim])
        limits = {"default_top_k": DEFAULT_TOP_K, "max_top_k": MAX_TOP_K, "tower_hash": bundle.tower_hash}
        for key, value in limits.items():
            response.config.parameters[key].string_value = str(value)
        return response

    def _ModelInfer(self, message: Any) -> Any:
        inputs = {
            tensor.name: _array(tensor, content) for tensor, content in zip(message.inputs, message.raw_input_contents)
        }
        parameters = {
            name: getattr(value, value.WhichOneof("parameter_choice"))
            for name, value in message.parameters.items()
            if name != "timeout"
        }
        outputs = self._infer(message.model_name, inputs, parameters, {wanted.name for wanted in message.outputs})
        response = service_pb2.ModelInferResponse(model_name=message.model_name, id=message.id)
        for wanted in message.outputs:
            array = outputs[wanted.name]
            response.outputs.add(name=wanted.name, datatype=np_to_triton_dtype(array.dtype), shape=array.shape)
            content = (
                serialize_byte_tensor(array).item() if array.dtype == np.object_ and array.size else array.tobytes()
            )
            response.raw_output_contents.append(content)
        return response

    def _infer(
        self, model: str, inputs: dict[str, Any], parameters: dict[str, Any], outputs: set[str]
    ) -> dict[str, Any]:
        pipeline = self._pipeline
        if model == names.EMBED_QUERY:
            return {"embedding": pipeline.embed_query(_texts(inputs["query"]))}
        if model == names.EMBED_PRODUCT:
            embedding, weights = pipeline.embed_product(_texts(inputs["title"]), _texts(inputs["image"]))
            return {"embedding": embedding, "modality_weights": weights}
        return self._search(model, inputs, parameters, outputs)

    def _search(
        self, model: str, inputs: dict[str, Any], parameters: dict[str, Any], outputs: set[str]
    ) -> dict[str, Any]:
        from shopwindow.retrieval.embedding.text import clean_queries
        from shopwindow.retrieval.request.parameters import with_outputs
        from shopwindow.retrieval.search.by_channels import ChannelRequest, search_channels
        from shopwindow.retrieval.search.like import embed_like
        from shopwindow.retrieval.search.page_outputs import page_outputs
        from shopwindow.retrieval.stopwatch import Stopwatch

        pipeline, watch = self._pipeline, Stopwatch()
        queries: list[str] = []
        excluded: Any = ()
        if model == names.RETRIEVE:
            queries = clean_queries(_texts(inputs["query"]))
            wanted = pipeline.prepare_parameters(parameters, words=True)
            (embeddings,) = pipeline.embed_requests([(queries, wanted)], watch)
            watch.lap("tokenise")
        elif model == names.RETRIEVE_SIMILAR:
            products = pipeline.prepare_products(_texts(inputs["title"]), _texts(inputs["image"]))
            wanted = pipeline.prepare_parameters(parameters)
            watch.lap("tokenise")
            (embeddings,) = pipeline.embed_batches([products])
            watch.lap("tower")
        else:
            wanted = pipeline.prepare_parameters(parameters)
            if "like" in inputs:
                embeddings, excluded = embed_like(pipeline.index, _texts(inputs["like"]))
            else:
                embeddings = inputs["embedding"]
            pipeline.index.check(embeddings, wanted)
            watch.lap("read")
        wanted = with_outputs(wanted, outputs)
        (result,) = search_channels(pipeline.index, [ChannelRequest(embeddings, queries, wanted, excluded)])
        watch.lap("search")
        unknown = -1e-6 if model == names.PRODUCT_INDEX else 0.0  # as on a server, -1 marks another model's work
        stages = [watch.seconds(stage) for stage in ("tokenise", "tower", "search")]
        times = [round(1e6 * (unknown if seconds is None else seconds)) for seconds in (*stages, watch.total)]
        each = (len(embeddings), 1)
        page = page_outputs(pipeline.index, result, wanted, outputs) if wanted.page is not None else {}
        return page | {
            "product_ids": result.product_ids,
            "scores": result.scores,
            "channels": result.channels,
            "product_keys": pipeline.index.product_keys(result),
            "timings_us": np.tile(np.array([*times, len(embeddings), 0], np.int64), each),  # no queue here
            "effort": np.full(each, wanted.effort, np.int64),
            "generation": np.full(each, pipeline.index.manifest.generation, np.int64),
        }


class Refused(grpc.RpcError):  # type: ignore[misc]  # grpc has no types
    """A refusal, as a client sees a server's."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self._code = code

    def code(self) -> grpc.StatusCode:
        """Return gRPC's status."""
        return self._code

    def details(self) -> str:
        """Return the message."""
        return str(self)


class _Channel:
    """Takes the place of a channel of `grpc`."""

    def __init__(self, server: InProcess) -> None:
        self._server = server

    def unary_unary(self, path: str, *_: Any, **__: Any) -> _Method:
        return _Method(self._server, path.rpartition("/")[2])

    def close(self) -> None:
        """Do nothing: there is nothing to close."""


class _Method:
    """Takes the place of a method of a service of `grpc`."""

    def __init__(self, server: InProcess, name: str) -> None:
        self._server = server
        self._name = name

    def __call__(self, message: Any, timeout: float, metadata: Any) -> Any:
        return self._server.answer(self._name, message).SerializeToString()

    def future(self, message: Any, timeout: float, metadata: Any) -> Any:
        """Answer at once, and return the answer as a call in flight."""
        call: Future[Any] = Future()
        try:
            call.set_result(self(message, timeout, metadata))
        except grpc.RpcError as error:
            call.set_exception(error)
        return call


class _AsyncioChannel(_Channel):
    """Takes the place of a channel of `grpc.aio`. A thread answers, so the event loop stays free."""

    def unary_unary(self, path: str, *_: Any, **__: Any) -> Any:
        answer = _Method(self._server, path.rpartition("/")[2])

        async def method(message: Any, timeout: float, metadata: Any) -> Any:
            return await asyncio.to_thread(answer, message, timeout, metadata)

        return method

    async def close(self) -> None:  # type: ignore[override]
        """Do nothing: there is nothing to close."""


def _array(tensor: Any, content: bytes) -> Any:
    if tensor.datatype == "BYTES":
        return deserialize_bytes_tensor(content).reshape(tuple(tensor.shape))
    return np.frombuffer(content, np.float32).reshape(tuple(tensor.shape))


def _texts(column: Any) -> list[bytes]:
    return list(column[:, 0])
