"""Settings shared by the peers and the code that starts them. Imports no package that only a peer needs."""

from __future__ import annotations

from shopwindow.base.machine import usable_cores

REPOSITORY_VARIABLE, INDEX_VARIABLE = "SHOPWINDOW_BENCH_REPOSITORY", "SHOPWINDOW_INDEX"
ROWS_VARIABLE = "SHOPWINDOW_BENCH_ROWS"  # rows in one call of the query tower; by default as in Shopwindow
LARGEST_BATCH = 64  # as `max_batch_size` of the Triton models
WORKERS = usable_cores()  # processes that compute in one thread each; as many as the Triton models have instances
