"""The container files, as far as they can be checked where no container runs."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.main import COMMANDS
from deploy.tensorrt_version import find_library, show_version

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"

# Keys of the Compose specification that these files may use, so that a misspelt one is found.
SERVICE_KEYS = {
    "build", "cap_drop", "command", "depends_on", "deploy", "environment", "image", "init", "ports", "restart",
    "security_opt", "shm_size", "stop_grace_period", "user", "volumes",
}  # fmt: skip
CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile as (instruction, arguments), continued lines joined, comments left out."""
    text = "\n".join(
        line for line in (DEPLOY / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#")
    )
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [(name.upper(), rest) for name, _, rest in (line.partition(" ") for line in lines if line.strip())]


def stages() -> dict[str, list[tuple[str, str]]]:
    """Name of each build stage -> its instructions."""
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
    for name, rest in instructions():
        if name == "COPY":
            yield from [word for word in shlex.split(rest) if not word.startswith("--")][:-1]


def test_every_copied_path_is_in_the_repository_and_not_ignored() -> None:
    tracked_or_new = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    let_in = [
        line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")
    ]
    sources = list(copied())
    assert len(sources) > 10
    for source in sources:
        assert any(file == source or file.startswith(f"{source}/") for file in tracked_or_new), source
        assert source.split("/")[0] in let_in, source
    assert set(let_in) == {source.split("/")[0] for source in sources}


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


def test_the_server_is_judged_by_a_query_and_the_exporter_is_not() -> None:
    [check] = [rest for name, rest in stages()["server"] if name == "HEALTHCHECK"]
    assert check.endswith('CMD ["python3", "-m", "cli.main", "probe"]')
    assert ("HEALTHCHECK", "NONE") in stages()["exporter"]


def test_pip_keeps_no_cache_and_numpy_stays_below_two() -> None:
    for name, rest in instructions():
        for command in rest.split("&&") if name == "RUN" else []:
            assert "pip install" not in command or "--no-cache-dir" in command
    assert "numpy>=1.26,<2" in (DEPLOY / "requirements-server.txt").read_text().splitlines()


def test_what_the_image_runs_are_commands_with_options_that_exist() -> None:
    """Parsed by the very parsers: unknown options would exit with 2."""
    serve = next(rest for name, rest in stages()["server"] if name == "CMD")
    script = re.sub(r"\\\n\s*", " ", (DEPLOY / "export.sh").read_text())
    calls = [yaml.safe_load(serve)]
    for line in script.splitlines():
        if line.startswith("python3 -m cli.main"):
            plain = re.sub(r"\$\{SHOPWINDOW_RECIPE:\+(.*?)\}", r"\1", line).replace('"$SHOPWINDOW_RECIPE"', "ivf-sq8")
            plain = re.sub(r'"\$\{SHOPWINDOW_PRECISION:-(\w+)\}"', r"\1", plain)
            calls.append(shlex.split(plain)[3:])
    assert [call[0] for call in calls] == ["serve", "export", "plans", "index", "validate"]
    assert {call[0] for call in calls} <= set(COMMANDS)
    for call in calls:
        help_text = subprocess.run(
            [sys.executable, "-m", "cli.main", call[0], "--help"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        for word in call:
            assert not word.startswith("--") or word in help_text, (call[0], word)
    assert subprocess.run(["bash", "-n", str(DEPLOY / "export.sh")], check=False).returncode == 0


def test_compose_says_only_what_compose_knows(compose: dict[str, Any]) -> None:
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
            assert port.startswith("127.0.0.1:")  # Triton has no authentication
    for name in ("export", "server"):
        [device] = compose["services"][name]["deploy"]["resources"]["reservations"]["devices"]
        assert device["capabilities"] == ["gpu"]


def test_the_example_names_every_variable_and_no_other(compose: dict[str, Any]) -> None:
    used = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text()))
    named = {line.partition("=")[0] for line in (DEPLOY / ".env.example").read_text().splitlines() if "=" in line}
    assert used == named
    # What the image is built from has no default: whoever deploys pins it.
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
    assert find_library((str(tmp_path),)).name == "libnvinfer.so.11"
