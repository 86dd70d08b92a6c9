"""Wheels in parts: they are split, joined and unpacked without change."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from shopwindow.base.default_places import python_path
from shopwindow_loadtests.gpu.parts import LIST, join, make_environment, split

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Two wheels; the larger is in several parts."""
    for name, size in (("large-1-py3-none-any.whl", 300_000), ("small-1-py3-none-any.whl", 10)):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr(f"{name.split('-')[0]}/data", os.urandom(size))
            tool = zipfile.ZipInfo(f"{name.split('-')[0]}/bin/tool")
            tool.external_attr = 0o755 << 16
            archive.writestr(tool, "#!/bin/sh\n")
    made = split(sorted(tmp_path.glob("*.whl")), tmp_path / "parts", part_bytes=100_000)
    assert [part.name[-7:] for part in made] == ["whl.000", "whl.001", "whl.002", "whl.003", "whl.000"]
    assert max(part.stat().st_size for part in made) == 100_000
    return tmp_path / "parts"


def test_joined_wheels_are_the_same_as_before_the_split(parts: Path, tmp_path: Path) -> None:
    wheels = join(parts, tmp_path / "site")
    assert wheels == ["large-1-py3-none-any.whl", "small-1-py3-none-any.whl"]
    for wheel in wheels:
        with zipfile.ZipFile(tmp_path / wheel) as archive:
            for member in archive.namelist():
                assert (tmp_path / "site" / member).read_bytes() == archive.read(member)
        assert os.access(tmp_path / "site" / wheel.split("-")[0] / "bin" / "tool", os.X_OK)
        assert not os.access(tmp_path / "site" / wheel.split("-")[0] / "data", os.X_OK)


def test_sha256sum_can_check_the_list(parts: Path) -> None:
    done = subprocess.run(["sha256sum", "--check", "--quiet", LIST], cwd=parts, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_part_that_is_missing_or_damaged_is_named(parts: Path, tmp_path: Path) -> None:
    part = parts / "large-1-py3-none-any.whl.001"
    data = part.read_bytes()
    part.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ValueError, match=r"whl\.001: its SHA-256 is not that of SHA256SUMS"):
        join(parts, tmp_path / "site")
    part.unlink()
    with pytest.raises(FileNotFoundError, match=r"whl\.001 is missing: SHA256SUMS has 5 parts"):
        join(parts, tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_joining_needs_nothing_but_python(parts: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-S", "-m", "shopwindow_loadtests.gpu.parts", "join", str(parts)]
    command += ["--into", str(tmp_path / "site")]
    environment = {"PYTHONPATH": python_path({})}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "small" / "data").is_file()


def test_make_gpu_check_finds_this_project_for_a_python_without_it() -> None:
    command = ["make", "--silent", "gpu-check", f"GPU_PYTHON={sys.executable} -S", "GPU_CHECK_ARGS=--help"]
    environment = {"PATH": os.environ["PATH"]}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: python -m shopwindow_loadtests.gpu")


MODEL = """
import large, shopwindow.triton_models.batch_io, shopwindow_client
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def initialize(self, args):
        pb_utils.Logger.log_info(f"large is from {list(large.__path__)}")
    def execute(self, requests):
        return []
"""


def test_tritons_python_models_see_the_carried_wheels_and_this_project(parts: Path, tmp_path: Path) -> None:
    """These models ignore PYTHONPATH."""
    python = make_environment(parts, tmp_path / "environment")
    model = tmp_path / "models" / "model"
    (model / "1").mkdir(parents=True)
    (model / "1" / "model.py").write_text(MODEL)
    (model / "config.pbtxt").write_text('backend: "python" max_batch_size: 1 instance_group [ { kind: KIND_CPU } ]')
    serve = (
        "from pathlib import Path; from shopwindow.server import ServerOptions, TritonServer\n"
        "ports = dict.fromkeys(['http_port', 'grpc_port', 'metrics_port'], 0)\n"
        "options = ServerOptions(repository=Path('models'), host='127.0.0.1', **ports)\n"
        "with TritonServer(options) as server: print(server.log_tail(10_000))\n"
    )
    done = subprocess.run(
        [str(python), "-c", serve], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"large is from ['{tmp_path}/environment/lib/" in done.stdout
