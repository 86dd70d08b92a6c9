"""The container files, checked without a container."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.tensorrt_version import find_library, show_version
from shopwindow.cli.main import COMMANDS
from shopwindow.retrieval.engines import EngineOptions, Where
from shopwindow.retrieval.engines.options import GPUS_VARIABLE, SPREAD_VARIABLE, TEMP_VARIABLE, WHERE_VARIABLE
from shopwindow.server import HealthServer
from shopwindow.server.watch.health import Health

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"

# Keys of the Compose specification that the file may use. The list catches misspelt keys.
SERVICE_KEYS = {
    "build", "cap_drop", "command", "depends_on", "environment", "image", "init", "ports", "restart", "runtime",
    "security_opt", "shm_size", "stop_grace_period", "user", "volumes",
}  # fmt: skip
CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile as (instruction, arguments), with continued lines joined and without comments."""
    text = "\n".join(
        line for line in (DEPLOY / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#")
    )
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [(name.upper(), rest) for name, _, rest in (line.partition(" ") for line in lines if line.strip())]


def stages() -> dict[str, list[tuple[str, str]]]:
    """Return the instructions of each build stage by its name."""
    found: dict[str, list[tuple[str, str]]] = {}
    for name, rest in instructions():
        if name == "FROM":
            found[rest.split()[-1]] = []
        if found:
            found[list(found)[-1]].append((name, rest))
    return found


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return content


def copied() -> Iterator[str]:
    """Yield every path that the Dockerfile copies from the checkout."""
    for name, rest in instructions():
        if name == "COPY":
            yield from [word for word in shlex.split(rest) if not word.startswith("--")][:-1]


def test_every_copied_path_is_in_the_repository_and_not_ignored() -> None:
    tracked_or_new = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    allowed = [
        line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")
    ]
    sources = list(copied())
    assert sources
    for source in sources:
        assert any(file == source or file.startswith(f"{source}/") for file in tracked_or_new), source
        assert source.split("/")[0] in allowed, source
    assert set(allowed) == {source.split("/")[0] for source in sources}


def test_the_base_image_is_one_required_argument_and_no_registry_is_named() -> None:
    names = instructions()
    assert names[0] == ("ARG", "TRITON_IMAGE")
    assert [rest for name, rest in names if name == "FROM"] == ["${TRITON_IMAGE} AS server", "server AS exporter"]
    for file in DEPLOY.iterdir():
        if file.is_file():
            assert not re.search(r"https?://|\b[\w-]+\.(?:io|com|org|net)/", file.read_text()), file


def test_every_argument_is_used() -> None:
    names = instructions()
    for argument in [rest.partition("=")[0] for name, rest in names if name == "ARG"]:
        assert any("${" + argument + "}" in rest for name, rest in names if name != "ARG"), argument


@pytest.mark.parametrize("stage", ["server", "exporter"])
def test_no_stage_ends_as_root(stage: str) -> None:
    assert [rest for name, rest in stages()[stage] if name == "USER"][-1] == "shopwindow"


def test_the_ports_of_the_container_can_be_published() -> None:
    [command] = [rest for name, rest in stages()["server"] if name == "CMD"]
    assert '"--host", "0.0.0.0"' in command  # the default is the container's own loopback


@pytest.mark.parametrize("ready", [True, False])
def test_the_health_check_of_the_server_is_the_readiness_that_its_watch_sees(ready: bool) -> None:
    [check] = [rest for name, rest in stages()["server"] if name == "HEALTHCHECK"]
    [command] = [rest for name, rest in stages()["server"] if name == "CMD"]
    assert '"--health-port", "8003"' in command
    health = Health(live=True, ready=ready, reason="" if ready else "a model died")
    with HealthServer("127.0.0.1", 0, lambda: health) as server:
        words = json.loads(check.partition("CMD ")[2].replace("localhost:8003", server.address))
        done = subprocess.run([sys.executable, *words[1:]], capture_output=True, check=False)
    assert (done.returncode == 0) is ready
    assert ("HEALTHCHECK", "NONE") in stages()["exporter"]


def test_every_python_of_the_image_finds_the_project(tmp_path: Path) -> None:
    """This includes the interpreters of Triton's Python models, which ignore PYTHONPATH."""
    assert not any("PYTHONPATH" in rest for name, rest in instructions() if name == "ENV")
    [line] = [rest for name, rest in stages()["server"] if name == "RUN" and ".pth" in rest]
    venv.EnvBuilder(symlinks=True).create(tmp_path)
    command = line.replace("python3", f"{tmp_path}/bin/python").replace("/opt/shopwindow", str(ROOT))
    subprocess.run(["sh", "-c", command], check=True)
    names = ("shopwindow.triton_models", "shopwindow_client")
    find = f"from importlib.util import find_spec as find; print(*map(bool, map(find, {names})))"
    done = subprocess.run([f"{tmp_path}/bin/python", "-I", "-c", find], capture_output=True, text=True, check=True)
    assert done.stdout == "True True\n"


def test_the_build_of_the_exporter_fails_if_it_cannot_load_tensorrt() -> None:
    [line] = [rest for name, rest in stages()["exporter"] if name == "RUN"]
    assert "load_toolkit('tensorrt')" in line.rpartition("&&")[2]
    quantise = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    listed = (DEPLOY / "requirements-exporter.in").read_text().splitlines()
    assert {*quantise["quantise"], *quantise["adapt"], "-r requirements-server.in"} <= set(listed)


def test_pip_keeps_no_cache_and_numpy_stays_below_two() -> None:
    for name, rest in instructions():
        for command in rest.split("&&") if name == "RUN" else []:
            assert "pip install" not in command or "--no-cache-dir" in command
    assert "numpy>=1.26,<2" in (DEPLOY / "requirements-server.in").read_text().splitlines()


def exporting(tmp_path: Path, **environment: str) -> list[list[str]]:
    """Run export.sh and return its commands, each after the GPUs that it sees."""
    python = tmp_path / "python3"
    python.write_text('#!/bin/sh\necho "${CUDA_VISIBLE_DEVICES-all}" "$@" >> "$CALLS"\n')
    python.chmod(0o755)
    calls = tmp_path / "calls"
    calls.unlink(missing_ok=True)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    given = {**environment, "PATH": path, "CALLS": str(calls), "TMPDIR": str(tmp_path)}
    subprocess.run(["bash", str(DEPLOY / "export.sh")], env=given, check=True)
    assert not [folder for folder in tmp_path.iterdir() if folder.is_dir()]  # export.sh removed its scratch folder
    lines = [line.split(" ") for line in calls.read_text().splitlines()]
    assert all(line[1:3] == ["-m", "shopwindow.cli.main"] for line in lines)
    return [[line[0], *line[3:]] for line in lines]


def option(call: list[str], name: str) -> str | None:
    return call[call.index(name) + 1] if name in call else None


def test_the_exporter_checks_the_profile_that_is_served(tmp_path: Path) -> None:
    serve = yaml.safe_load(next(rest for name, rest in stages()["server"] if name == "CMD"))
    calls = exporting(tmp_path)
    assert [call[1] for call in calls] == ["export", "plans", "index", "validate"]
    assert option(calls[-1], "--profile") == option(serve, "--profile") == "gpu"
    assert {option(call, "--repository") for call in calls[:-1]} == {calls[-1][2]} == {option(serve, "--repository")}
    assert option(calls[2], "--out") == option(serve, "--index")
    assert "--if-changed" in calls[2]  # otherwise each start would embed the catalogue again and undo updates


@pytest.mark.parametrize("precision", ["bf16", "fp8"])
def test_a_precision_that_no_cpu_runs_is_indexed_with_float32_graphs(tmp_path: Path, precision: str) -> None:
    export, plans, again, index, validate = exporting(tmp_path, SHOPWINDOW_PRECISION=precision)
    assert option(export, "--precision") == precision
    assert option(again, "--precision") in (None, "fp32")
    assert option(again, "--checkpoint") == option(export, "--checkpoint")
    assert again[0] == ""  # the GPU is hidden, so no plans are built for graphs that nobody serves
    assert option(index, "--repository") == option(again, "--repository") != option(export, "--repository")
    assert option(plans, "--repository") == validate[2] == option(export, "--repository")


def test_the_image_runs_commands_with_options_that_exist(tmp_path: Path) -> None:
    serve = yaml.safe_load(next(rest for name, rest in stages()["server"] if name == "CMD"))
    given = {"SHOPWINDOW_PRECISION": "bf16", "SHOPWINDOW_RECIPE": "ivf-sq8"}
    calls = [serve, *(call[1:] for call in exporting(tmp_path, **given))]
    assert {call[0] for call in calls} <= set(COMMANDS)
    for call in {call[0]: call for call in calls}.values():
        help_text = subprocess.run(
            [sys.executable, "-m", "shopwindow.cli.main", call[0], "--help"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for word in call:
            assert not word.startswith("--") or word in help_text, (call[0], word)
    assert subprocess.run(["bash", "-n", str(DEPLOY / "export.sh")], check=False).returncode == 0


def test_compose_uses_only_known_keys_services_and_volumes(compose: dict[str, Any]) -> None:
    assert {key for key in compose if not key.startswith("x-")} == {"name", "services", "volumes"}
    for name, service in compose["services"].items():
        assert set(service) <= SERVICE_KEYS, name
        assert ("image" in service) != ("build" in service), name
        for other, needed in service.get("depends_on", {}).items():
            assert other in compose["services"]
            assert needed["condition"] in CONDITIONS
        for volume in service["volumes"]:
            source = re.sub(r"\$\{[^}]*\}", "/given", volume).split(":")[0]
            assert source in compose["volumes"] or source.startswith("/") or (DEPLOY / source).is_file(), volume


def test_compose_builds_stages_that_exist_with_arguments_that_exist(compose: dict[str, Any]) -> None:
    arguments = {rest.partition("=")[0] for name, rest in instructions() if name == "ARG"}
    for name in ("export", "server"):
        build = compose["services"][name]["build"]
        assert (DEPLOY / build["context"] / build["dockerfile"]).resolve() == DEPLOY / "Dockerfile"
        assert build["target"] in stages()
        assert set(build["args"]) == arguments


def test_the_server_waits_for_the_export_and_has_shared_memory(compose: dict[str, Any]) -> None:
    server = compose["services"]["server"]
    assert server["depends_on"]["export"]["condition"] == "service_completed_successfully"
    assert server["shm_size"]
    assert compose["services"]["prometheus"]["depends_on"]["server"]["condition"] == "service_healthy"
    for service in compose["services"].values():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")  # without keys everybody who reaches a port can search


def test_export_and_server_get_the_same_gpus_and_settings(compose: dict[str, Any]) -> None:
    export, server = (compose["services"][name] for name in ("export", "server"))
    assert export["runtime"] == server["runtime"] == "nvidia"
    # The variable takes a list as `0,1`. Under device_ids the list would be one id.
    assert export["environment"]["NVIDIA_VISIBLE_DEVICES"] == server["environment"]["NVIDIA_VISIBLE_DEVICES"]
    for variable in (WHERE_VARIABLE, GPUS_VARIABLE, SPREAD_VARIABLE, TEMP_VARIABLE):
        assert server["environment"][variable].startswith("${" + variable + ":-"), variable
    # The export renders one instance of the model if the GPUs share one index.
    assert export["environment"][GPUS_VARIABLE] == server["environment"][GPUS_VARIABLE]
    defaults = {name: re.sub(r"\$\{\w+:-(.*)\}", r"\1", text) for name, text in server["environment"].items()}
    assert EngineOptions.from_environment(instance_kind="GPU", device=0, environment=defaults).where is Where.AUTO


def test_the_example_names_every_variable_and_no_other(compose: dict[str, Any]) -> None:
    used = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text()))
    named = {line.partition("=")[0] for line in (DEPLOY / ".env.example").read_text().splitlines() if "=" in line}
    assert used == named
    # The base images have no default, because whoever deploys must pin them.
    required = set(re.findall(r"\$\{(\w+):\?", (DEPLOY / "compose.yaml").read_text()))
    assert required == {"TRITON_IMAGE", "PROMETHEUS_IMAGE", "CHECKPOINT", "CATALOG"}


def test_prometheus_scrapes_the_server_s_metrics_port(compose: dict[str, Any]) -> None:
    config = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    [[target]] = [entry["targets"] for job in config["scrape_configs"] for entry in job["static_configs"]]
    host, port = target.split(":")
    assert host in compose["services"]
    assert port in next(rest for name, rest in stages()["server"] if name == "EXPOSE").split()


def test_the_version_of_tensorrt_is_read_from_its_library(tmp_path: Path) -> None:
    assert [show_version(number) for number in (100_900, 101_302, 110_100)] == ["10.9.0", "10.13.2", "11.1.0"]
    with pytest.raises(ValueError, match="got 8601"):
        show_version(8_601)
    with pytest.raises(FileNotFoundError, match="libnvinfer"):
        find_library((str(tmp_path),))
    (tmp_path / "libnvinfer.so.11").touch()
    for name in ("libnvinfer_plugin", "libnvonnxparser"):  # the bindings are linked against these
        with pytest.raises(FileNotFoundError, match=f"{name}.so"):
            find_library((str(tmp_path),))
        (tmp_path / f"{name}.so.11").touch()
    assert find_library((str(tmp_path),)).name == "libnvinfer.so.11"
