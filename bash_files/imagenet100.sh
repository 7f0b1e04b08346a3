# shellcheck shell=bash
# Sourced by the scripts of ResNet-18 on ImageNet-100, which differ in the words they give `train`.
#
# DATA_FOLDER, from the environment or the script's first argument, holds imagenet-100/train and
# imagenet-100/test, a folder of images for each class. Written for two GPUs, batch 2 x 128; on one:
# --gpus 0 --batch_size 256. Flags behind DATA_FOLDER come last and win.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/data_folder.sh"
source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"

train() {
    exec "$python" main_contrastive.py imagenet100 resnet18 --data_folder "$DATA_FOLDER" \
        --train_dir imagenet-100/train --val_dir imagenet-100/test \
        --epochs 100 --optimizer sgd --scheduler warmup_cosine --lr 0.3 --weight_decay 1e-4 \
        --batch_size 128 --gpus 0 1 --num_workers 8 --hidden_mlp 2048 \
        --project contrastive_learning "$@"
}
