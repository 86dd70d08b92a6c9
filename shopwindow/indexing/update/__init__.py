"""Add changed and removed products to an index as a delta, and compact the index afterwards."""
