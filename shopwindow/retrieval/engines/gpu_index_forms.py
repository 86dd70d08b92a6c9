"""The form of an index on a GPU, the memory that it takes, and how much one search may ask for.

Bytes per vector of d dimensions, and MiB per million vectors of 128:

    flat fp32      4 d           488
    flat fp16      2 d           244
    IVF            4 d + 8       496    useFloat16 does not shrink it: use ivf-sq8 if memory is short
    IVF-SQ8        d + 8         130    8 bytes are the row number
    IVF-PQ32       32 + 8         38
    CAGRA 64       4 d + 256     732    64 neighbours of 4 bytes; while the graph is built, 128 more

Further memory goes to the centroids of an IVF, its lists rounded up to 32 vectors, scratch memory, and a reserve.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from shopwindow.retrieval.engines.options import MIB, EngineOptions, Spread
from shopwindow.retrieval.engines.recipes import Recipe
from shopwindow.retrieval.errors import EngineUnfit

# Classic kernels select at most 2,048 items, cuVS kernels at most 16,384. This limits both k and nprobe.
CLASSIC_SELECTION = 2_048
CUVS_SELECTION = 16_384
# The kernels of a graph search hold at most this many candidates in shared memory.
CAGRA_SELECTION = 512
CAGRA_DEGREE = 64
CAGRA_BUILD_DEGREE = 128

# The wheel faiss-gpu has kernels for compute capabilities 7.0 to 9.x.
OLDEST_GPU, BEYOND_GPUS = (7, 0), (10, 0)

_LIST_PADDING = 32  # vectors; FAISS interleaves lists in groups of one warp
_RESERVE = 256 * MIB  # for cuBLAS workspaces and kernels, which are loaded on first use


class Form(StrEnum):
    """How a GPU keeps vectors."""

    FLAT16 = "flat fp16"
    IVF = "IVF"
    IVF_SQ8 = "IVF-SQ8"
    IVF_PQ32 = "IVF-PQ32"
    CAGRA = "CAGRA"


_FORMS = {"flat": Form.FLAT16, "ivf": Form.IVF, "ivf-sq8": Form.IVF_SQ8, "ivf-pq32": Form.IVF_PQ32, "hnsw": Form.CAGRA}


def form_of(recipe: Recipe, *, cuvs: bool) -> Form:
    """Return the form of an index on a GPU.

    A graph index (hnsw) becomes CAGRA, a graph that is built anew from the vectors and is tuned the same way.

    Args:
        recipe: recipe of the index folder.
        cuvs: whether this FAISS is built with cuVS.

    Raises:
        EngineUnfit: the recipe has no form on a GPU in this build.
    """
    form = _FORMS[recipe.kind]
    if form is Form.CAGRA and not cuvs:
        raise EngineUnfit(
            "recipe hnsw becomes CAGRA on a GPU, which needs FAISS with cuVS (faiss-gpu-cuvs); this FAISS has no cuVS; "
            "build the index with --recipe flat, ivf-sq8 or ivf-pq32, or search it on the CPU (SHOPWINDOW_ENGINE=cpu)"
        )
    return form


@dataclass(frozen=True, kw_only=True)
class GpuPlan:
    """What each GPU will hold.

    Attributes:
        form: how vectors are kept.
        rows: vectors on each GPU.
        dim: length of a vector.
        lists: number of inverted lists; 0 for other forms.
        cuvs: whether kernels of cuVS search the index.
        temp_bytes: scratch memory in bytes.
    """

    form: Form
    rows: int
    dim: int
    lists: int
    cuvs: bool
    temp_bytes: int

    @property
    def index_bytes(self) -> int:
        """Bytes of the index on one GPU at its peak. A graph needs most while it is built."""
        centroids = 4 * self.dim * self.lists
        vector = {
            Form.FLAT16: 2 * self.dim,
            Form.IVF: 4 * self.dim + 8,
            Form.IVF_SQ8: self.dim + 8,
            Form.IVF_PQ32: 32 + 8,
            Form.CAGRA: 4 * self.dim + 4 * (CAGRA_DEGREE + CAGRA_BUILD_DEGREE),
        }[self.form]
        codebooks = 4 * 256 * self.dim if self.form is Form.IVF_PQ32 else 0
        return self.rows * vector + self.lists * _LIST_PADDING * vector + centroids + codebooks

    @property
    def needed_bytes(self) -> int:
        """Bytes that must be free on one GPU: index, scratch memory and reserve."""
        return self.index_bytes + self.temp_bytes + _RESERVE

    @property
    def largest_selection(self) -> int:
        """Most rows, and most lists, that one search can ask for."""
        if self.form is Form.CAGRA:
            return CAGRA_SELECTION
        return CUVS_SELECTION if self.cuvs else CLASSIC_SELECTION


def make_plan(recipe: Recipe, rows: int, dim: int, options: EngineOptions, *, cuvs: bool) -> GpuPlan:
    """Decide what goes on each GPU.

    Args:
        recipe: recipe of the index folder.
        rows: number of all vectors.
        dim: length of a vector.
        options: which GPUs, and how they share the index.
        cuvs: whether this FAISS is built with cuVS.

    Raises:
        EngineUnfit: the recipe has no form there, or its calibrated search visits more lists than a GPU can.
    """
    form = form_of(recipe, cuvs=cuvs)
    parts = len(options.devices) if options.spread is Spread.SHARDS else 1
    if form is Form.CAGRA and len(options.devices) > 1:
        raise EngineUnfit(
            f"SHOPWINDOW_GPUS: FAISS puts a CAGRA graph on one GPU, got {len(options.devices)}; name one GPU, "
            "or build the index with --recipe ivf-sq8"
        )
    plan = GpuPlan(
        form=form,
        rows=-(-rows // parts),
        dim=dim,
        lists=recipe.max_breadth if recipe.inverted else 0,
        # Every build searches scalar-quantised lists with classic kernels.
        cuvs=cuvs and form is not Form.IVF_SQ8,
        temp_bytes=options.temp_bytes,
    )
    if recipe.inverted and recipe.search_breadth > plan.largest_selection:
        raise EngineUnfit(
            f"nprobe: this index was calibrated to {recipe.search_breadth} lists a query, and a GPU searches at most "
            f"{plan.largest_selection}; build it with another --recipe, or search it on the CPU (SHOPWINDOW_ENGINE=cpu)"
        )
    return plan


def check_memory(plan: GpuPlan, device: int, free: int | None) -> None:
    """Refuse an index that does not fit, before anything is copied.

    Args:
        plan: what goes on each GPU.
        device: the GPU's number.
        free: free bytes there; None if they cannot be read, and then nothing is refused.

    Raises:
        EngineUnfit: names the bytes that are needed and the bytes that are free.
    """
    if free is None or plan.needed_bytes <= free:
        return
    raise EngineUnfit(
        f"GPU {device}: {plan.rows} vectors of {plan.dim} dimensions as {plan.form} need {_mib(plan.needed_bytes)} MiB "
        f"(index {_mib(plan.index_bytes)}, scratch {_mib(plan.temp_bytes)}, reserve {_mib(_RESERVE)}), "
        f"{_mib(free)} MiB are free; build the index with a smaller --recipe (ivf-sq8, ivf-pq32), spread it over "
        "more GPUs (SHOPWINDOW_GPUS=0,1 for export and server), or search it on the CPU (SHOPWINDOW_ENGINE=cpu)"
    )


def _mib(size: int) -> int:
    return -(-size // MIB)
