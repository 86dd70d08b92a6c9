"""A process that decodes photos: sizes and files come in on its standard input, pixels go out on its standard output.

A request is the side of the square and the length of the file, as two 32-bit integers, and then the file. A reply is a
kind, the length of the rest as a 32-bit integer, and then the pixels, or the reason in words.

It is a process of its own because Pillow decodes WebP without letting other threads run, and because a fault of a
decoder then ends only this process.
"""

from __future__ import annotations

import os
import struct
import sys
from contextlib import suppress
from typing import BinaryIO

from shopwindow.base.photos.errors import PhotoBroken, PhotoUnfit
from shopwindow.base.photos.pixels import decode

REQUEST, REPLY = struct.Struct("<II"), struct.Struct("<BI")
PIXELS, UNFIT, BROKEN = range(3)
_NICENESS = 5  # requests that decode nothing go first; higher, and large photos would get no turn on a busy machine


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer requests until the other side closes the stream."""
    while len(head := requests.read(REQUEST.size)) == REQUEST.size:
        size, length = REQUEST.unpack(head)
        kind, reply = PIXELS, b""
        try:
            reply = decode(requests.read(length), size).tobytes()
        except PhotoBroken as error:
            kind, reply = BROKEN, str(error).encode()
        except PhotoUnfit as error:
            kind, reply = UNFIT, str(error).encode()
        replies.write(REPLY.pack(kind, len(reply)) + reply)
        replies.flush()


if __name__ == "__main__":
    os.nice(_NICENESS)
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # so that nothing else is written among the replies
    with suppress(BrokenPipeError):  # the process that asked is gone
        serve(sys.stdin.buffer, replies)
