"""Render the templates into a model repository.

`model_repository/` and `ensemble_configs/` hold configs with ${placeholders}. Rendering fills these in and copies the
models' code. It never changes the templates.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

from shopwindow.retrieval.embedding.bundle import Bundle
from shopwindow.retrieval.engines.options import listed_gpus
from shopwindow.retrieval.request.parameters import DEFAULT_TOP_K, MAX_TOP_K
from shopwindow_export.errors import ExportError
from shopwindow_export.plans.batch_sizes import typical_batches
from shopwindow_export.validation.versions import PINNED_SERVER, QUEUE_BOUNDS_SINCE, Version, show_version

# In a wheel the templates lie in this package, else in the checkout.
_PACKAGE = Path(__file__).resolve().parents[1]
_TEMPLATES = _PACKAGE if (_PACKAGE / "model_repository").is_dir() else _PACKAGE.parents[1]
MODELS = _TEMPLATES / "model_repository"
ENSEMBLES = _TEMPLATES / "ensemble_configs"

# The CPU profile in which every step is a separate model, as on a GPU.
ENSEMBLE_PROFILE = "cpu-ensemble"
# Towers in the ONNX Runtime backend of Triton's container, everything else as on a GPU.
ONNXRUNTIME_PROFILE = "onnxruntime"

# Fused models load towers and index together. Only beside them may product_index switch to a generation that carries
# its towers.
_FOLLOW_TOWERS = 'parameters { key: "follow_towers" value { string_value: "true" } }'

# Batches that may wait at a step before it refuses more, so that callers learn at once that the server is full.
_QUEUED_BATCHES = 16


def serving_triton() -> Version:
    """Return the version (major, minor) of the Triton in this image; outside of an image, that of the CPU wheel.

    NVIDIA's images set TRITON_SERVER_VERSION.
    """
    found = re.match(r"(\d+)\.(\d+)", os.environ.get("TRITON_SERVER_VERSION", ""))
    return (int(found[1]), int(found[2])) if found else PINNED_SERVER


@dataclass(frozen=True, kw_only=True)
class GpuOptions:
    """What the configs of the profiles `gpu` and `onnxruntime` depend on.

    Attributes:
        triton: version (major, minor) of the server; fields that it does not know are left out.
        capabilities: compute capabilities ("9.0") of the GPUs, if they are of several kinds. Each kind then has a
            separate plan. Empty: one plan for all, model.plan.
        cuda_graphs: replay the towers' kernels from CUDA graphs at the smallest, middle and largest batch. This saves
            kernel launches, on which small towers spend most of their time, and costs memory; measure it.
        index_gpus: GPUs that share one index, as the server's SHOPWINDOW_GPUS names them. product_index then has one
            instance, on the first. Empty: an instance for every GPU, each with the whole index.
        max_inflight_requests: requests that each step of a pipeline may have in flight, over all callers. More requests
            wait before the step. None sets no limit: full queues refuse instead, and callers learn that at once.

    Raises:
        ValueError: a value is out of range, or the server is too old for it.
    """

    triton: Version = field(default_factory=serving_triton)
    capabilities: tuple[str, ...] = ()
    cuda_graphs: bool = False
    index_gpus: tuple[int, ...] = field(default_factory=lambda: listed_gpus(os.environ))
    max_inflight_requests: int | None = None

    def __post_init__(self) -> None:
        for capability in self.capabilities:
            if not re.fullmatch(r"\d+\.\d", capability):
                raise ValueError(f"capabilities: must look like 9.0, got {capability!r}")
        if self.max_inflight_requests is not None:
            if self.max_inflight_requests < 1:
                raise ValueError(f"max_inflight_requests: must be 1 or more, got {self.max_inflight_requests}")
            if self.triton <= PINNED_SERVER:
                raise ValueError(
                    f"max_inflight_requests: Triton {show_version(self.triton)} does not know this field and would "
                    f"refuse the config; leave it out, or serve with a Triton above {show_version(PINNED_SERVER)}"
                )


def render_models(target: Path, bundle: Bundle, *, cpu_instances: int, gpu: GpuOptions | None = None) -> None:
    """Write every model folder: configs of all profiles, and the Python models' code.

    Args:
        target: an empty folder.
        bundle: dimensions and identity of the towers.
        cpu_instances: processes that answer `retrieve` under the profile `cpu`.
        gpu: options of the GPU profiles.

    Raises:
        ExportError: the templates are missing.
        KeyError: a template has an unknown placeholder.
    """
    if not MODELS.is_dir():
        raise ExportError(f"{MODELS} is missing: export from a checkout, or from an installed wheel, which carries it")
    gpu = gpu or GpuOptions()
    values: dict[str, object] = {
        "cpu_instances": cpu_instances,
        "default_top_k": DEFAULT_TOP_K,
        "embedding_dim": bundle.embedding_dim,
        "follow_towers": _FOLLOW_TOWERS,
        "image_size": bundle.image_size,
        "index_instances": f"kind: KIND_GPU gpus: [ {gpu.index_gpus[0]} ]" if gpu.index_gpus else "kind: KIND_AUTO",
        "max_top_k": MAX_TOP_K,
        "plan_files": _plan_files(gpu),
        "query_max_tokens": bundle.query_max_tokens,
        "title_max_tokens": bundle.title_max_tokens,
        "tower_hash": bundle.tower_hash,
    }
    for source in sorted(MODELS.rglob("*")):
        place = target / source.relative_to(MODELS)
        if source.suffix == ".pbtxt":
            _render(source, place, values, gpu)
        elif source.suffix == ".py":
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, place)
    for source in sorted(ENSEMBLES.glob("*.pbtxt")):
        folder = target / source.stem
        _render(source, folder / "config.pbtxt", values, gpu)
        if gpu.max_inflight_requests:  # the server of the CPU profiles does not know this field
            for profile in ("cpu", ENSEMBLE_PROFILE):
                if not (folder / "configs" / f"{profile}.pbtxt").exists():
                    _render(source, folder / "configs" / f"{profile}.pbtxt", values, GpuOptions(triton=PINNED_SERVER))
        (folder / "1").mkdir(exist_ok=True)  # Triton needs a version folder even for an ensemble
    for source in sorted(MODELS.glob("*/configs/cpu.pbtxt")):
        # A fused model is an ensemble in every other profile. The other models run on the CPU in this one, too.
        if not (ENSEMBLES / f"{source.parent.parent.name}.pbtxt").exists():
            place = target / source.relative_to(MODELS).with_name(f"{ENSEMBLE_PROFILE}.pbtxt")
            _render(source, place, {**values, "follow_towers": ""}, gpu)


def plan_name(capability: str) -> str:
    """Return the name of the plan for GPUs of a compute capability, if there are GPUs of several kinds."""
    return f"{capability}.model.plan"


def _plan_files(gpu: GpuOptions) -> str:
    if not gpu.capabilities:
        return ""
    entries = ", ".join(f'{{ key: "{each}" value: "{plan_name(each)}" }}' for each in gpu.capabilities)
    return f"# One plan for each kind of GPU.\ncc_model_filenames [ {entries} ]"


def _cuda_graphs(gpu: GpuOptions, max_batch_size: int) -> str:
    if not gpu.cuda_graphs:
        return ""
    # A graph spec without inputs takes the plan's lengths. A plan has only one length for each input.
    sizes = ", ".join(f"{{ batch_size: {size} }}" for size in typical_batches(max_batch_size))
    graphs = f"optimization {{ cuda {{ graphs: true graph_spec [ {sizes} ] }} }}"
    return f"# Other batch sizes launch their kernels one by one.\n{graphs}"


def _queue_policy(gpu: GpuOptions, max_batch_size: int) -> str:
    # Under 2.51 any limit makes random requests wait half a second. Before QUEUE_BOUNDS_SINCE a pipeline never answers
    # if one of its steps refuses a request (triton-inference-server/core, pull request 466).
    if gpu.triton < QUEUE_BOUNDS_SINCE:
        return ""
    size = _QUEUED_BATCHES * max_batch_size
    return f"default_queue_policy {{ timeout_action: REJECT allow_timeout_override: true max_queue_size: {size} }}"


def _inflight(gpu: GpuOptions) -> str:
    return f"  max_inflight_requests: {gpu.max_inflight_requests}" if gpu.max_inflight_requests else ""


def _render(source: Path, place: Path, values: Mapping[str, object], gpu: GpuOptions) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    text = source.read_text()
    if batch := re.search(r"^max_batch_size: (\d+)$", text, re.MULTILINE):
        values = {
            **values,
            "cuda_graphs": _cuda_graphs(gpu, int(batch[1])),
            "max_inflight_requests": _inflight(gpu),
            "queue_policy": _queue_policy(gpu, int(batch[1])),
        }
    # An empty value removes the whole line, if its placeholder stands alone there.
    for name, value in values.items():
        if value == "":
            text = re.sub(rf"^\$\{{{name}\}}\n", "", text, flags=re.MULTILINE)
    text = Template(text).substitute(values).replace("{  }", "{ }")
    place.write_text(re.sub(r"\n{3,}", "\n\n", text))
