#!/usr/bin/env bash
# One run: checkpoint to repository, TensorRT plans for the GPU at hand, catalogue to index. Run again, it keeps plans
# that still fit.
set -euo pipefail
checkpoint=${SHOPWINDOW_CHECKPOINT:-/data/checkpoint}
catalog=${SHOPWINDOW_CATALOG:-/data/catalog.parquet}
out=/srv/shopwindow
python3 -m cli.main export --checkpoint "$checkpoint" --sample "$catalog" --repository "$out/model_repository" \
    --precision "${SHOPWINDOW_PRECISION:-fp16}"
python3 -m cli.main plans --repository "$out/model_repository"
python3 -m cli.main index --catalog "$catalog" --repository "$out/model_repository" --out "$out/index" \
    ${SHOPWINDOW_RECIPE:+--recipe "$SHOPWINDOW_RECIPE"}
python3 -m cli.main validate "$out/model_repository"
