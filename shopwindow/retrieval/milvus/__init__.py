"""Search for products that live in a Milvus collection."""
