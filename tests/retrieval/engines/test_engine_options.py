"""The environment of a server says where to search."""

from __future__ import annotations

import pytest

from shopwindow.retrieval.engines import EngineOptions, Spread, Where


@pytest.mark.parametrize(
    ("kind", "device", "environment", "expected"),
    [
        ("CPU", 0, {}, EngineOptions(where=Where.CPU)),
        ("GPU", 1, {}, EngineOptions(where=Where.AUTO, devices=(1,))),
        ("GPU", 1, {"SHOPWINDOW_ENGINE": "cpu"}, EngineOptions(where=Where.CPU, devices=(1,))),
        ("CPU", 0, {"SHOPWINDOW_ENGINE": "GPU"}, EngineOptions(where=Where.GPU)),
        (
            "GPU",
            0,
            {"SHOPWINDOW_GPUS": "0, 2", "SHOPWINDOW_GPU_SPREAD": "replicas", "SHOPWINDOW_GPU_TEMP_MIB": "64"},
            EngineOptions(where=Where.AUTO, devices=(0, 2), spread=Spread.REPLICAS, temp_bytes=64 * 2**20),
        ),
        (  # a compose file passes unset variables as empty ones
            "GPU",
            1,
            dict.fromkeys(
                ["SHOPWINDOW_ENGINE", "SHOPWINDOW_GPUS", "SHOPWINDOW_GPU_SPREAD", "SHOPWINDOW_GPU_TEMP_MIB"], ""
            ),
            EngineOptions(where=Where.AUTO, devices=(1,)),
        ),
        ("GPU", 1, {"SHOPWINDOW_ENGINE": "cpu", "SHOPWINDOW_GPUS": "0,1"}, EngineOptions(devices=(0, 1))),
    ],
)
def test_options_come_from_the_environment_and_the_instance(
    kind: str, device: int, environment: dict[str, str], expected: EngineOptions
) -> None:
    assert EngineOptions.from_environment(instance_kind=kind, device=device, environment=environment) == expected


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"SHOPWINDOW_ENGINE": "tpu"}, "SHOPWINDOW_ENGINE: must be one of auto, cpu, gpu, milvus, got 'tpu'"),
        ({"SHOPWINDOW_GPUS": "all"}, "SHOPWINDOW_GPUS: must be whole numbers with commas between, got 'all'"),
        ({"SHOPWINDOW_GPUS": "0,0"}, r"devices: must be one or more different GPU numbers from 0 up, got \(0, 0\)"),
        ({"SHOPWINDOW_GPU_SPREAD": "wide"}, "SHOPWINDOW_GPU_SPREAD: must be one of shards, replicas, got 'wide'"),
        ({"SHOPWINDOW_GPU_TEMP_MIB": "1"}, "temp_bytes: must be at least 16777216"),
    ],
)
def test_a_wrong_variable_is_refused_with_its_name(environment: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EngineOptions.from_environment(instance_kind="GPU", device=0, environment=environment)


def test_an_instance_on_another_gpu_than_the_first_listed_is_refused() -> None:
    """Each instance would put a whole index on the listed GPUs: two copies on two GPUs instead of two halves."""
    for gpus in ("0,1", "0"):
        with pytest.raises(ValueError, match=rf"SHOPWINDOW_GPUS: {gpus} is for one instance .* is on GPU 1; set"):
            EngineOptions.from_environment(instance_kind="GPU", device=1, environment={"SHOPWINDOW_GPUS": gpus})
