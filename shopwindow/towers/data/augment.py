"""Random changes to titles, queries and photos, so that training cannot rely on single words or pixels."""

from __future__ import annotations

import numpy as np

from shopwindow.towers.data.words import split_words


def drop_words(title: str, rng: np.random.Generator, share: float) -> str:
    """Drop each word with probability `share`. If all would go, the first one stays."""
    words = split_words(title)
    kept = [word for word in words if rng.random() >= share]
    return " ".join(kept or words[:1])


def some_words(query: str, rng: np.random.Generator) -> str:
    """Return a random non-empty subset of a query's words, in order."""
    words = split_words(query)
    kept = rng.random(len(words)) < 0.6
    kept[rng.integers(len(words))] = True
    return " ".join(word for word, keep in zip(words, kept, strict=True) if keep)


def jitter(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mirror a photo with probability 1/2 and shift it by up to 3 pixels; (size, size, 3) uint8."""
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    down, right = rng.integers(-3, 4, size=2)
    return np.roll(pixels, (down, right), axis=(0, 1))
