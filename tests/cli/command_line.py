"""Run the shopwindow command inside the tests, and read what it prints."""

from __future__ import annotations

import base64
import io
import re
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from html.parser import HTMLParser

from shopwindow.cli.main import main


@dataclass(frozen=True)
class Done:
    """The exit code and the output of a command."""

    code: int
    stdout: str
    stderr: str


def shopwindow(*arguments: object) -> Done:
    """Run the command in this process. An unexpected error is raised."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with redirect_stdout(stdout), redirect_stderr(stderr):
        try:
            code = main([*map(str, arguments)])
        except SystemExit as end:
            assert isinstance(end.code, int)
            code = end.code
    return Done(code, stdout.getvalue(), stderr.getvalue())


def succeeds(*arguments: object) -> str:
    """Return the standard output of a command that succeeds."""
    done = shopwindow(*arguments)
    assert done.code == 0, done.stderr
    return done.stdout


def fails(*arguments: object) -> str:
    """Return the one line in which a command reports an expected error."""
    done = shopwindow(*arguments)
    assert done.code == 1, done
    [line] = done.stderr.splitlines()
    assert line.startswith(f"shopwindow {arguments[0]}: error: ")
    return line


def tables(printed: str) -> dict[str, list[tuple[int, int, str, str]]]:
    """Read the printed results: heading -> rows of (rank, id, score, title)."""
    found: dict[str, list[tuple[int, int, str, str]]] = {}
    for line in printed.splitlines():
        if row := re.fullmatch(r" +(\d+) +(\d+) +(-?\d\.\d{3})(?:  (.*))?", line):
            rank, product, score, title = row.groups()
            list(found.values())[-1].append((int(rank), int(product), score, title or ""))
        elif not line.startswith("wrote "):
            found[line] = []
    return found


class Page(HTMLParser):
    """The pictures and the text of an HTML page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.pictures: list[bytes] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.pictures.append(base64.b64decode((dict(attributes)["src"] or "").partition("base64,")[2]))
        assert tag != "script"

    def handle_data(self, data: str) -> None:
        self.text.append(data)
