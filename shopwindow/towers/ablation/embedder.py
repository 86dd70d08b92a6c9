"""A checkpoint's towers in PyTorch, with the interface that evaluation needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from shopwindow.retrieval.embedding.text import TextEncoder, clean_queries
from shopwindow.towers.architecture.checkpoint import Checkpoint
from shopwindow.towers.judging.corpus import ROWS


class TorchEmbedder:
    """A checkpoint as a `judging.corpus.Embedder`, on a GPU if there is one.

    Args:
        checkpoint: the towers.
        photos: encoded photo -> its pixels, (size, size, 3) uint8. Photos are embedded many times but decoded once.
    """

    def __init__(self, checkpoint: Checkpoint, photos: Mapping[bytes, np.ndarray]) -> None:
        config = checkpoint.towers.config
        self.dim = config.embedding_dim
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._towers = checkpoint.towers.to(self._device)
        self._photos = photos
        self._blank = np.full((config.image_size, config.image_size, 3), 255, dtype=np.uint8)
        tokenizer = checkpoint.folder / "tokenizer.json"
        self._queries = TextEncoder.read(tokenizer, config.query_max_tokens)
        self._titles = TextEncoder.read(tokenizer, config.title_max_tokens)

    @torch.inference_mode()
    def embed_query(self, queries: Sequence[str]) -> np.ndarray:
        """Return query embeddings, (batch, dim) float32, L2-normalised."""
        texts = clean_queries(queries)
        parts = [
            self._towers.query(*self._tensors(*self._queries.encode(texts[start : start + ROWS]))).cpu().numpy()
            for start in range(0, len(texts), ROWS)
        ]
        return np.concatenate(parts)

    @torch.inference_mode()
    def embed_product(self, titles: Sequence[str], images: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """Return product embeddings (batch, dim) float32 and modality weights (batch, 2) float32.

        An empty title or image counts as absent.
        """
        present = np.array([(bool(t), bool(i)) for t, i in zip(titles, images, strict=True)], dtype=np.float32)
        pixels = np.stack([self._photos[image] if image else self._blank for image in images])
        outputs = self._towers.product(*self._tensors(*self._titles.encode(titles), pixels, present))
        embeddings, weights = (output.cpu().numpy() for output in outputs)
        return embeddings, weights

    def _tensors(self, *arrays: np.ndarray) -> list[torch.Tensor]:
        return [torch.from_numpy(array).to(self._device) for array in arrays]
