#!/usr/bin/env bash
# SimCLR with 2 + 6 crops (SwAV, https://arxiv.org/abs/2006.09882), ResNet-18 on ImageNet-100, 100 epochs.
#
#   bash bash_files/run_simclr_multicrop.sh DATA_FOLDER [FLAG ...]     (folders and devices: imagenet100.sh)
#
# Augments by DALI: needs nvidia-dali (requirements.txt).
# The recipe's first implementation reached 73.04 % online, 73.72 % offline; not measured yet here.
source "$(dirname -- "${BASH_SOURCE[0]}")/imagenet100.sh"
train --temperature 0.1 --multicrop --n_crops 2 --n_small_crops 6 --dali \
    --name simclr-multicrop "$@"
