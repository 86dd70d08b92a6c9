"""The server's log: its end is read without the rest, and it does not grow without limit while it is written."""

from __future__ import annotations

import os
import resource
import subprocess
from pathlib import Path

from shopwindow.server.log_file import LogFile

LIMIT = 1000


def write(log: LogFile, text: str) -> None:
    """Write to the log as a server does, through a descriptor that it was given at its start."""
    subprocess.run(["printf", "%s\\n", text], stdout=log.file, check=True)


def test_only_the_end_of_a_large_log_is_read(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log")
    os.truncate(tmp_path / "log", 100 * 2**30)  # sparse: far more than fits into memory
    write(log, "the last line")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert log.tail().endswith("the last line\n")
    assert len(log.tail()) == 64 * 2**10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10 * 2**10  # KiB
    log.close()


def test_a_log_is_put_aside_while_a_process_writes_it(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log", limit=LIMIT)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=log.file, text=True, bufsize=1) as server:
        assert server.stdin is not None
        for number in range(6):
            size = log.size
            server.stdin.write(f"{number}" * LIMIT + "\n")
            server.stdin.flush()
            while log.size == size:
                pass
            log.rotate()
            assert log.size == 0
        server.stdin.write("small\n")
    log.rotate()
    kept = {file.name: file.read_text()[:1] for file in tmp_path.iterdir()}
    assert kept == {"log": "s", "log.1": "5", "log.2": "4", "log.3": "3"}
    assert all(file.stat().st_size <= LIMIT + 1 for file in tmp_path.iterdir())
    assert log.tail() == "small\n"
    log.close()


def test_a_new_start_keeps_the_logs_before(tmp_path: Path) -> None:
    for number in range(5):
        log = LogFile(tmp_path / "log")
        write(log, str(number))
        log.close()
    assert {file.name: file.read_text().strip() for file in tmp_path.iterdir()} == {
        "log": "4",
        "log.1": "3",
        "log.2": "2",
        "log.3": "1",
    }


def test_an_unnamed_log_does_not_fill_the_disk(tmp_path: Path) -> None:
    log = LogFile(None, limit=LIMIT)
    write(log, "x" * LIMIT)
    log.rotate()
    write(log, "y")
    assert log.tail() == "y\n"
    log.close()


def test_a_full_disk_does_not_keep_a_log_from_shrinking(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log", limit=LIMIT)
    write(log, "x" * LIMIT)
    (tmp_path / "log.1").symlink_to("/dev/full")  # every write fails for lack of room
    (tmp_path / "log.2").mkdir()  # and this keeps the link where it is
    (tmp_path / "log.3").mkdir()
    (tmp_path / "log.3" / "file").touch()
    log.rotate()
    assert log.size == 0
    log.close()
