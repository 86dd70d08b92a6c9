"""The towers as ONNX graphs, run by ONNX Runtime on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort

from shopwindow.retrieval.embedding.product_inputs import ProductBatch


def _session(file: Path, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # A spinning pool starves the other instances on the same cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors have no common base of their own
        raise ValueError(
            f"{file}: ONNX Runtime cannot run it on a CPU; graphs in bf16 and fp8 need a GPU, export with --precision "
            f"fp32, fp16 or int8 to serve or index here: an index made by one export of a checkpoint fits its exports "
            f"in every precision ({error})"
        ) from error


class OnnxQueryTower:
    """Token ids to query embeddings.

    Args:
        file: the exported graph.
        threads: intra-op threads; under load, 1 and several callers at once are fastest.
    """

    def __init__(self, file: Path, threads: int = 1) -> None:
        self._session = _session(file, threads)

    def __call__(self, input_ids: np.ndarray, attention_mask: np.ndarray) -> np.ndarray:
        """Embed.

        Args:
            input_ids: (batch, tokens) int32.
            attention_mask: (batch, tokens) int32, 1 at real tokens.

        Returns:
            (batch, dim) float32, L2-normalised.
        """
        feed = {"input_ids": input_ids, "attention_mask": attention_mask}
        embedding: np.ndarray = self._session.run(["query_embedding"], feed)[0]
        return embedding


class OnnxProductTower:
    """Prepared products to embeddings and modality weights. Arguments as `OnnxQueryTower`."""

    def __init__(self, file: Path, threads: int = 1) -> None:
        self._session = _session(file, threads)

    def __call__(self, batch: ProductBatch) -> tuple[np.ndarray, np.ndarray]:
        """Embed.

        Returns:
            embeddings (batch, dim) float32, L2-normalised, and modality weights (batch, 2) float32 (title, image).
        """
        embedding, weights = self._session.run(["product_embedding", "modality_weights"], batch.tensors())
        return embedding, weights
