"""Mutates serialised protobuf by its fields, so that most results can still be parsed."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from shopwindow_loadtests.fuzz.requests import values

_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5


class _Field(NamedTuple):
    """A field of a message: its number, its wire type, and its value as it is on the wire, without the length."""

    number: int
    kind: int
    value: bytes


def mutated_fields(rng: Random, data: bytes, depth: int = 2) -> bytes:
    """Return a message with fields dropped, repeated, swapped or changed, also inside its own messages.

    Args:
        rng: Draws the changes.
        data: A serialised message.
        depth: How many messages deep to go.
    """
    fields = _read(data)
    if not fields:
        return values.mutated(rng, data, 1)
    place = rng.randrange(len(fields))
    field = fields[place]
    change = rng.randrange(8)
    if change == 0:
        del fields[place]
    elif change == 1:
        fields[place:place] = [field] * rng.choice((1, 2, 70))
    elif change == 2:
        rng.shuffle(fields)
    elif change == 3:
        fields[place] = field._replace(number=rng.choice((1, 2, 3, 4, 5, 6, 7, 8, 100, 2**29 - 1)))
    elif change == 4 and field.kind == _BYTES:
        fields[place] = field._replace(value=rng.choice((b"", values.text(rng), rng.randbytes(9), b"\x08\x01")))
    elif field.kind == _BYTES and depth and rng.random() < 0.7:
        fields[place] = field._replace(value=mutated_fields(rng, field.value, depth - 1))
    elif field.kind == _BYTES:
        fields[place] = field._replace(value=values.mutated(rng, field.value, 1))
    elif field.kind == _VARINT:
        fields[place] = field._replace(value=_varint(rng.choice((0, 1, 2**31, 2**32, 2**63, 2**64 - 1))))
    return b"".join(map(_written, fields))


def _read(data: bytes) -> list[_Field]:
    """Return the fields of a message; none if it is not one."""
    fields, place = [], 0
    while place < len(data):
        tag, place = _read_varint(data, place)
        number, kind = tag >> 3, tag & 7
        start = place
        if kind == _VARINT:
            _, end = _read_varint(data, place)
        elif kind == _BYTES:
            length, start = _read_varint(data, place)
            end = start + length
        else:
            end = place + {_FIXED_64: 8, _FIXED_32: 4}.get(kind, len(data))
        if end > len(data) or not number:
            return []
        fields.append(_Field(number, kind, data[start:end]))
        place = end
    return fields


def _written(field: _Field) -> bytes:
    length = _varint(len(field.value)) if field.kind == _BYTES else b""
    return _varint(field.number << 3 | field.kind) + length + field.value


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    """Return a number and the place after it. Behind the end of the data there are zeros."""
    number = shift = 0
    while place < len(data):
        number |= (data[place] & 127) << shift
        place += 1
        if data[place - 1] < 128:
            break
        shift += 7
    return number, place


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])
