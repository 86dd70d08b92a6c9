"""docs/loadtests.md: every example runs, and every option appears in one."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shopwindow.base.default_places import ROOT, python_path
from shopwindow.cli.main import main
from tests.doc_examples import blocks, cut_short, easier, free_port, read_page

TEXT = read_page("loadtests.md")
BLOCKS = [block.text for block in blocks(TEXT, "sh")]
FILES = [(block.file, block.text) for block in blocks(TEXT, "yaml")]


def arguments(line: str, url: str, port: str) -> list[str]:
    """Return the arguments of a command line, shortened to a second or two."""
    return cut_short(shlex.split(line.replace("$URL", url).replace("5557", port).replace("HOST", "127.0.0.1"))[1:])


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, shop: Path, repository: Path, index: Path) -> Iterator[Path]:
    """A folder that looks like a checkout after `make demo`."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "build" / "demo").mkdir(parents=True)
    for name, target in {"demo/shop": shop, "model_repository": repository, "index": index}.items():
        (folder / "build" / name).symlink_to(target)
    (folder / "loadtests").symlink_to(ROOT / "loadtests")
    for name, text in FILES:
        (folder / name).write_text(easier(text) if name == "slo.yaml" else text)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_an_example_runs(block: str, planted: Any, checkout: Path, capfd: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    environment = {**os.environ, "PYTHONPATH": python_path({})}
    lines = block.splitlines()
    commands = [arguments(line, planted.url, port) for line in lines if line.startswith("shopwindow")]
    for line in [line for line in lines if line.startswith("locust")]:
        words = [*shlex.split(line.replace("$URL", planted.url)), "--headless", "-t", "1s"]
        subprocess.run([sys.executable, "-m", *words], env=environment, check=True)
    if "--baseline" in block and not (checkout / "build" / "before" / "samples.parquet").exists():
        before = next(other for other in BLOCKS if "--out build/before" in other)
        commands.insert(0, arguments(before, planted.url, port))
    if "--join" in block:
        with subprocess.Popen([sys.executable, "-m", "shopwindow.cli.main", *commands[0]], env=environment) as first:
            assert main(commands[1]) == 0
            assert first.wait() == 0
    else:
        for command in commands:
            assert main(command) == 0, capfd.readouterr()
    assert "HARNESS" not in capfd.readouterr().err


def test_the_python_example_runs(planted: Any, checkout: Path) -> None:
    (block,) = blocks(TEXT, "python")
    code = block.text.replace("duration_s=30.0", "duration_s=0.4")
    exec(compile(code, "docs/loadtests.md", "exec"), {"URL": planted.url})


def test_every_option_is_in_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["loadtest", "--help"])
    options = set(re.findall(r"--[a-z][a-z0-9-]+", capsys.readouterr().out)) - {"--help"}
    # tests/cli/test_serve.py runs a load test with these, against a server that asks for them.
    access = {"--tls", "--tls-ca", "--tls-certificate", "--tls-key", "--key-file"}
    assert {option for option in options if not re.search(rf"{option}\b", "\n".join(BLOCKS))} == access
    assert {option for option in access if f"`{option}" not in TEXT} == set()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["--users", "1", "--shape", "ramp"], "shape ramp takes 2 level(s)"),
        (["--rate", "1", "--slo", "none.yaml"], "slo must be a file, and there is none at none.yaml"),
        (["--rate", "1", "--baseline", "slo.yaml"], "slo.yaml must hold the raw samples of a load test"),
        (["--users", "2", "--find-rate"], "a search needs an open loop"),
    ],
)
def test_bad_usage_has_its_own_exit_code(
    given: list[str], named: str, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["loadtest", *given]) == 2
    assert named in capsys.readouterr().err
    with pytest.raises(SystemExit) as refused:
        main(["loadtest", "--users", "1", "--rate", "1"])
    assert refused.value.code == 2
