"""Search with NVIDIA's own client. Any Triton client in any language does the same.

python examples/plain_triton_client.py "red floral dress" localhost:8001
"""

import json
import sys

import numpy as np
import tritonclient.grpc as triton

query = sys.argv[1]
url = sys.argv[2] if len(sys.argv) > 2 else "localhost:8001"

words = triton.InferInput("query", [1, 1], "BYTES")
words.set_data_from_numpy(np.array([[query.encode()]], dtype=np.object_))
parameters = {"top_k": 5, "filter": json.dumps({"price": {"lt": 50}})}

with triton.InferenceServerClient(url) as client:
    reply = client.infer("retrieve", [words], parameters=parameters, client_timeout=5.0)

for product_id, score in zip(reply.as_numpy("product_ids")[0], reply.as_numpy("scores")[0]):
    if product_id >= 0:  # places that no product fills hold -1
        print(f"{product_id}  {score:.3f}")
