#!/usr/bin/env bash
# SimSiam (https://arxiv.org/abs/2011.10566), embedding 512, predictor 128, ResNet-18 on ImageNet,
# 100 epochs.
#
#   bash bash_files/run_simsiam_imagenet.sh DATA_FOLDER [FLAG ...]
#
# DATA_FOLDER holds train and val, a folder of images for each class. Written for two GPUs, batch
# 2 x 128; on one: --gpus 0 --batch_size 256.
# The recipe's first implementation reached 55.42 % online; not measured yet here.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/data_folder.sh"
source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"

exec "$python" main_contrastive.py imagenet resnet18 --data_folder "$DATA_FOLDER" \
    --train_dir train --val_dir val --epochs 100 --optimizer sgd --scheduler warmup_cosine \
    --lr 0.3 --weight_decay 1e-4 --batch_size 128 --gpus 0 1 --num_workers 8 --hidden_mlp 2048 \
    --method simsiam --classifier_lr 30.0 --pred_hidden_mlp 128 --encoding_size 512 \
    --zero_init_residual --no_lr_scheduler_for_pred_head --project contrastive_learning \
    --name simsiam-imagenet "$@"
