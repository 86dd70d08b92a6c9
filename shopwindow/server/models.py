"""Single models of a running server: load them again, count their answers, list their steps."""

from __future__ import annotations

from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

from shopwindow.server.errors import ServingError
from shopwindow.server.processes import kill, stubs
from shopwindow.server.tritonserver import DIRECT, TritonServer

_CALL_TIMEOUT_S = 2.0


def reload(server: TritonServer, model: str) -> None:
    """Unload a model and load it again in new processes. Ensembles with this model as a step come back with it.

    Args:
        server: A server with `options.reloadable`.
        model: Name of the model.

    Raises:
        ServingError: The server did not load the model, or not within `ready_timeout_s`.
    """
    # A process that hangs would keep its request for ever, and a sibling of a dead process can outlive the unloading.
    for stub in stubs(server.pid):
        if stub.model == model:
            kill(stub.pid)
    try:
        with InferenceServerClient(server.grpc_url, channel_args=DIRECT) as client:
            for change in (client.unload_model, client.load_model):
                change(model, headers=server.owner_header, client_timeout=server.options.ready_timeout_s)
    except InferenceServerException as error:
        raise ServingError(f"{model} could not be loaded again: {error.message()}") from error


def answered(url: str) -> dict[str, int]:
    """Return the number of successful requests by model; an empty dict if the server does not answer."""
    try:
        with InferenceServerClient(url, channel_args=DIRECT) as client:
            found = client.get_inference_statistics(client_timeout=_CALL_TIMEOUT_S).model_stats
    except InferenceServerException:
        return {}
    return {each.name: int(each.inference_stats.success.count) for each in found}


def steps(url: str, model: str) -> list[str]:
    """Return the names of an ensemble's steps, or another model's own name; nothing if the server does not answer."""
    try:
        with InferenceServerClient(url, channel_args=DIRECT) as client:
            config = client.get_model_config(model, client_timeout=_CALL_TIMEOUT_S).config
    except InferenceServerException:
        return []
    return [step.model_name for step in config.ensemble_scheduling.step] or [model]
