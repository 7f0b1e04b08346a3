#!/usr/bin/env bash
# The sigmoid method with a confidence penalty that does not fall, ResNet-50 on STL-10, 100 epochs.
#
#   bash bash_files/run_sigmoid_constant.sh DATA_FOLDER [FLAG ...]      (see run_sigmoid.sh)
#
# The recipe's first implementation reached 85.42 % top-1 (logistic regression on the features of the
# target); not measured yet here.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/data_folder.sh"
source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"

exec "$python" main_contrastive.py stl10 resnet50 --data_folder "$DATA_FOLDER" \
    --method sigmoid --recipe sigmoid --temperature 0.2 --bias -5 --gamma 1.0 --alpha 1.0 \
    --multicrop --n_small_crops 4 --epochs 100 --optimizer adam --scheduler none --lr 3e-4 \
    --no-lr_scaling --weight_decay 1e-5 --batch_size 256 --num_workers 8 --hidden_mlp 512 \
    --project contrastive_learning --name sigmoid-constant "$@"
