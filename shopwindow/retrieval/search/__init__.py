"""The channels that products are found through: embeddings and words, each alone or merged.

Each finds what the other misses: Taobao Search, too, serves embeddings beside an inverted index of words.
"""

from __future__ import annotations
