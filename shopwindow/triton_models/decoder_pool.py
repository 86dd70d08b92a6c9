"""Processes that decode large photos, for many threads that each decode the photos of one request."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path

import numpy as np

from shopwindow.base.photos import decoder
from shopwindow.base.photos.errors import PhotoBroken, PhotoUnfit
from shopwindow.retrieval.embedding.images import Photo, refusal
from shopwindow.retrieval.errors import InvalidRequest

_LOOK_S = 0.1  # how often a waiting thread looks whether its photo is still wanted
_STUCK_S = 60.0  # far longer than the largest photo takes


class DecoderDied(RuntimeError):
    """Raised when a decoder process ended, or was stuck and was ended, while it decoded a photo."""


class DecoderPool:
    """Decodes photos in processes of lower priority. Threads that wait get their turn by rank.

    A process starts when it is first needed, and is kept. If this process ends, the decoders end too.

    Args:
        size: how many processes, 1 or more.
    """

    def __init__(self, size: int) -> None:
        self._idle: list[DecoderProcess | None] = [None] * size  # None: not started
        self._waiting: list[tuple[float, int]] = []
        self._numbers = count()
        self._changed = threading.Condition()

    def decode(self, photo: Photo, size: int, *, rank: float, check: Callable[[], object]) -> np.ndarray:
        """Wait for a turn, then decode a photo.

        Args:
            photo: the photo.
            size: side of the square in pixels.
            rank: of the threads that wait, the one with the lowest rank is next.
            check: called before and while the thread waits. If it raises, the thread waits no longer.

        Returns:
            (size, size, 3) uint8.

        Raises:
            InvalidRequest: as `decode_photo`.
            DecoderDied: the process ended.
            Exception: what `check` raises.
        """
        process = self._take(rank, check)
        try:
            process = process or DecoderProcess()
            return process.decode(photo, size)
        except InvalidRequest:
            raise
        except BaseException:  # the process is gone, or in the middle of this photo, which the next one would get
            if process is not None:
                process.close()
            process = None
            raise
        finally:
            with self._changed:
                self._idle.append(process)
                self._changed.notify_all()

    def close(self) -> None:
        """End the idle processes. Call it when nothing is decoded any more."""
        for process in self._idle:
            if process is not None:
                process.close()

    def _take(self, rank: float, check: Callable[[], object]) -> DecoderProcess | None:
        place = (rank, next(self._numbers))
        with self._changed:
            self._waiting.append(place)
            try:
                check()
                while not self._idle or min(self._waiting) != place:
                    self._changed.wait(_LOOK_S)
                    check()
                return self._idle.pop()
            finally:
                self._waiting.remove(place)
                self._changed.notify_all()


class DecoderProcess:
    """One process that decodes photos, one after the other. See `shopwindow.base.photos.decoder`."""

    def __init__(self) -> None:
        # Not with -m, because the package may be in a place that only this process knows. -P leaves the current folder
        # out of the search.
        code = "import runpy, sys; sys.path.append(sys.argv[1]); runpy.run_module(sys.argv[2], run_name='__main__')"
        root = str(Path(decoder.__file__).parents[3])
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", code, root, decoder.__name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_environment(),
        )

    def decode(self, photo: Photo, size: int) -> np.ndarray:
        """Decode a photo to (size, size, 3) uint8.

        Raises:
            InvalidRequest: as `decode_photo`.
            DecoderDied: the process ended, or took longer than a minute and was ended.
        """
        alarm = threading.Timer(_STUCK_S, self._process.kill)
        alarm.start()
        try:
            kind, reply = self._ask(size, photo.data)
        except (OSError, EOFError) as error:
            raise DecoderDied(f"{photo.field}: the process that decoded it ended ({error})") from error
        finally:
            alarm.cancel()
        if kind == decoder.PIXELS:
            return np.frombuffer(reply, np.uint8).reshape(size, size, 3)
        unfit = PhotoBroken if kind == decoder.BROKEN else PhotoUnfit
        raise refusal(photo.field, photo.data, unfit(reply.decode()))

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        self._process.wait()

    def _ask(self, size: int, data: bytes) -> tuple[int, bytes]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(decoder.REQUEST.pack(size, len(data)))
        self._process.stdin.write(data)
        self._process.stdin.flush()
        kind, length = decoder.REPLY.unpack(self._read(decoder.REPLY.size))
        return kind, self._read(length)

    def _read(self, length: int) -> bytes:
        assert self._process.stdout is not None
        data = self._process.stdout.read(length)
        if len(data) < length:
            raise EOFError(f"exit status {self._process.poll()}")
        return data


def _environment() -> dict[str, str]:
    """Return the little that the process needs, so that a fault in it shows nothing else."""
    needed = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "LANG") if name in os.environ}
    return {**needed, "OPENBLAS_NUM_THREADS": "1"}  # otherwise numpy starts a thread for each core
