#!/usr/bin/env bash
# MS MARCO's passages: find the passage that answers a question; validated on dev.small.
#
#   bash bash_files/run_msmarco.sh DATA_FOLDER [FLAG ...]    (DATA_FOLDER/msmarco: docs/retrieval.md)
#
# collectionandqueries.tar.gz of https://microsoft.github.io/msmarco has the tables. Not measured
# yet; each validation embeds all 8.8 million passages. The temperature is what held-out training
# questions of SQuAD 2.0 chose, as MS MARCO's were not at hand (docs/experiments.md).
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/data_folder.sh"
source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"

exec "$python" main_contrastive.py msmarco bag_w128 --data_folder "$DATA_FOLDER" --loss dhel \
    --temperature 0.1 --batch_size 256 --epochs 1 --optimizer adamw --lr 0.03 \
    --weight_decay 0.01 --name msmarco "$@"
