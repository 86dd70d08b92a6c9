"""Fixtures of the whole suite: one exported repository, one index, one real server for each profile."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock
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

settings.register_profile("suite", deadline=None)  # an example may be slow on a busy machine
settings.load_profile("suite")


# Where several processes share the suite, these files come first. If one came last, the others would wait for it.
LONGEST = ("test_real_training", "test_parity_gate", "test_plans_compile", "test_eight_bit_speed", "test_adapt")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest files first, and mark the tests of the demo shop, which `make test-fast` leaves out."""
    items.sort(key=lambda item: item.path.stem not in LONGEST)
    for item in items:
        if not {"repository", "shop"}.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker("exported")


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Return a function that makes a folder once for all processes that share the suite, and then copies it."""
    mine = tmp_path_factory.getbasetemp()
    shared = mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine

    def make(name: str, fill: Callable[[Path], object]) -> Path:
        made = shared / f"made-{name}"
        with FileLock(f"{made}.lock"):
            if not made.exists():
                unfinished = shared / f"unfinished-{name}"
                fill(unfinished)
                unfinished.rename(made)
        return Path(shutil.copytree(made, tmp_path_factory.mktemp(name) / name))

    return make


@pytest.fixture(scope="session")
def shop(made_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """A small demo shop: products, queries, qrels, clicks, same_style as parquet files."""
    return made_once("shop", lambda folder: generate(folder, products=SHOP_PRODUCTS, progress=False))


@pytest.fixture(scope="session")
def repository(made_once: Callable[[str, Callable[[Path], object]], Path], shop: Path) -> Path:
    """The model repository of the demo checkpoint."""

    def fill(folder: Path) -> None:
        export_repository(CHECKPOINT, folder, shop / "products.parquet", cpu_instances=1)

    return made_once("model_repository", fill)


@pytest.fixture(scope="session")
def index(repository: Path, shop: Path) -> Path:
    """The shop's index, at its default place beside the repository."""
    folder = repository.parent / "index"
    build_index(shop / "products.parquet", repository, folder, progress=False)
    return folder


@pytest.fixture(scope="session")
def pipeline(repository: Path, index: Path) -> InProcessPipeline:
    """The same repository and index as the servers below, in this process."""
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
    """A real server with the profile `cpu`, where one model does all steps of retrieve or retrieve_similar."""
    with _serve(repository, index, "cpu") as server:
        yield server


@pytest.fixture(scope="session")
def served_ensemble(repository: Path, index: Path) -> Iterator[TritonServer]:
    """A real server with the profile `cpu-ensemble`, where every step is a separate model, as on a GPU."""
    with _serve(repository, index, "cpu-ensemble") as server:
        yield server


@pytest.fixture(scope="session")
def fashion() -> Path:
    """The folder of a data set with 12,000 real products."""
    if not (FASHION / "dev" / "products.parquet").exists():
        pytest.skip(f"needs {FASHION / 'dev' / 'products.parquet'}, real products that are not part of the project")
    return FASHION
