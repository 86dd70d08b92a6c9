"""The two wheels, installed beside their libraries and away from the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

Run = Callable[..., str]


@pytest.fixture(scope="module")
def bin_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that has the wheels; it sees this environment's libraries, not its checkout."""
    folder = tmp_path_factory.mktemp("wheels")
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        folder,
    ]
    subprocess.run([*build, ROOT, ROOT / "client"], check=True)
    environment = folder / "environment"
    venv.EnvBuilder(symlinks=True).create(environment)
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(environment)}))
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", site]
    subprocess.run([*install, *folder.glob("*.whl")], check=True)
    # A folder that a .pth file names is searched, but its own .pth files, such as those of checkouts, are not read.
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    programs = environment / "bin"
    script = programs / "shopwindow"
    script.write_text(f"#!{programs}/python\nimport sys\nfrom shopwindow.cli.main import main\nsys.exit(main())\n")
    script.chmod(0o755)
    return programs


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of somebody else's project, with files named like ours."""
    folder = tmp_path_factory.mktemp("elsewhere")
    for name in ("retrieval", "export", "towers", "stub", "cli", "loadtests"):
        (folder / f"{name}.py").write_text("raise RuntimeError('not this one')\n")
    return folder


@pytest.fixture(scope="module")
def run(bin_folder: Path, elsewhere: Path) -> Run:
    def run(*arguments: object) -> str:
        environment = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}"}
        environment.pop("PYTHONPATH", None)
        command = [bin_folder / "shopwindow", *map(str, arguments)]
        done = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="module")
def url(run: Run, bin_folder: Path, elsewhere: Path, shop: Path) -> Iterator[str]:
    """gRPC address of a server that serves what the wheel exported and indexed."""
    repository = elsewhere / "shop" / "model_repository"
    run("export", "--sample", shop / "products.parquet", "--repository", repository, "--cpu-instances", 1)
    run("index", "--catalog", shop / "products.parquet", "--repository", repository)
    ports = [word for name in ("http", "grpc", "metrics") for word in (f"--{name}-port", "0")]
    command = [bin_folder / "shopwindow", "serve", "--host", "127.0.0.1", "--repository", repository, *ports]
    environment = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}"}
    environment.pop("PYTHONPATH", None)
    with subprocess.Popen(command, cwd=elsewhere, env=environment, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            lines = iter(server.stdout.readline, "")
            yield next(line.split()[1] for line in lines if line.split()[:1] == ["gRPC"])
        finally:
            server.terminate()


def test_the_installed_command_is_the_wheels(run: Run, bin_folder: Path) -> None:
    assert "usage: shopwindow" in run("--help")
    code = (
        "import shopwindow, shopwindow_client, shopwindow_export, shopwindow_loadtests as l; print(shopwindow.__file__)"
    )
    place = subprocess.run([bin_folder / "python", "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert Path(place.stdout.strip()).is_relative_to(bin_folder.parent)


def test_what_the_wheels_export_and_index_is_served(run: Run, url: str) -> None:
    found = run("retrieve", "red floral dress", "--url", url, "--top-k", "3")
    assert "dress" in found.lower()


def test_a_wheel_made_from_the_sdist_has_the_same_files(bin_folder: Path, tmp_path: Path) -> None:
    # In a copy, because setuptools writes into the folder that it packs.
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    for file in filter(lambda name: (ROOT / name).is_file(), files):
        (tmp_path / "checkout" / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / "checkout" / file)
    sdist = f"from setuptools.build_meta import build_sdist; build_sdist({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", sdist], cwd=tmp_path / "checkout", check=True, capture_output=True)
    (archive,) = tmp_path.glob("shopwindow-*.tar.gz")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", tmp_path, archive], check=True)
    (found,), (expected,) = (place.glob("shopwindow-*.whl") for place in (tmp_path, bin_folder.parents[1]))
    assert zipfile.ZipFile(found).namelist() == zipfile.ZipFile(expected).namelist()
