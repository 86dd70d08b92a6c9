#!/usr/bin/env bash
# One run: checkpoint to repository, TensorRT plans for the GPU at hand, catalogue to index. Run again, it keeps plans
# that still fit, and an index that was built from the same catalogue and towers, with its updates.
set -euo pipefail
checkpoint=${SHOPWINDOW_CHECKPOINT:-/data/checkpoint}
catalog=${SHOPWINDOW_CATALOG:-/data/catalog.parquet}
precision=${SHOPWINDOW_PRECISION:-fp16}
out=/srv/shopwindow
python3 -m shopwindow.cli.main export --checkpoint "$checkpoint" --sample "$catalog" --repository "$out/model_repository" \
    --precision "$precision"
python3 -m shopwindow.cli.main plans --repository "$out/model_repository"
embedder=$out/model_repository
case $precision in bf16 | fp8)
    # The catalogue is embedded by ONNX Runtime on the CPU, which has no kernels for these: the fp32 graphs of the same
    # towers fill an index that fits. Without the GPU, or this would build their plans.
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    embedder=$scratch/model_repository
    CUDA_VISIBLE_DEVICES='' python3 -m shopwindow.cli.main export --checkpoint "$checkpoint" --sample "$catalog" \
        --repository "$embedder"
    ;;
esac
python3 -m shopwindow.cli.main index --catalog "$catalog" --repository "$embedder" --out "$out/index" --if-changed \
    ${SHOPWINDOW_RECIPE:+--recipe "$SHOPWINDOW_RECIPE"}
python3 -m shopwindow.cli.main validate "$out/model_repository" --profile gpu
