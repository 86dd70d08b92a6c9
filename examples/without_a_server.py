"""Search in this process, without Triton. The answers are the server's.

python examples/without_a_server.py build/model_repository build/index "red floral dress"
"""

import sys
from pathlib import Path

from shopwindow.retrieval import InProcessPipeline

repository, index, query = sys.argv[1:4]
pipeline = InProcessPipeline(Path(repository), Path(index))
found = pipeline.retrieve([query], top_k=5)
for product_id, score in zip(found.product_ids[0], found.scores[0]):
    print(f"{product_id}  {score:.3f}")
