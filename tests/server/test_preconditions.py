"""Before a server starts: its options, its ports, and the tritonserver and numpy of this environment."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from shopwindow.server import EnvironmentUnfit, PortInUse, TritonNotFound, find_tritonserver
from shopwindow.server.install import check_numpy
from shopwindow.server.ports import choose_ports
from tests.server.launching import options


def test_free_ports_differ_and_the_same_port_for_two_flags_is_refused() -> None:
    chosen = choose_ports("127.0.0.1", {"--http-port": 0, "--grpc-port": 0, "--metrics-port": 0})
    assert len(set(chosen.values())) == 3
    port = chosen["--http-port"]
    with pytest.raises(PortInUse, match=f"--grpc-port: port {port} "):
        choose_ports("127.0.0.1", {"--http-port": port, "--grpc-port": port})


def test_numpy_2_is_refused_because_the_stub_reads_its_tensors_as_empty(tmp_path: Path) -> None:
    write_numpy(tmp_path, "2.0.0")
    with pytest.raises(EnvironmentUnfit, match=r"numpy<2, got 2\.0\.0"):
        check_numpy([str(tmp_path)])


def test_numpy_1_is_accepted_and_a_missing_numpy_refused(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentUnfit, match="none found"):
        check_numpy([str(tmp_path)])
    write_numpy(tmp_path, "1.26.4")
    check_numpy([str(tmp_path)])


def write_numpy(site_packages: Path, version: str) -> None:
    """Write the metadata file by which an installed numpy declares its version."""
    metadata = site_packages / f"numpy-{version}.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: numpy\nVersion: {version}\n")


def test_a_tritonserver_on_the_path_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = tmp_path / "tritonserver"
    binary.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    install = find_tritonserver()
    assert (install.binary, install.source, install.backend_directory) == (binary, "path", None)


def test_the_error_says_what_to_install_if_there_is_no_tritonserver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(TritonNotFound, match="pip install nvidia-pytriton"):
        find_tritonserver()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("grpc_port", 65536),
        ("http_port", -1),
        ("ready_timeout_s", 0),
        ("stop_timeout_s", -1.0),
        ("threads", 0),
        ("profile", "a b"),
    ],
)
def test_the_error_names_the_wrong_option(tmp_path: Path, field: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"{field} must be .*{value}"):
        options(tmp_path, **{field: value})
