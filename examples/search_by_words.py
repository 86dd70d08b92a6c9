"""Search by words, with a filter.

python examples/search_by_words.py localhost:8001
"""

import sys

from shopwindow_client import RetrievalClient, field

url = sys.argv[1] if len(sys.argv) > 1 else "localhost:8001"
cheap = (field("price") < 50) & (field("stock") > 0)

with RetrievalClient(url, timeout_s=5.0) as client:
    for query in ("red floral dress", "navy trainers"):
        [row] = client.retrieve(query, top_k=5, filter=cheap)
        print(query)
        for product_id, score in zip(row.ids, row.scores):
            print(f"  {product_id}  {score:.3f}")
