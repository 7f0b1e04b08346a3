#!/usr/bin/env bash
# SimSiam (https://arxiv.org/abs/2011.10566), embedding 512, predictor 128, ResNet-18 on ImageNet-100, 100 epochs.
#
#   bash bash_files/run_simsiam.sh DATA_FOLDER [FLAG ...]     (folders and devices: imagenet100.sh)
#
# The recipe's first implementation reached 69.28 % online, 72.22 % offline; not measured yet here.
source "$(dirname -- "${BASH_SOURCE[0]}")/imagenet100.sh"
train --method simsiam --classifier_lr 30.0 --pred_hidden_mlp 128 --encoding_size 512 \
    --zero_init_residual --no_lr_scheduler_for_pred_head --name simsiam "$@"
