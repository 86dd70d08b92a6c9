"""gRPC calls whose messages are mutated bytes, and the other methods of Triton's service."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from tritonclient.grpc import service_pb2 as pb

from shopwindow_loadtests.fuzz.requests import values
from shopwindow_loadtests.fuzz.requests.cases import INFER, SERVICE, Call, Model
from shopwindow_loadtests.fuzz.requests.inference import TRICKS, inference
from shopwindow_loadtests.fuzz.requests.protobuf import mutated_fields

_OPEN = ("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelConfig")
# Without the owner's secret the server refuses these. Even if it did not, these requests would change nothing.
CLOSED: dict[str, Any] = {
    "ModelStatistics": pb.ModelStatisticsRequest(),
    "RepositoryIndex": pb.RepositoryIndexRequest(),
    "RepositoryModelLoad": pb.RepositoryModelLoadRequest(model_name="no such model"),
    "RepositoryModelUnload": pb.RepositoryModelUnloadRequest(model_name="no such model"),
    "SystemSharedMemoryStatus": pb.SystemSharedMemoryStatusRequest(),
    "SystemSharedMemoryRegister": pb.SystemSharedMemoryRegisterRequest(name="a", key="/no such region", byte_size=1),
    "SystemSharedMemoryUnregister": pb.SystemSharedMemoryUnregisterRequest(name="no such region"),
    "CudaSharedMemoryStatus": pb.CudaSharedMemoryStatusRequest(),
    "CudaSharedMemoryRegister": pb.CudaSharedMemoryRegisterRequest(name="a", raw_handle=b"no handle", byte_size=1),
    "CudaSharedMemoryUnregister": pb.CudaSharedMemoryUnregisterRequest(name="no such region"),
    "TraceSetting": pb.TraceSettingRequest(),
    "LogSettings": pb.LogSettingsRequest(),
}
_STREAM = f"{SERVICE}ModelStreamInfer"
_HEADERS = (
    "traceparent",
    "tracestate",
    "x-request-id",
    "authorization",
    "triton-grpc-protocol-shopwindow-owner",
    "x-odd-bin",
)


def mutated_frame(rng: Random, models: Sequence[Model]) -> tuple[str, Call]:
    """Return a description and an inference call whose serialised message was mutated."""
    model = rng.choice(models)
    message = inference(rng, model, hostile=rng.random() < 0.3)
    if rng.random() < 0.3:
        rng.choice(TRICKS)(rng, message, model)
    data = message.SerializeToString(deterministic=True)
    draw = rng.random()
    if draw < 0.6:
        what = "changed"
        for _ in range(rng.choice((1, 1, 2, 4))):
            data = mutated_fields(rng, data)
    elif draw < 0.8:
        what, data = "mutated", values.mutated(rng, data, rng.choice((1, 1, 2, 3, 8)))
    elif draw < 0.88:
        other = inference(rng, rng.choice(models), hostile=False).SerializeToString(deterministic=True)
        what, data = "spliced", data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other)) :]
    elif draw < 0.95:
        what, data = "with unknown fields", data + _unknown_fields(rng)
    else:
        what, data = "random", rng.randbytes(rng.choice((0, 1, 5, 60, 3_000)))
    if rng.random() < 0.15:
        frames = tuple(
            rng.choice((data, message.SerializeToString(deterministic=True))) for _ in range(rng.choice((1, 2, 5)))
        )
        return f"{model.name}: stream of {what} frames", Call(path=_STREAM, messages=frames, stream=True)
    return f"{model.name}: {what} frame", Call(path=INFER, messages=(data,))


def other_method(rng: Random, models: Sequence[Model]) -> tuple[str, Call]:
    """Return a description and a call to another method, to one that does not exist, or with odd headers."""
    draw = rng.random()
    metadata = _metadata(rng) if rng.random() < 0.3 else ()
    if draw < 0.55:
        method = rng.choice(_OPEN)
        message = getattr(pb, f"{method}Request")()
        if "name" in message.DESCRIPTOR.fields_by_name:
            message.name = values.name(rng, [model.name for model in models])
            message.version = rng.choice(("", "1", "2", "-1", values.string(rng)))
        data = message.SerializeToString(deterministic=True)
    elif draw < 0.8:
        method = rng.choice(list(CLOSED))
        data = CLOSED[method].SerializeToString(deterministic=True)
    elif draw < 0.9:
        method = rng.choice(("", "modelInfer", "ModelInfer/", "Nothing", "../ModelInfer", "x" * 2_000))
        data = b""
    else:
        method, data = (
            "ModelInfer",
            inference(rng, rng.choice(models), hostile=False).SerializeToString(deterministic=True),
        )
        metadata = _metadata(rng)
    # Mutated bytes could ask a closed method for something that changes the server, should it be open by mistake.
    if method not in CLOSED and rng.random() < 0.3:
        data = values.mutated(rng, data, rng.randint(1, 3))
    return f"method {method[:40]!r}{', odd headers' if metadata else ''}", Call(
        path=f"{SERVICE}{method}", messages=(data,), metadata=metadata
    )


def _unknown_fields(rng: Random) -> bytes:
    """Return fields that the message does not have, nested groups among them."""
    deep = rng.choice((1, 50, 99, 101, 5_000))
    return rng.choice(
        (
            b"\xfa\x3f\x04test",  # field 1,023 with four bytes
            b"\x9b\x06" * deep + b"\x9c\x06" * deep,  # field 99: groups in groups
            b"\x9b\x06" * deep,  # groups without end
            b"\x06\x07",  # wire types that do not exist
            b"\xfa\x3f\xff\xff\xff\xff\x0f" + rng.randbytes(20),  # 4 GiB announced
            b"\x08" + b"\xff" * 11,  # a varint without end
        )
    )


def _metadata(rng: Random) -> tuple[tuple[str, str], ...]:
    contents = (
        "",
        "0" * rng.choice((32, 55, 7_000)),
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "-1",
        "\x7e\x21",
    )
    # gRPC refuses to send text in a header -bin. It stays in the list, so that requests keep their numbers.
    names = [name for name in rng.sample(_HEADERS, rng.randint(1, 3)) if not name.endswith("-bin")]
    return tuple((name, rng.choice(contents)) for name in names)
