"""What the whole suite shares: one exported repository, one index, one real server a profile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from shopwindow.demo_shop import generate
from shopwindow.indexing.full_build.run import build_index
from shopwindow.retrieval import InProcessPipeline
from shopwindow.server import ServerOptions, TritonServer
from shopwindow_export.repository.run import export_repository

ROOT = Path(__file__).resolve().parent.parent
CHECKPOINT = ROOT / "shopwindow" / "demo" / "checkpoint"
FASHION = ROOT.parent / "shared" / "data" / "fashion"
SHOP_PRODUCTS = 900

settings.register_profile("suite", deadline=None)  # how long an example takes is this machine's affair
settings.load_profile("suite")


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small demo shop: products, queries, qrels, clicks, same_style as parquet files."""
    folder = tmp_path_factory.mktemp("shop")
    generate(folder, products=SHOP_PRODUCTS, progress=False)
    return folder


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory, shop: Path) -> Path:
    """The demo checkpoint, exported."""
    folder = tmp_path_factory.mktemp("export") / "model_repository"
    export_repository(CHECKPOINT, folder, shop / "products.parquet", cpu_instances=1)
    return folder


@pytest.fixture(scope="session")
def index(repository: Path, shop: Path) -> Path:
    """The shop's index, beside the repository, where the models look for it by default."""
    folder = repository.parent / "index"
    build_index(shop / "products.parquet", repository, folder, progress=False)
    return folder


@pytest.fixture(scope="session")
def pipeline(repository: Path, index: Path) -> InProcessPipeline:
    """The in-process twin of the servers below."""
    return InProcessPipeline(repository, index)


def _serve(repository: Path, index: Path, profile: str) -> TritonServer:
    return TritonServer(
        ServerOptions(
            repository=repository,
            index=index,
            profile=profile,
            host="127.0.0.1",
            http_port=0,
            grpc_port=0,
            metrics_port=0,
        )
    )


@pytest.fixture(scope="session")
def served(repository: Path, index: Path) -> Iterator[TritonServer]:
    """A real server under the profile `cpu`: retrieve and retrieve_similar fused."""
    with _serve(repository, index, "cpu") as server:
        yield server


@pytest.fixture(scope="session")
def served_ensemble(repository: Path, index: Path) -> Iterator[TritonServer]:
    """A real server under the profile `cpu-ensemble`: every step a model of its own, as on a GPU."""
    with _serve(repository, index, "cpu-ensemble") as server:
        yield server


@pytest.fixture(scope="session")
def fashion() -> Path:
    """The folder of 12,000 real products."""
    if not (FASHION / "dev" / "products.parquet").exists():
        pytest.skip(f"needs {FASHION / 'dev' / 'products.parquet'}, real products that are not part of the project")
    return FASHION
