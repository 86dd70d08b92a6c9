#!/usr/bin/env bash
# Make the repository from the checkpoint, TensorRT plans for this GPU, and the index from the catalogue. A second run
# keeps plans that still fit, and an index of the same catalogue and towers, with its updates.
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
    # ONNX Runtime embeds the catalogue on the CPU and has no kernels for these precisions. So fp32 graphs of the same
    # towers embed it. The GPU is hidden, or the export would build plans for these graphs too.
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
