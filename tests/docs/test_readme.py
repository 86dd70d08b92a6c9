"""README.md, "Your shop in ten minutes": every command runs, in order, and prints what the page shows."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from shopwindow.cli.main import main
from shopwindow.demo_shop.__main__ import main as write_shop
from shopwindow.server import ServerOptions, TritonServer
from tests.doc_examples import ROOT, blocks, command_lines, run_command

HEADING = "Your shop in ten minutes"
PAGE = [block for block in blocks((ROOT / "README.md").read_text(encoding="utf-8")) if block.heading == HEADING]
SHELL = "".join(block.text for block in PAGE if block.language == "sh")
SHOWN = [block.text for block in PAGE if block.language == "text"]
# The suite has installed and exported already, and a test starts the server itself.
ELSEWHERE = ("make", "source", "export", "serve")


def test_the_commands_lead_from_a_csv_to_skus_titles_and_prices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("build/my-shop")
    folder.mkdir(parents=True)
    (folder / "model_repository").symlink_to(repository)
    (python,) = command_lines(SHELL, "python")
    assert python[:2] == ["-m", "shopwindow.demo_shop"]
    write_shop(python[2:])
    assert (folder / "products.csv").read_text(encoding="utf-8").startswith(SHOWN[0])
    commands = [words for words in command_lines(SHELL, "shopwindow") if words[0] not in ELSEWHERE]
    inspect, index, *searches = commands
    capsys.readouterr()
    assert main(inspect) == 0
    printed = capsys.readouterr().out
    assert printed.replace(f"{tmp_path}/", "") == SHOWN[1]
    proposed = shlex.split(printed.splitlines()[-1])
    assert proposed == ["shopwindow", *index]  # the page's command is the one that inspect prints
    assert main(index) == 0
    options = ServerOptions(
        repository=folder / "model_repository",
        index=folder / "index",
        host="127.0.0.1",
        http_port=0,
        grpc_port=0,
        metrics_port=0,
    )
    with TritonServer(options) as server:
        capsys.readouterr()
        for words in searches:
            run_command(words, server.grpc_url)
    assert capsys.readouterr().out == SHOWN[2]
    assert "TAR-" in SHOWN[2] and "  price " in SHOWN[2]
