#!/usr/bin/env bash
# SimSiam (https://arxiv.org/abs/2011.10566) at the paper's widths, embedding 2048, predictor 512, ResNet-18 on ImageNet-100, 100 epochs.
#
#   bash bash_files/run_simsiam_2048.sh DATA_FOLDER [FLAG ...]     (folders and devices: imagenet100.sh)
#
# The recipe's first implementation reached 66.72 % online, 71.16 % offline; not measured yet here.
source "$(dirname -- "${BASH_SOURCE[0]}")/imagenet100.sh"
train --method simsiam --classifier_lr 30.0 --pred_hidden_mlp 512 --encoding_size 2048 \
    --zero_init_residual --no_lr_scheduler_for_pred_head --name simsiam-2048 "$@"
