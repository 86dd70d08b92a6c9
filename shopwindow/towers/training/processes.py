"""The device of a training, and the processes that share the work if torchrun started several."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stderr
from dataclasses import fields, replace
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from shopwindow.towers.objectives.cross_device import rank, world_size

Inputs = TypeVar("Inputs")


@contextmanager
def join_processes(device: str) -> Iterator[torch.device]:
    """Join the other processes if torchrun started this one, and leave them at the end.

    Args:
        device: auto, cpu or cuda. With cuda, every process of a machine takes a separate GPU.

    Yields:
        The device of this process.

    Raises:
        ValueError: there is no GPU for this process.
    """
    chosen = choose_device(device)
    if "WORLD_SIZE" not in os.environ:
        yield chosen
        return
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield chosen
    finally:
        dist.destroy_process_group()


def choose_device(device: str) -> torch.device:
    """Return the device of this process for a value of `TrainingConfig.device`; see `join_processes`."""
    if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    local_rank, gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if local_rank >= gpus:
        raise ValueError(
            f"device: process {local_rank} of this machine needs a separate GPU, but torch sees only {gpus}; "
            'start as many processes as there are GPUs, or set "device": "cpu"'
        )
    return torch.device("cuda", local_rank)


def computes_bf16(device: torch.device) -> bool:
    """Return whether matrix products in bfloat16 are faster than in float32 on the device.

    PyTorch has fast ones for GPUs from Ampere on and for CPUs with AVX-512. Elsewhere they take several times as long.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return torch.backends.cpu.get_cpu_capability() == "AVX512"


def move(inputs: Inputs, device: torch.device) -> Inputs:
    """Return a dataclass with its tensors, and its tuples and lists of tensors, on another device."""

    def moved(value: Any) -> Any:
        return value.to(device) if isinstance(value, Tensor) else type(value)(map(moved, value))

    values = {field.name: moved(getattr(inputs, field.name)) for field in fields(inputs)}  # type: ignore[arg-type]
    return replace(inputs, **values)  # type: ignore[type-var]


def quiet() -> AbstractContextManager[object]:
    """Return a context that hides the progress bars of all ranks except the first."""
    return redirect_stderr(io.StringIO()) if rank() else nullcontext()


def check_same(what: str, value: str) -> None:
    """Check that all ranks hold the same value.

    Raises:
        ValueError: the values differ.
    """
    if world_size() == 1:
        return
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    if others := [number for number, other in enumerate(values) if other != values[0]]:
        raise ValueError(f"{what}: processes {others} differ from process 0; all must read the same files")


def share_weights(model: nn.Module) -> None:
    """Give every rank the parameters and buffers of the first rank."""
    if world_size() > 1:
        for tensor in model.state_dict().values():
            dist.broadcast(tensor, 0)


def average_gradients(model: nn.Module) -> None:
    """Replace every gradient by its mean over the ranks, in one exchange.

    If a rank's batch did not use a parameter, its gradient there counts as zero. A parameter that no rank used keeps no
    gradient, so the optimiser does not change it, as in a single process.
    """
    if world_size() == 1:
        return
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    used = torch.tensor([float(p.grad is not None) for p in parameters], device=gradients[0].device)
    flat = torch.cat([used, *(gradient.flatten() for gradient in gradients)])
    dist.all_reduce(flat)
    users, flat = flat[: len(used)].tolist(), flat[len(used) :] / world_size()
    parts = torch.split(flat, [parameter.numel() for parameter in parameters])
    for parameter, part, count in zip(parameters, parts, users, strict=True):
        parameter.grad = part.view_as(parameter) if count else None
