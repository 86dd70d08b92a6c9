"""Where an index is searched, as one frozen dataclass, and how the environment of a server says it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

WHERE_VARIABLE = "SHOPWINDOW_ENGINE"
GPUS_VARIABLE = "SHOPWINDOW_GPUS"
SPREAD_VARIABLE = "SHOPWINDOW_GPU_SPREAD"
TEMP_VARIABLE = "SHOPWINDOW_GPU_TEMP_MIB"
URI_VARIABLE = "SHOPWINDOW_MILVUS_URI"
TOKEN_VARIABLE = "SHOPWINDOW_MILVUS_TOKEN"

MIB = 2**20
CALL_S = 10.0

Kind = TypeVar("Kind", bound=StrEnum)


class Where(StrEnum):
    """Who searches. AUTO takes the GPU when there is one and the index has a form for it.

    An index whose products live in Milvus is searched there whatever is wanted; MILVUS refuses any other.
    """

    AUTO = "auto"
    CPU = "cpu"
    GPU = "gpu"
    MILVUS = "milvus"


class Spread(StrEnum):
    """How several GPUs share the work: each holds a part of the index, or each holds all of it."""

    SHARDS = "shards"
    REPLICAS = "replicas"


@dataclass(frozen=True, kw_only=True)
class MilvusOptions:
    """Where Milvus is.

    Attributes:
        uri: `http://host:19530` of a server or cluster, or the path of a file that ends in .db: Milvus Lite, in this
            process.
        token: `user:password` or an API key; empty where none is wanted.
        timeout_s: of one call, in seconds.
    """

    uri: str = "http://localhost:19530"
    token: str = field(default="", repr=False)
    timeout_s: float = CALL_S

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> MilvusOptions:
        """SHOPWINDOW_MILVUS_URI and SHOPWINDOW_MILVUS_TOKEN.

        Args:
            environment: None takes the process's.
        """
        given = os.environ if environment is None else environment
        return cls(uri=given.get(URI_VARIABLE, cls.uri), token=given.get(TOKEN_VARIABLE, cls.token))


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """What a user decides about the search engine.

    Attributes:
        where: who searches.
        devices: GPU numbers as CUDA counts them.
        spread: how several GPUs share the index.
        temp_bytes: scratch memory FAISS takes on each GPU, in bytes; on its own it would take up to 1.5 GiB. It works
            through large batches in tiles that fit.
        milvus: where Milvus is; None takes the environment's, read when an index in Milvus is opened.
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
        """The options of one instance of a Triton model.

        SHOPWINDOW_ENGINE is auto (the default: the GPU for an instance of KIND_GPU, else the CPU), cpu, gpu or
        milvus; SHOPWINDOW_GPUS lists GPU numbers, as `0,1`, for the one instance on the first of them (default: the
        instance's own); SHOPWINDOW_GPU_SPREAD is shards or replicas; SHOPWINDOW_GPU_TEMP_MIB is the scratch memory of
        each GPU. A variable that is empty counts as not set.

        Args:
            instance_kind: `model_instance_kind` as Triton hands it to a Python model: CPU, GPU or MODEL.
            device: `model_instance_device_id`.
            environment: None takes the process's.

        Raises:
            ValueError: names the variable, its limit and the value given.
        """
        given = {name: text for name, text in (os.environ if environment is None else environment).items() if text}
        where = _choice(Where, WHERE_VARIABLE, given.get(WHERE_VARIABLE, Where.AUTO))
        if where is Where.AUTO and instance_kind != "GPU":
            where = Where.CPU
        devices = listed_gpus(given) or (device if instance_kind == "GPU" else 0,)
        if where is not Where.CPU and instance_kind == "GPU" and devices[0] != device:
            # Each instance would put the whole list's index there once more.
            raise ValueError(
                f"{GPUS_VARIABLE}: {given[GPUS_VARIABLE]} is for one instance of product_index, on GPU {devices[0]}, "
                f"this is another, on GPU {device}; set it for 'shopwindow export' too, which then renders that one"
            )
        return cls(
            where=where,
            devices=devices,
            spread=_choice(Spread, SPREAD_VARIABLE, given.get(SPREAD_VARIABLE, Spread.SHARDS)),
            temp_bytes=_numbers(TEMP_VARIABLE, given.get(TEMP_VARIABLE, "256"))[0] * MIB,
        )


def listed_gpus(environment: Mapping[str, str]) -> tuple[int, ...]:
    """The GPUs of SHOPWINDOW_GPUS, which share one index; none where it is not set.

    Raises:
        ValueError: it is no list of numbers.
    """
    text = environment.get(GPUS_VARIABLE, "")
    return _numbers(GPUS_VARIABLE, text) if text else ()


def _choice(kind: type[Kind], name: str, text: str) -> Kind:
    try:
        return kind(text.strip().lower())
    except ValueError:
        raise ValueError(f"{name}: must be one of {', '.join(kind)}, got {text!r}") from None


def _numbers(name: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"{name}: must be whole numbers with commas between, got {text!r}") from None
