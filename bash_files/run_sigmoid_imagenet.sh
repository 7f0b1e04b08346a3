#!/usr/bin/env bash
# The sigmoid method (a target that moves slowly, confidence penalty), ResNet-50 on ImageNet, 50 epochs.
#
#   bash bash_files/run_sigmoid_imagenet.sh DATA_FOLDER [FLAG ...]
#
# DATA_FOLDER holds train and val, a folder of images for each class. Written for one GPU; a batch
# that does not fit: --mini_batch_size 64, which compares the whole batch all the same.
# The recipe's first implementation reached 59.42 % top-1, 83.8 % top-5 (logistic regression on the
# features of the target); not measured yet here.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/data_folder.sh"
source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"

exec "$python" main_contrastive.py imagenet resnet50 --data_folder "$DATA_FOLDER" \
    --train_dir train --val_dir val --method sigmoid --recipe sigmoid --temperature 0.2 --bias -5 \
    --gamma 1.0 --alpha 1.0 --multicrop --n_small_crops 4 --epochs 50 --optimizer adam \
    --scheduler none --lr 3e-4 --no-lr_scaling --weight_decay 1e-5 --batch_size 128 --num_workers 8 \
    --hidden_mlp 512 --project contrastive_learning --name sigmoid-imagenet "$@"
