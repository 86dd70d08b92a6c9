"""Processes that decode photos: the same pixels and errors as in this process, turns by rank, no process left over."""

from __future__ import annotations

import io
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shopwindow.retrieval import InvalidRequest
from shopwindow.retrieval.embedding.images import Photo, decode_photo
from shopwindow.triton_models.decoder_pool import DecoderDied, DecoderPool, DecoderProcess

SIZE = 48


class GaveUp(Exception):
    """Raised by a caller that waits no longer."""


@pytest.fixture
def pool() -> Iterator[DecoderPool]:
    pool = DecoderPool(1)
    yield pool
    pool.close()
    assert not decoders()


def photo(kind: str = "PNG", side: int = 60, **options: Any) -> Photo:
    noise = np.random.default_rng(side).integers(0, 256, (side, side, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, kind, **options)
    return Photo.read("image[2]", file.getvalue())


def decode(pool: DecoderPool, photo: Photo, rank: float = 0.0) -> np.ndarray:
    return pool.decode(photo, SIZE, rank=rank, check=lambda: None)


def decoders() -> list[int]:
    """Return the process ids of the children that decode."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
            if int(parent) == os.getpid() and b"photos.decoder" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return found


def test_the_pixels_are_those_of_this_process(pool: DecoderPool) -> None:
    for each in (photo("PNG"), photo("JPEG", quality=90), photo("WEBP"), photo("PNG", side=1_000)):
        np.testing.assert_array_equal(decode(pool, each), decode_photo(each, SIZE))
    assert len(decoders()) == 1


def test_a_broken_photo_is_refused_as_in_this_process_and_the_next_is_decoded(pool: DecoderPool) -> None:
    whole = photo("JPEG")
    broken = Photo.read("image[2]", whole.data[:-300])
    with pytest.raises(InvalidRequest) as here:
        decode_photo(broken, SIZE)
    with pytest.raises(InvalidRequest) as there:
        decode(pool, broken)
    assert str(there.value) == str(here.value)
    np.testing.assert_array_equal(decode(pool, whole), decode_photo(whole, SIZE))


def test_only_one_photo_fails_if_a_decoder_dies(pool: DecoderPool) -> None:
    small = photo()
    decode(pool, small)
    [pid] = decoders()
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(DecoderDied, match=r"image\[2\]"):
        decode(pool, small)
    np.testing.assert_array_equal(decode(pool, small), decode_photo(small, SIZE))
    assert decoders() != [pid]


def test_a_reply_that_could_not_be_read_is_not_taken_for_the_next_photo(
    pool: DecoderPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = photo(side=60), photo(side=61)
    read = DecoderProcess._read

    def no_memory_for_pixels(process: DecoderProcess, length: int) -> bytes:
        if length > 100:
            raise MemoryError
        return read(process, length)

    with monkeypatch.context() as patch:
        patch.setattr(DecoderProcess, "_read", no_memory_for_pixels)
        with pytest.raises(MemoryError):
            decode(pool, first)
    np.testing.assert_array_equal(decode(pool, second), decode_photo(second, SIZE))


def test_waiting_photos_get_their_turn_by_rank_and_a_caller_may_give_up(pool: DecoderPool) -> None:
    small = photo()
    order: list[float] = []
    queued = {rank: threading.Event() for rank in (3.0, 1.0, 2.0)}

    def ask(rank: float) -> None:
        pool.decode(small, SIZE, rank=rank, check=queued[rank].set)
        order.append(rank)

    def give_up() -> None:
        raise GaveUp

    with ThreadPoolExecutor(5) as threads:
        decode(pool, small)
        [pid] = decoders()
        os.kill(pid, signal.SIGSTOP)  # so that all others wait
        began = threading.Event()
        first = threads.submit(pool.decode, small, SIZE, rank=-1.0, check=began.set)
        assert began.wait(10)
        calls = [threads.submit(ask, rank) for rank in queued]
        assert all(event.wait(10) for event in queued.values())
        with pytest.raises(GaveUp):
            pool.decode(small, SIZE, rank=0.0, check=give_up)
        os.kill(pid, signal.SIGCONT)
        for call in (first, *calls):
            call.result()
    assert order == [1.0, 2.0, 3.0]
