"""The examples of a page of documentation: taken out of it, cut short, and run."""

from __future__ import annotations

import json
import re
import shlex
import socket
import textwrap
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

import yaml

from shopwindow.cli.main import main

ROOT = Path(__file__).resolve().parents[1]
# What makes a load test last a second or two, on a machine that may be slow.
SHORTER = {
    "--duration-s": "0.4",  # see tests/loadtests/conftest.py
    "--timeout-s": "30",
    "--max-p95-ms": "30000",
    "--max-p99-ms": "30000",
    "--max-late-ms": "30000",
    "--min-samples": "1",
    "--highest-rate": "50",
}
_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"`([\w./-]+\.\w+)`:\n\s*\Z")


@dataclass(frozen=True)
class Block:
    """A block of code in a page.

    Attributes:
        language: as the page names it.
        text: without the page's indentation.
        file: the name of the file that the page gives the block; empty if it gives none.
        heading: the last heading of the second level before it.
    """

    language: str
    text: str
    file: str = ""
    heading: str = ""


def read_page(name: str) -> str:
    """Return the text of a page in docs/."""
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def blocks(page: str, *languages: str) -> list[Block]:
    """Return the blocks of a page in some languages, in order; in all languages if none is given."""
    found = []
    for match in _BLOCK.finditer(page):
        before = page[: match.start()]
        named = _FILE.search(before)
        headings = re.findall(r"^## (.+)$", before, flags=re.MULTILINE)
        if not languages or match[2] in languages:
            text = textwrap.dedent(match[3])
            found.append(Block(match[2], text, named[1] if named else "", headings[-1] if headings else ""))
    return found


def command_lines(block: str, program: str) -> list[list[str]]:
    """Return the arguments of each command of a program in a shell block."""
    found, line = [], ""
    for part in block.replace("\\\n", " ").splitlines(keepends=True):
        line += part
        try:
            words = shlex.split(line, comments=True)
        except ValueError:  # a quoted text goes on in the next line
            continue
        line = ""
        if words[:1] == [program]:
            found.append(words[1:])
    return found


def cut_short(words: list[str]) -> list[str]:
    """Return the arguments of a load test that takes a second or two."""
    words = list(words)
    for name, value in SHORTER.items():
        if name in words:
            words[words.index(name) + 1] = value
    words += ["--min-samples", SHORTER["--min-samples"]]
    if "--slo" in words:
        return [*words, "--duration-s", "1.4"]  # each kind that is limited has to come
    return words if "--duration-s" in words else [*words, "--duration-s", SHORTER["--duration-s"]]


def easier(text: str) -> str:
    """Return an SLO file with limits for a test that is cut short, on a machine that may be slow."""
    slo = yaml.safe_load(text)
    for limits in slo.values():
        limits |= {name: 30_000 for name in limits if name.endswith("_ms")} | {"samples": 1}
    return str(yaml.safe_dump(slo))


def free_port() -> str:
    """Return a port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


def run_command(words: list[str], url: str) -> None:
    """Run a command of `shopwindow` against a server, cut short.

    Args:
        words: its arguments.
        url: of the server's gRPC.
    """
    words = [url if word in ("$URL", "HOST:8001") else word for word in words]
    if words[0] == "loadtest":
        words = cut_short(words)
        if "--url" not in words:
            words += ["--url", url]
    elif words[0] in ("retrieve", "similar", "embed", "probe") and "--url" not in words:
        words += ["--url", url]
    assert main(words) == 0, words


def ask_over_http(words: list[str], url: str) -> dict[str, object]:
    """Send what a curl command sends, and return the reply.

    Args:
        words: arguments of curl: a URL, and -d with JSON.
        url: of the server's HTTP, instead of localhost:8000.
    """
    (address,) = (word for word in words if word.startswith("localhost:8000"))
    body = words[words.index("-d") + 1].encode()
    with urlopen(Request(f"http://{address.replace('localhost:8000', url)}", data=body), timeout=30) as reply:
        answer: dict[str, object] = json.load(reply)
    return answer
