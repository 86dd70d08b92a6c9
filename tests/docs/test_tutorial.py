"""docs/tutorial.md: every command runs, in order, against real servers."""

from __future__ import annotations

from pathlib import Path

import pytest

from shopwindow.demo.photos import photo
from shopwindow.server import ServerOptions, TritonServer
from tests.doc_examples import Block, ask_over_http, blocks, command_lines, read_page, run_command

PAGE = blocks(read_page("tutorial.md"))
HEADINGS = list(dict.fromkeys(block.heading for block in PAGE))


def part(first: str, last: str) -> list[Block]:
    """The blocks from one heading to another."""
    chosen = HEADINGS[HEADINGS.index(first) : HEADINGS.index(last) + 1]
    return [block for block in PAGE if block.heading in chosen]


def follow(steps: list[Block], server: TritonServer | None = None) -> None:
    """Do what the blocks say, with a server in place of the one that the reader starts."""
    url = server.grpc_url if server is not None else ""
    for block in steps:
        if block.file:
            Path(block.file).write_text(block.text)
        elif block.language == "python":
            exec(compile(block.text.replace("localhost:8001", url), "docs/tutorial.md", "exec"), {})
        elif block.language == "sh":
            for words in command_lines(block.text, "shopwindow"):
                if words[0] not in ("export", "serve"):  # the suite has exported, and serves, already
                    run_command(words, url)
            for words in command_lines(block.text, "curl"):
                assert server is not None
                assert ask_over_http(words, server.http_url)["outputs"]


@pytest.fixture
def tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path, index: Path, shop: Path) -> Path:
    """A checkout after `make demo`, and a repository as the tutorial's `export` makes it."""
    monkeypatch.chdir(tmp_path)
    for name, target in {
        "build/demo/shop": shop,
        "build/model_repository": repository,
        "build/index": index,
        "build/tutorial/model_repository": repository,
    }.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).symlink_to(target)
    return tmp_path


def test_a_server_is_asked(tutorial: Path, served: TritonServer) -> None:
    (tutorial / "build/demo/mug.jpg").write_bytes(photo("mug", "blue", "plain"))
    follow(part("Ask a server", "Ask a server"), served)


def test_ten_products_are_indexed_served_changed_and_measured(tutorial: Path, capsys: pytest.CaptureFixture) -> None:
    follow(part("Your own catalogue", "Export and index"))
    # What `index` says of the columns is what the page shows.
    said = capsys.readouterr().out.replace(f"{tutorial}/", "")
    assert said[said.index("build/tutorial/products.csv:") : said.index("embedded")] in read_page("tutorial.md")
    index = tutorial / "build/tutorial/index"
    options = ServerOptions(
        repository=tutorial / "build/tutorial/model_repository",
        index=index,
        host="127.0.0.1",
        http_port=0,
        grpc_port=0,
        metrics_port=0,
    )
    with TritonServer(options) as server:
        capsys.readouterr()
        follow(part("Serve it", "Prove a latency limit"), server)
    printed = capsys.readouterr().out
    # What the page shows of it, but for numbers that differ from machine to machine.
    for line in (
        "    1           2   0.735  blue striped mug",
        "    2          11   0.698  blue spotted mug",
        "added 1, embedded again 0, attributes only 1, removed 1 products",
        "compacted build/tutorial/index to 10 products",
        "SLO KEPT all p99_ms",
    ):
        assert line in printed
        assert line in read_page("tutorial.md")
    assert (tutorial / "build/tutorial/loadtest/report.html").is_file()


def test_every_command_of_the_tutorial_is_followed() -> None:
    followed = part("Ask a server", "Prove a latency limit")
    assert [block for block in PAGE if block not in followed and block.language in ("sh", "python")] == [
        block for block in PAGE if block.heading == "See it work" and block.language == "sh"
    ]
