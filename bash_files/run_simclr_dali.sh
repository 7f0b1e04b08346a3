#!/usr/bin/env bash
# SimCLR (https://arxiv.org/abs/2002.05709), augmented by DALI, ResNet-18 on ImageNet-100, 100 epochs.
#
#   bash bash_files/run_simclr_dali.sh DATA_FOLDER [FLAG ...]     (folders and devices: imagenet100.sh)
#
# Needs nvidia-dali (requirements.txt).
# The recipe's first implementation reached 70.66 % online, 71.64 % offline; not measured yet here.
source "$(dirname -- "${BASH_SOURCE[0]}")/imagenet100.sh"
train --temperature 0.2 --dali --name simclr-dali "$@"
