"""What Triton says about single models: their answers, their steps, and their configuration on disk."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from google.protobuf import text_format
from tritonclient.grpc import InferenceServerClient, model_config_pb2
from tritonclient.utils import InferenceServerException

from shopwindow.server.options import ServerOptions
from shopwindow.server.tritonserver import DIRECT
from shopwindow_client import Tls

_CALL_TIMEOUT_S = 1.0


class _Client(InferenceServerClient):  # type: ignore[misc]
    """A client that ends quietly if Ctrl-C interrupts its beginning. Another would print a traceback."""

    def __del__(self) -> None:
        with suppress(AttributeError):
            super().__del__()


def connect(url: str, tls: Tls | None = None) -> InferenceServerClient:
    """Return a new connection to the server, encrypted if `tls` says how."""
    return _Client(url, creds=tls.credentials() if tls is not None else None, channel_args=DIRECT)


def answered(url: str, headers: Mapping[str, str], tls: Tls | None = None) -> dict[str, int]:
    """Return the number of successful requests by model; an empty dict if the server does not tell."""
    try:
        with connect(url, tls) as client:
            found = client.get_inference_statistics(headers=dict(headers), client_timeout=_CALL_TIMEOUT_S).model_stats
    except InferenceServerException:
        return {}
    return {each.name: int(each.inference_stats.success.count) for each in found}


def steps(url: str, model: str, headers: Mapping[str, str], tls: Tls | None = None) -> list[str]:
    """Return the names of an ensemble's steps in their order, or another model's own name; nothing if unknown."""
    try:
        with connect(url, tls) as client:
            config = client.get_model_config(model, headers=dict(headers), client_timeout=_CALL_TIMEOUT_S).config
    except InferenceServerException:
        return []
    return [step.model_name for step in config.ensemble_scheduling.step] or [model]


def config_on_disk(options: ServerOptions, model: str) -> model_config_pb2.ModelConfig:
    """Return the configuration that Triton read when it loaded a model.

    Raises:
        OSError: There is no such file.
        google.protobuf.text_format.ParseError: It is not a configuration.
    """
    folder = options.repository / model
    chosen = folder / "configs" / f"{options.profile}.pbtxt"
    file = chosen if chosen.exists() else folder / "config.pbtxt"
    config = text_format.Parse(file.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
    config.name = config.name or model
    return config
