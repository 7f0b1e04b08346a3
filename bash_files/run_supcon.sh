#!/usr/bin/env bash
# SupCon (https://arxiv.org/abs/2004.11362) with 2 + 6 crops, ResNet-18 on ImageNet-100, 100 epochs.
#
#   bash bash_files/run_supcon.sh DATA_FOLDER [FLAG ...]     (folders and devices: imagenet100.sh)
#
# Augments by DALI: needs nvidia-dali (requirements.txt).
# The recipe's first implementation reached 85.56 % online, 86.16 % offline; not measured yet here.
source "$(dirname -- "${BASH_SOURCE[0]}")/imagenet100.sh"
train --supervised --temperature 0.1 --multicrop --n_crops 2 --n_small_crops 6 --dali \
    --name supcon "$@"
