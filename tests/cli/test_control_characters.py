"""What a server or a catalogue says never steers the terminal of the one who asks."""

from __future__ import annotations

import grpc
import numpy as np
import pytest

from shopwindow.cli.server.show import Shown, table
from shopwindow_client import Results
from tests.cli.command_line import shopwindow
from tests.client.sending.false_server import false_server, refusing

EVIL = "\x1b]0;owned\x07\x1b[2J\u202egnihton\u2066 \x9b31m\r\nshopwindow: all is well\x00"


@pytest.mark.parametrize(
    "command",
    [("retrieve", "mug"), ("similar", "--title", "mug"), ("embed", "mug"), ("probe", "--ready")],
    ids=lambda command: command[0],
)
@pytest.mark.parametrize("size", [1, 200], ids=["short", "long"])
def test_an_error_of_a_server_is_printed_as_plain_text(command: tuple[str, ...], size: int) -> None:
    with false_server(refusing(grpc.StatusCode.INTERNAL, EVIL * size)) as url:
        done = shopwindow(*command, "--url", url)
    assert (done.code, done.stdout) == (1, "")
    lines = done.stderr.splitlines()
    assert len(lines) == (5 if command[0] == "probe" else 1)  # probe asks five models, the others one
    for line in lines:
        assert line.isprintable()
        assert r"\x1b[2J\u202egnihton\u2066 \x9b31m  shopwindow: all is well\x00" in line
        assert len(line) <= 2_100


def test_titles_are_printed_as_plain_text() -> None:
    results = Results(np.array([[7]]), np.array([[0.9]], np.float32))
    printed = table([EVIL], results, {7: Shown(title=f"mug\u3000{EVIL}", details="", image=b"")})
    name, row = printed.splitlines()
    assert name.isprintable()
    assert row.startswith(r"    1           7   0.900  mug \x1b]0;owned\x07\x1b[2J\u202egnihton")
    assert row.isprintable()
