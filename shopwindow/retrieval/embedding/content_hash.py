"""Hash the content that a product is embedded from. An update embeds a product again if its hash changed."""

from __future__ import annotations

from hashlib import blake2b

from shopwindow.retrieval.embedding.folding import fold


def content_hash(title: str | None, *photos: bytes | None) -> int:
    """Hash the content of a product.

    Args:
        title: the title in the catalogue; None counts as empty. It is folded, because the towers read it folded. So an
            update embeds a product again if an earlier version read its title differently.
        photos: the encoded photos that were read, byte for byte; None and empty ones do not count.

    Returns:
        0 to 2^64 - 1, the same in every process.
    """
    content = blake2b(fold(title or "").encode() + b"\0", digest_size=8)
    for number, photo in enumerate(filter(None, photos)):
        if number:  # says where it begins
            content.update(b"\0photo" + len(photo).to_bytes(8, "little"))
        content.update(photo)
    return int.from_bytes(content.digest(), "little")
