"""What peers and those who start them agree on; imports none of what only a peer needs."""

from __future__ import annotations

from shopwindow.base.cores import usable_cores

REPOSITORY_VARIABLE, INDEX_VARIABLE = "SHOPWINDOW_BENCH_REPOSITORY", "SHOPWINDOW_INDEX"
ROWS_VARIABLE = "SHOPWINDOW_BENCH_ROWS"  # of a call of the query tower; not set: as Shopwindow has it
LARGEST_BATCH = 64  # as `max_batch_size` of the Triton models
WORKERS = usable_cores()  # processes, a thread of computing each: as many as the Triton models have instances
