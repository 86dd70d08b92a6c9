"""docs/reference/settings.md: the environment variables that the code reads.

Names and defaults come from the code. What they mean stands here; a test holds this list against the code.
"""

from __future__ import annotations

from dataclasses import dataclass

from reference_pages.markdown import code, table
from shopwindow.retrieval.embedding import embedding_cache
from shopwindow.retrieval.engines import options
from shopwindow.retrieval.engines.options import EngineOptions, MilvusOptions, Spread, Where
from shopwindow.retrieval.index import checksums
from shopwindow.retrieval.search import result_cache


@dataclass(frozen=True)
class Setting:
    """An environment variable: its name, what it is when it is not set, and what it means."""

    name: str
    default: str
    meaning: str


SERVER = [
    Setting(
        "SHOPWINDOW_INDEX",
        "`index` beside the repository",
        "the index folder that the models serve; `shopwindow serve --index` sets it",
    ),
    Setting(
        checksums.VARIABLE,
        checksums.Verify.FULL.value,
        "how thoroughly the files of an index are compared with their checksums before it is served or changed: `full` "
        "reads all, `fast` compares sizes and the first and last 64 MiB of each, `off` nothing; `shopwindow serve "
        "--verify` sets it",
    ),
    Setting(
        "SHOPWINDOW_QUEUE_LIMIT_MS",
        "250",
        "how many milliseconds requests may wait before some are refused; 0 refuses none. `embed_product` always has "
        "5,000. See [overload](../operations.md#overload)",
    ),
    Setting(
        embedding_cache.VARIABLE,
        f"{embedding_cache.DEFAULT_ENTRIES:,}",
        "how many query embeddings each process keeps; 0 keeps none",
    ),
    Setting(
        result_cache.VARIABLE,
        str(result_cache.DEFAULT_MIB),
        "MiB of memory for results that each process of `retrieve` keeps; 0 keeps none",
    ),
    Setting(
        "SHOPWINDOW_HTTP",
        "localhost:8000",
        "host and port where the models read Triton's statistics; `shopwindow serve` sets it",
    ),
    Setting(
        "SHOPWINDOW_OWNER_FILE",
        "none",
        "file with the secret that opens these statistics to the models; `shopwindow serve` sets it",
    ),
    Setting(
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "none",
        "where Triton and the models send spans, such as `http://collector:4318/v1/traces`; without it there are none",
    ),
    Setting(
        "OMP_NUM_THREADS, OPENBLAS_NUM_THREADS, MKL_NUM_THREADS",
        "1",
        "threads of the libraries inside a model's process; `shopwindow serve` sets those that are not set, because "
        "the models share out the cores themselves",
    ),
    Setting(
        "TRITON_SERVER_VERSION", "2.51", "version of the server, which NVIDIA's images set; `export` renders for it"
    ),
    Setting(
        "TRT_VERSION", "none", "version of TensorRT, which NVIDIA's images set; `validate` and `serve` compare plans"
    ),
]
ENGINE = [
    Setting(
        options.WHERE_VARIABLE,
        Where.AUTO.value,
        "what searches the index: `auto` takes the GPU if FAISS sees one and the index has a form for it, else the "
        "CPU; `cpu`, `gpu`, or `milvus`, which refuses an index that holds its vectors itself",
    ),
    Setting(
        options.GPUS_VARIABLE,
        "each GPU has the whole index",
        "GPUs that share one index, as `0,1`; set it for `export` and for the server",
    ),
    Setting(
        options.SPREAD_VARIABLE,
        Spread.SHARDS.value,
        "`shards`: each GPU holds a part of the index. `replicas`: each holds all of it",
    ),
    Setting(options.TEMP_VARIABLE, str(EngineOptions().temp_bytes // options.MIB), "MiB of scratch memory of each GPU"),
    Setting(
        options.URI_VARIABLE, code(MilvusOptions().uri), "address of Milvus, or a file that ends in .db (Milvus Lite)"
    ),
    Setting(options.TOKEN_VARIABLE, "none", "`user:password` or an API key for Milvus"),
]
COMMANDS = [
    Setting("SHOPWINDOW_DEBUG", "not set", "if it is set, an expected error shows its traceback instead of one line"),
    Setting("XDG_CACHE_HOME", "`~/.cache`", "the user's cache folder; `shopwindow/photos` in it keeps fetched photos"),
]
CONTAINERS = [
    Setting("SHOPWINDOW_CHECKPOINT", "/data/checkpoint", "folder of the checkpoint that `export` reads"),
    Setting("SHOPWINDOW_CATALOG", "/data/catalog.parquet", "catalogue that `export` indexes"),
    Setting("SHOPWINDOW_PRECISION", "fp16", "precision of the graphs"),
    Setting("SHOPWINDOW_RECIPE", "chosen by size", "recipe of the index"),
]
INNER = [
    Setting("SHOPWINDOW_LOADTEST", "", "options of a load test, for the processes that send"),
    Setting("SHOPWINDOW_BENCH_REPOSITORY", "", "repository, for the peers of `make bench`"),
    Setting("SHOPWINDOW_BENCH_ROWS", "", "rows of a call of the query tower, for the peers of `make bench`"),
]
_INTRODUCTION = """# Settings

Environment variables. A variable of the server is read when a model loads: restart the server to change it.
"""


def page() -> str:
    """Return the page."""
    return "\n".join(
        [
            _INTRODUCTION,
            "## Server\n",
            _table(SERVER),
            "## Where the index is searched\n",
            _table(ENGINE),
            "## Commands\n",
            _table(COMMANDS),
            "## Containers\n",
            "The [containers](../../deploy/README.md) hand these to the script that exports and indexes.\n",
            _table(CONTAINERS),
            "## Set by Shopwindow itself\n",
            "Do not set these.\n",
            table(("variable", "meaning"), [(_names(each), each.meaning) for each in INNER]),
        ]
    )


def _table(settings: list[Setting]) -> str:
    rows = [(_names(each), each.default, each.meaning) for each in settings]
    return table(("variable", "default", "meaning"), rows)


def _names(setting: Setting) -> str:
    return ", ".join(code(name) for name in setting.name.split(", "))
