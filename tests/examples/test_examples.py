"""Each program in examples/ runs, and finds what the pipeline in process finds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from shopwindow.retrieval import InProcessPipeline
from shopwindow.server import TritonServer
from tests.conftest import ROOT

EXAMPLES = ROOT / "examples"
QUERY = "red floral dress"


def run(name: str, *arguments: object) -> list[str]:
    """The lines that an example prints."""
    command = [sys.executable, EXAMPLES / f"{name}.py", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def ids(lines: list[str]) -> list[int]:
    """The ids at the start of lines `id  score`."""
    return [int(line.split()[0]) for line in lines]


def expected(pipeline: InProcessPipeline, query: str, top_k: int, condition: object = None) -> list[int]:
    parameters = {"top_k": top_k} if condition is None else {"top_k": top_k, "filter": condition}
    return pipeline.retrieve([query], **parameters).product_ids[0].tolist()


@pytest.fixture(scope="module")
def photo(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("photo") / "photo.jpg"
    file.write_bytes(pq.read_table(shop / "products.parquet", columns=["image"])["image"][0].as_py())
    return file


def test_search_by_words(served: TritonServer, pipeline: InProcessPipeline) -> None:
    lines = run("search_by_words", served.grpc_url)
    start = lines.index(QUERY) + 1
    cheap = '{"and": [{"price": {"lt": 50}}, {"stock": {"gt": 0}}]}'
    assert ids(lines[start : start + 5]) == expected(pipeline, QUERY, 5, cheap)


def test_photo_and_words(served: TritonServer, pipeline: InProcessPipeline, photo: Path) -> None:
    alike, changed = run("photo_and_words", photo, "white", served.grpc_url)
    for line, title in ((alike, ""), (changed, "white")):
        found = pipeline.retrieve_similar([title], [photo.read_bytes()], top_k=5)
        assert line.partition(":")[2].split() == [str(each) for each in found.product_ids[0]]


def test_many_at_once(served: TritonServer, pipeline: InProcessPipeline, tmp_path: Path) -> None:
    """One of the queries is refused, and the others are answered."""
    queries = ["navy trainers", "mug " * 400, "tartan scarf"]
    file = tmp_path / "queries.txt"
    file.write_text("\n".join(queries))
    first, refused, last = run("many_at_once", file, served.grpc_url)
    for query, line in ((queries[0], first), (queries[2], last)):
        assert line == f"{query}: {' '.join(map(str, expected(pipeline, query, 3)))}"
    assert "InvalidRequest" in refused


def test_without_a_server(repository: Path, index: Path, pipeline: InProcessPipeline) -> None:
    assert ids(run("without_a_server", repository, index, QUERY)) == expected(pipeline, QUERY, 5)


def test_plain_triton_client(served: TritonServer, pipeline: InProcessPipeline) -> None:
    lines = run("plain_triton_client", QUERY, served.grpc_url)
    assert ids(lines) == expected(pipeline, QUERY, 5, '{"price": {"lt": 50}}')


def test_every_example_is_tested_here() -> None:
    tested = Path(__file__).read_text(encoding="utf-8")
    assert all(f'run("{file.stem}"' in tested for file in EXAMPLES.glob("*.py"))
