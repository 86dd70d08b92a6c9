"""Folder names that a shell, Python or Triton could trip over: served all the same, or refused with the character."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shopwindow.indexing.full_build.run import build_index
from shopwindow.retrieval import InProcessPipeline
from shopwindow.server import EnvironmentUnfit, ServerFailedToStart, TritonServer
from shopwindow.server.install import check_interpreter
from shopwindow.server.plain_paths import plain_options
from shopwindow.server.watch.reloading import reload
from shopwindow_client import RetrievalClient
from tests.ranking import assert_same_ranking
from tests.server.launching import options, write_model

ROOT = Path(__file__).parents[2]
# What ends a word, a command or a list of folders, what runs something, what a pattern matches, what is not ASCII.
ODD = 'it\'s; a "shop" & $HOME $(touch ran) `touch ran` (1) [a] {b} * ? ! # ~ | < > \\ : % é ü 商店 🛍\nnew line'
TRAPS = ("retrieval", "numpy", "json", "export", "shopwindow", "onnxruntime", "triton_python_backend_utils")


@pytest.fixture(scope="module")
def odd(
    repository: Path, shop: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[TritonServer, InProcessPipeline]]:
    """A server on a repository and an index in folders with odd names, started in a folder full of traps."""
    root = tmp_path_factory.mktemp("names") / ODD
    models, index, catalog, here = (root / name for name in ("models", "an index", "products.parquet", "here"))
    shutil.copytree(repository, models)
    for name in (".git", ".ipynb_checkpoints", "lost+found"):
        (models / name).mkdir()
    shutil.copy(shop / "products.parquet", catalog)
    build_index(catalog, models, index, recipe="hnsw", progress=False)
    (here / "shopwindow").mkdir(parents=True)
    for file in (*(f"{name}.py" for name in TRAPS), "shopwindow/__init__.py"):
        (here / file).write_text("open(__file__ + '.ran', 'w').close()\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        relative = options(Path("../models"), index=Path("../an index"), log_file=Path("triton.log"), reloadable=True)
        with TritonServer(relative) as server:
            yield server, InProcessPipeline(models, index)


def test_odd_folders_are_served_like_others(odd: tuple[TritonServer, InProcessPipeline]) -> None:
    server, pipeline = odd
    reload(server, "retrieve")
    expected = pipeline.retrieve(["red dress"], top_k=20)
    with RetrievalClient(server.grpc_url, timeout_s=30) as client:
        found = client.retrieve(["red dress"], top_k=20)
        client.retrieve_similar(title="red dress", top_k=5)
    assert_same_ranking(found.ids, found.scores, expected.product_ids, expected.scores)


def test_no_code_of_the_current_folder_is_run(odd: tuple[TritonServer, InProcessPipeline]) -> None:
    here = Path.cwd()
    assert {path.name for path in here.iterdir()} == {*(f"{name}.py" for name in TRAPS), "shopwindow", "triton.log"}
    assert [path.name for path in (here / "shopwindow").iterdir()] == ["__init__.py"]


def test_a_python_environment_may_lie_in_an_odd_folder(tmp_path: Path) -> None:
    write_model(tmp_path / "models")
    environment = tmp_path / "ü's $HOME: a" / "venv"
    environment.parent.mkdir()
    environment.symlink_to(sys.prefix)
    code = (
        "import sys; from pathlib import Path; from shopwindow.server import TritonServer\n"
        "from tests.server.launching import ask, options\n"
        "with TritonServer(options(Path(sys.argv[1]))) as server: print(sys.prefix, *ask(server), sep='\\n')\n"
    )
    command = [str(environment / "bin" / "python"), "-c", code, str(tmp_path / "models")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:2] == [str(environment), "63.0"]


@pytest.mark.parametrize(
    ("name", "character"),
    [("a model", "' ' (SPACE)"), ("modèle", "'è' (LATIN SMALL LETTER E WITH GRAVE)"), ("b\udce4d", "the byte 0xE4")],
)
def test_a_model_folder_that_triton_cannot_take_is_refused_at_once(tmp_path: Path, name: str, character: str) -> None:
    write_model(tmp_path / "models", name)
    with pytest.raises(ServerFailedToStart) as refused:
        TritonServer(options(tmp_path / "models")).start()
    assert character in str(refused.value)


def test_a_python_that_is_not_in_ascii_is_refused_with_the_letter() -> None:
    check_interpreter(Path("/opt/my python/bin/python3.11"))
    with pytest.raises(
        EnvironmentUnfit, match=r"'/home/jürgen/python3' has 'ü' \(LATIN SMALL LETTER U WITH DIAERESIS\)"
    ):
        check_interpreter(Path("/usr/bin/python3"), Path("/home/jürgen/python3"))


def test_paths_in_further_arguments_are_those_of_the_callers_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Triton itself runs in another folder."""
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "models")
    further = ("--log-file=a.log", "--trace-config=triton,file=t.json", "--grpc-server-key", "k.pem", "--log-verbose=1")
    further += ("--trace-config", "triton,file=t.json", "--model-store=s3://a/b")
    found = plain_options(options(Path("models"), extra_args=further), tmp_path)
    assert found.repository == tmp_path / "models"
    assert found.extra_args == (
        f"--log-file={tmp_path}/a.log",
        f"--trace-config=triton,file={tmp_path}/t.json",
        "--grpc-server-key",
        f"{tmp_path}/k.pem",
        "--log-verbose=1",
        "--trace-config",
        f"triton,file={tmp_path}/t.json",
        "--model-store=s3://a/b",
    )
