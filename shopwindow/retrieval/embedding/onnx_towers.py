"""Run the towers' ONNX graphs with ONNX Runtime on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort

from shopwindow.retrieval.embedding.product_inputs import ProductBatch


def session_options(threads: int = 1) -> ort.SessionOptions:
    """Return how a CPU runs a tower.

    Args:
        threads: intra-op threads.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning threads would take the cores from the other instances.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Without this, sums of 8-bit products overflow on x86 CPUs that have no VNNI, and the ranking is wrong.
    options.add_session_config_entry("session.x64quantprecision", "1")
    return options


def _session(file: Path, threads: int) -> ort.InferenceSession:
    try:
        return ort.InferenceSession(str(file), session_options(threads), providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors have no common base class
        raise ValueError(
            f"{file}: ONNX Runtime cannot run it on a CPU ({error}). Graphs in bf16 and fp8 need a GPU. To serve or "
            "index on a CPU, export with --precision fp32, fp16 or int8. An index fits all exports of its checkpoint, "
            "in every precision."
        ) from error


class OnnxQueryTower:
    """Turns token ids into query embeddings.

    Args:
        file: the exported graph.
        threads: intra-op threads. Under load, with several callers at once, one thread is fastest.
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
    """Turns prepared products into embeddings and modality weights. Arguments: as `OnnxQueryTower`."""

    def __init__(self, file: Path, threads: int = 1) -> None:
        self._session = _session(file, threads)

    def __call__(self, batch: ProductBatch) -> tuple[np.ndarray, np.ndarray]:
        """Embed.

        Returns:
            embeddings (batch, dim) float32, L2-normalised, and modality weights (batch, 2) float32 (title, image).
        """
        embedding, weights = self._session.run(["product_embedding", "modality_weights"], batch.tensors())
        return embedding, weights
