"""Hash the content that a product is embedded from. An update embeds a product again if its hash changed."""

from __future__ import annotations

from hashlib import blake2b


def content_hash(title: str | None, image: bytes | None) -> int:
    """Hash the content of a product.

    Args:
        title: the title in the catalogue; None counts as empty.
        image: the encoded photo, byte for byte; None counts as empty.

    Returns:
        0 to 2^64 - 1, the same in every process.
    """
    content = blake2b((title or "").encode() + b"\0", digest_size=8)
    content.update(image or b"")
    return int.from_bytes(content.digest(), "little")
