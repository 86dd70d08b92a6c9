"""Search for products that are in a Milvus collection."""
