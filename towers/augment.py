"""What training changes in a product, so that neither modality can be leaned on alone.

Words stand over the photo: a shopper who shows a blue mug and says "red" wants red mugs. So some photos are
recoloured while the words keep saying the truth, and some titles shrink to words of the query.
"""

from __future__ import annotations

import numpy as np

# Every way to reorder red, green and blue but the one that changes nothing.
_CHANNEL_ORDERS = [(0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]


def drop_words(title: str, rng: np.random.Generator, share: float) -> str:
    """Leave out each word with probability `share`; at least one stays."""
    words = title.split()
    kept = [word for word in words if rng.random() >= share]
    return " ".join(kept or words[:1])


def some_words(query: str, rng: np.random.Generator) -> str:
    """A random non-empty subset of a query's words, in order."""
    words = query.split()
    kept = rng.random(len(words)) < 0.6
    kept[rng.integers(len(words))] = True
    return " ".join(word for word, keep in zip(words, kept, strict=True) if keep)


def recolour(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Swap the colour channels of a photo, (size, size, 3) uint8; white, grey and black stay."""
    return pixels[..., _CHANNEL_ORDERS[rng.integers(len(_CHANNEL_ORDERS))]]


def jitter(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mirror half of the photos and shift by up to 3 pixels, (size, size, 3) uint8."""
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    down, right = rng.integers(-3, 4, size=2)
    return np.roll(pixels, (down, right), axis=(0, 1))
