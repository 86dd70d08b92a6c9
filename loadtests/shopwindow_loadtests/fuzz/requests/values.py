"""Hostile values: texts, names, numbers and bytes."""

from __future__ import annotations

from random import Random

WORDS = ("red", "blue", "dress", "mug", "leather", "bag", "summer", "lamp", "navy", "trainers", "wooden", "chair")
LONGEST_TEXT = 1_000  # characters; the server's limit for a query or a title
MIB = 2**20

_ODD_TEXTS = (
    b"",
    b" \t\n ",
    b"\x00",
    b"red\x00dress",
    b"\x1b[31mred\x1b[0m",
    b"\xff\xfe\xfa",
    b"caf\xe9",
    "壶".encode()[:2],
    b"\xed\xa0\x80",  # half of a surrogate pair
    b"\xf4\x90\x80\x80",  # beyond Unicode
    b"\xc0\xaf",  # an overlong slash
    "\u202eder\u202c".encode(),
    "e\u0301\u200d\ufeff".encode(),
    ("a" + "\u0301" * 900).encode(),
    "🧸".encode() * 300,
    "ﷺ".encode() * 999,  # one character that normalisation makes 18
    b"'; DROP TABLE products; --",
    b"../../../../etc/passwd",
    b"%s%n%x{0}{__class__}",
    b"[UNK] [CLS] [PAD]",
    b"x" * LONGEST_TEXT,
    b"x" * (LONGEST_TEXT + 1),
    b" " * 5_000,
)
_INTEGERS = (0, 1, -1, 2, 10, 100, 1_000, 10_000, 10_001, 2**31 - 1, 2**31, 2**32, -(2**31), 2**63 - 1, -(2**63))
_FLOATS = (0.0, -0.0, 0.5, 1.0, -1.0, 2.5, 1e-45, 1e-300, 3.4e38, 1e300, float("nan"), float("inf"), float("-inf"))


def words(rng: Random, most: int = 6) -> bytes:
    """Return an ordinary query."""
    return " ".join(rng.choices(WORDS, k=rng.randint(1, most))).encode()


def text(rng: Random) -> bytes:
    """Return a text that may be anything, seldom long."""
    draw = rng.random()
    if draw < 0.35:
        return words(rng)
    if draw < 0.75:
        return rng.choice(_ODD_TEXTS)
    if draw < 0.9:
        return "".join(chr(_code_point(rng)) for _ in range(rng.randint(1, 60))).encode("utf-8", "surrogatepass")
    if draw < 0.98:
        return rng.randbytes(rng.randint(1, 200))
    return words(rng) * rng.choice((200, 2_000, 20_000))  # up to half a MiB


def string(rng: Random) -> str:
    """Return such a text as protobuf and JSON can carry it."""
    return text(rng).decode(errors="replace")


def counted(text: bytes) -> bytes:
    """Return a text as a tensor of type BYTES holds it: its length, then itself."""
    return len(text).to_bytes(4, "little") + text


def name(rng: Random, known: list[str]) -> str:
    """Return a name: mostly close to one of the known ones."""
    draw = rng.random()
    if draw < 0.4 and known:
        return rng.choice(known)
    if draw < 0.7 and known:
        one = rng.choice(known)
        return rng.choice((one.upper(), one[:-1], f"{one} ", f"{one}\x00", f"{one}/../{one}", one * 500, f" {one}"))
    return string(rng)


def integer(rng: Random) -> int:
    """Return an integer of 64 bits, with a sign."""
    return rng.choice(_INTEGERS) if rng.random() < 0.8 else rng.randrange(-(2**63), 2**63)


def number(rng: Random) -> float:
    """Return any floating-point number."""
    return rng.choice(_FLOATS) if rng.random() < 0.7 else rng.gauss(0, 10 ** rng.randint(-5, 5))


def mutated(rng: Random, data: bytes, changes: int) -> bytes:
    """Return the bytes with some of them flipped, cut, repeated, inserted or overwritten."""
    out = bytearray(data)
    for _ in range(changes):
        place = rng.randrange(len(out) + 1)
        length = min(len(out) - place, rng.choice((1, 1, 2, 4, 8, 32)))
        change = rng.randrange(6)
        if change == 0 and place < len(out):
            out[place] ^= 1 << rng.randrange(8)
        elif change == 1:
            out[place : place + length] = rng.randbytes(length)
        elif change == 2:
            del out[place : place + length]
        elif change == 3:
            out[place:place] = out[place : place + length] * rng.choice((1, 2, 50))
        elif change == 4:
            out[place:place] = rng.choice((b"\x00", b"\xff" * 4, b"\x80" * 10, b"\xff" * 9 + b"\x01", b"\x7f" * 8))
        elif rng.random() < 0.3:
            del out[place:]
        else:
            out[place : place + 4] = rng.choice((0, 1, 2**31 - 1, 2**32 - 1, len(out))).to_bytes(4, "little")
    return bytes(out)


def _code_point(rng: Random) -> int:
    """Return a code point, control characters and halves of surrogate pairs included."""
    return rng.choice(
        (rng.randrange(0x20), rng.randrange(0x20, 0x7F), rng.randrange(0x80, 0x3000), rng.randrange(0x110000))
    )
