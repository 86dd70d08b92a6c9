"""What the containers install is pinned by version and hash, and the bill of materials names no place."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from deploy.sbom import main as write_sbom
from tests.deploy.test_deploy import DEPLOY, ROOT, instructions, stages

PINNED = [*sorted(DEPLOY.glob("requirements-*.txt")), ROOT / "requirements-tools.txt"]


def pins(file: Path) -> dict[str, str]:
    """Package -> version, of a file in which every package is pinned by hash."""
    found = {}
    for line in re.sub(r"\\\n\s*", "", re.sub(r"#.*\n", "", file.read_text())).splitlines():
        match = re.fullmatch(r"([\w.-]+)==([\w.]+) (--hash=sha256:[0-9a-f]{64})( --hash=sha256:[0-9a-f]{64})*", line)
        assert match, f"{file.name}: {line[:80]}"
        found[normal(match[1])] = match[2]
    return found


def normal(package: str) -> str:
    """The name of a package in the form that indexes compare."""
    return re.sub(r"[-_.]+", "-", package).lower()


def project_pins() -> dict[str, str]:
    """Package -> version of requirements.txt."""
    lines = [line.split("==") for line in (ROOT / "requirements.txt").read_text().splitlines() if "==" in line]
    return {normal(package): version for package, version in lines}


def wanted(file: Path) -> set[str]:
    """The packages that a requirements-*.in names, without their versions."""
    lines = [line for line in file.read_text().splitlines() if line and line[0] not in "#-"]
    return {re.split(r"[\[<>=]", line)[0] for line in lines}


@pytest.mark.parametrize("file", PINNED, ids=lambda file: file.name)
def test_every_package_has_a_version_and_hashes(file: Path) -> None:
    assert pins(file)


@pytest.mark.parametrize("name", ["server", "exporter"])
def test_everything_that_is_needed_is_pinned(name: str) -> None:
    assert wanted(DEPLOY / f"requirements-{name}.in") <= set(pins(DEPLOY / f"requirements-{name}.txt"))
    assert pins(DEPLOY / "requirements-server.txt").items() <= pins(DEPLOY / "requirements-exporter.txt").items()


@pytest.mark.parametrize("file", PINNED[:-1], ids=lambda file: file.name)
def test_containers_have_the_versions_that_are_tested(file: Path) -> None:
    expected = project_pins()
    both = pins(file).keys() & expected.keys()
    assert {name: pins(file)[name] for name in both} == {name: expected[name] for name in both}


def test_the_guide_names_the_versions_of_what_answers_queries() -> None:
    everything = (
        project_pins() | pins(DEPLOY / "requirements-faiss-gpu.txt") | pins(DEPLOY / "requirements-faiss-gpu-cuvs.txt")
    )
    table = (ROOT / "SECURITY.md").read_text().partition("| package | what for | pinned | state |")[2]
    rows = [line.split(" | ") for line in table.splitlines()[2:] if line.startswith("| ")]
    named: dict[str, str] = {}
    for packages, _, versions, _ in rows:
        names, numbers = packages.removeprefix("| ").split(", "), versions.split(", ")
        named |= dict(zip(names, numbers * len(names) if len(numbers) == 1 else numbers, strict=True))
    assert {"nvidia-pytriton", "numpy", "faiss-cpu", *wanted(DEPLOY / "requirements-server.in")} <= named.keys()
    assert named == {name: everything[name] for name in named}


def test_pip_checks_hashes_of_all_but_the_bindings_of_tensorrt() -> None:
    commands = [part for name, rest in instructions() if name == "RUN" for part in rest.split("&&")]
    installing = [command for command in commands if "pip install" in command]
    assert len(installing) == 3
    assert [command for command in installing if "--require-hashes" not in command] == [
        command for command in installing if "${bindings}" in command
    ]


@pytest.mark.parametrize(
    ("faiss", "file"),
    [
        ("faiss-gpu==1.15.1", "faiss-gpu"),
        ("faiss-gpu-cuvs==1.15.1", "faiss-gpu-cuvs"),
        ("faiss-gpu", "faiss-gpu"),
        ("faiss-gpu==1.15", None),
        ("faiss-gpu==1.14.0", None),
        ("faiss-cpu==1.15.1", None),
    ],
)
def test_the_chosen_faiss_is_installed_by_its_hashes(tmp_path: Path, faiss: str, file: str | None) -> None:
    [line] = [rest for name, rest in stages()["server"] if name == "RUN" and "FAISS" in rest]
    python = tmp_path / "python3"
    python.write_text('#!/bin/sh\necho "$@"\n')
    python.chmod(0o755)
    environment = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "FAISS": faiss}
    done = subprocess.run(["sh", "-c", line], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if file is None:
        assert done.returncode == 1 and done.stdout == ""
        assert f"FAISS: no hashes of {faiss} in deploy/requirements-faiss-" in done.stderr
    else:
        assert done.stdout.endswith(f" -r deploy/requirements-server.txt -r deploy/requirements-{file}.txt\n")


def test_a_bill_of_materials_names_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bill is cut from one that cyclonedx-py wrote."""
    local = {"comment": "PackageSource: Local", "type": "distribution", "url": f"file://{ROOT}"}
    part = {"bom-ref": "shopwindow==0.1.0", "externalReferences": [local], "name": "shopwindow", "version": "0.1.0"}
    bom = {"$schema": "http://x/bom-1.6.schema.json", "specVersion": "1.6", "components": [part], "metadata": {}}
    file = tmp_path / "sbom.json"
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(bom)))
    assert write_sbom([str(file)]) == 0
    written = json.loads(file.read_text())
    assert written == {
        **bom,
        "components": [{"bom-ref": "shopwindow==0.1.0", "name": "shopwindow", "version": "0.1.0"}],
    }
    for wrong in ({**part, "description": f"in {ROOT}/client"}, {**part, "purl": "git+ssh://somewhere/a"}):
        monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps({**bom, "components": [wrong]})))
        with pytest.raises(ValueError, match="an address or a folder of this machine"):
            write_sbom([str(file)])
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps({**bom, "components": []})))
    with pytest.raises(ValueError, match="components: there are none"):
        write_sbom([str(file)])
    assert json.loads(file.read_text()) == written
