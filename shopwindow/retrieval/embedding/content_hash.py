"""What a product was embedded from, as one number: an update embeds again only where the number changed."""

from __future__ import annotations

from hashlib import blake2b


def content_hash(title: str | None, image: bytes | None) -> int:
    """Hash a product's content.

    Args:
        title: as the catalogue has it; None means the same as empty.
        image: the encoded photo, byte for byte; None means the same as empty.

    Returns:
        0 to 2^64 - 1, the same in every process.
    """
    content = blake2b((title or "").encode() + b"\0", digest_size=8)
    content.update(image or b"")
    return int.from_bytes(content.digest(), "little")
