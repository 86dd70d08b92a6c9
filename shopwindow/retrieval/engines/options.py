"""Options that say where an index is searched, and how a server reads them from its environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from shopwindow.base.choice import choice

WHERE_VARIABLE = "SHOPWINDOW_ENGINE"
GPUS_VARIABLE = "SHOPWINDOW_GPUS"
SPREAD_VARIABLE = "SHOPWINDOW_GPU_SPREAD"
TEMP_VARIABLE = "SHOPWINDOW_GPU_TEMP_MIB"
URI_VARIABLE = "SHOPWINDOW_MILVUS_URI"
TOKEN_VARIABLE = "SHOPWINDOW_MILVUS_TOKEN"

MIB = 2**20
CALL_S = 10.0


class Where(StrEnum):
    """Where to search. AUTO takes the GPU if there is one and the index has a form for it.

    An index whose products are in Milvus is searched there, whatever the option says. MILVUS refuses any other index.
    """

    AUTO = "auto"
    CPU = "cpu"
    GPU = "gpu"
    MILVUS = "milvus"


class Spread(StrEnum):
    """How several GPUs share the work: each holds a part of the index (SHARDS) or all of it (REPLICAS)."""

    SHARDS = "shards"
    REPLICAS = "replicas"


@dataclass(frozen=True, kw_only=True)
class MilvusOptions:
    """Where Milvus is.

    Attributes:
        uri: `http://host:19530` of a server or cluster, or a path that ends in .db for Milvus Lite in this process.
        token: `user:password` or an API key; empty if the server needs none.
        timeout_s: longest time of one call, in seconds.
    """

    uri: str = "http://localhost:19530"
    token: str = field(default="", repr=False)
    timeout_s: float = CALL_S

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> MilvusOptions:
        """Read SHOPWINDOW_MILVUS_URI and SHOPWINDOW_MILVUS_TOKEN.

        Args:
            environment: variable -> value; None takes the environment of the process.
        """
        variables = os.environ if environment is None else environment
        return cls(uri=variables.get(URI_VARIABLE, cls.uri), token=variables.get(TOKEN_VARIABLE, cls.token))


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """What a user decides about the search engine.

    Attributes:
        where: where to search.
        devices: GPU numbers as CUDA counts them.
        spread: how several GPUs share the index.
        temp_bytes: scratch memory that FAISS takes on each GPU, in bytes. Without this option FAISS would take up to
            1.5 GiB. It splits large batches into parts that fit.
        milvus: where Milvus is; None reads it from the environment when an index in Milvus is opened.
    """

    where: Where = Where.CPU
    devices: tuple[int, ...] = (0,)
    spread: Spread = Spread.SHARDS
    temp_bytes: int = 256 * MIB
    milvus: MilvusOptions | None = None

    def __post_init__(self) -> None:
        if not self.devices or len(set(self.devices)) != len(self.devices) or min(self.devices) < 0:
            raise ValueError(f"devices: must be one or more different GPU numbers from 0 up, got {self.devices}")
        if self.temp_bytes < 16 * MIB:
            raise ValueError(f"temp_bytes: must be at least {16 * MIB} (16 MiB), got {self.temp_bytes}")

    @classmethod
    def from_environment(
        cls, *, instance_kind: str, device: int, environment: Mapping[str, str] | None = None
    ) -> EngineOptions:
        """Return the options of one instance of a Triton model.

        It reads these variables. An empty variable counts as not set.

        - SHOPWINDOW_ENGINE: auto, cpu, gpu or milvus. The default is auto, which means the GPU for an instance of
          KIND_GPU, else the CPU.
        - SHOPWINDOW_GPUS: GPU numbers such as `0,1`, for the one instance on the first of these GPUs. The default is
          the GPU of the instance.
        - SHOPWINDOW_GPU_SPREAD: shards or replicas.
        - SHOPWINDOW_GPU_TEMP_MIB: scratch memory of each GPU.

        Args:
            instance_kind: `model_instance_kind` as Triton passes it to a Python model: CPU, GPU or MODEL.
            device: `model_instance_device_id`.
            environment: variable -> value; None takes the environment of the process.

        Raises:
            ValueError: names the variable, its limit and the given value.
        """
        all_variables = os.environ if environment is None else environment
        variables = {name: text for name, text in all_variables.items() if text}
        where = choice(Where, WHERE_VARIABLE, variables.get(WHERE_VARIABLE, Where.AUTO))
        if where is Where.AUTO and instance_kind != "GPU":
            where = Where.CPU
        devices = listed_gpus(variables) or (device if instance_kind == "GPU" else 0,)
        if where is not Where.CPU and instance_kind == "GPU" and devices[0] != device:
            # Each instance would put another copy of the index on the listed GPUs.
            raise ValueError(
                f"{GPUS_VARIABLE}: {variables[GPUS_VARIABLE]} is for one instance of product_index on GPU "
                f"{devices[0]}, but this instance is on GPU {device}; set the variable for 'shopwindow export' too, "
                "which then configures that one instance"
            )
        return cls(
            where=where,
            devices=devices,
            spread=choice(Spread, SPREAD_VARIABLE, variables.get(SPREAD_VARIABLE, Spread.SHARDS)),
            temp_bytes=_numbers(TEMP_VARIABLE, variables.get(TEMP_VARIABLE, "256"))[0] * MIB,
        )


def listed_gpus(environment: Mapping[str, str]) -> tuple[int, ...]:
    """Return the GPUs of SHOPWINDOW_GPUS, which share one index; an empty tuple if the variable is not set.

    Raises:
        ValueError: the variable is not a list of numbers.
    """
    text = environment.get(GPUS_VARIABLE, "")
    return _numbers(GPUS_VARIABLE, text) if text else ()


def _numbers(name: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"{name}: must be whole numbers with commas between, got {text!r}") from None
