"""pytriton with its @batch decorator: Triton's batcher, and behind it an instance for each core, in the parent process.

python -m shopwindow_loadtests.peers.pytriton_batch PORT
"""

from __future__ import annotations

import sys

import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from shopwindow.server.ports import choose_ports
from shopwindow_loadtests.generator.closed_loop import TOP_K
from shopwindow_loadtests.peers.settings import LARGEST_BATCH, WORKERS
from shopwindow_loadtests.peers.work import load_pipeline


class Instance:
    """One of the instances. It has its own pipeline, because an index serves one thread."""

    def __init__(self) -> None:
        self._pipeline = load_pipeline()

    @batch  # type: ignore[untyped-decorator]
    def __call__(self, query: np.ndarray) -> dict[str, np.ndarray]:
        """Return ids and scores for (batch, 1) texts."""
        result = self._pipeline.retrieve(list(query[:, 0]), top_k=TOP_K)
        return {"product_ids": result.product_ids, "scores": result.scores}


def main(port: int) -> None:
    """Serve until a signal comes."""
    others = choose_ports("127.0.0.1", {"http": 0, "metrics": 0})
    config = TritonConfig(
        grpc_address="127.0.0.1",
        grpc_port=port,
        http_address="127.0.0.1",
        http_port=others["http"],
        metrics_port=others["metrics"],
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name="retrieve",
            infer_func=[Instance() for _ in range(WORKERS)],
            inputs=[Tensor(name="query", dtype=bytes, shape=(1,))],
            outputs=[
                Tensor(name="product_ids", dtype=np.int64, shape=(-1,)),
                Tensor(name="scores", dtype=np.float32, shape=(-1,)),
            ],
            config=ModelConfig(max_batch_size=LARGEST_BATCH, batcher=DynamicBatcher(max_queue_delay_microseconds=0)),
        )
        triton.serve()


if __name__ == "__main__":
    main(int(sys.argv[1]))
