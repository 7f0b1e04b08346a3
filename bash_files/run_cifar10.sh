#!/usr/bin/env bash
# Any method on CIFAR-10 with a small ResNet-6, minutes on a CPU; SimCLR if no other is said.
#
#   bash bash_files/run_cifar10.sh DATA_FOLDER [FLAG ...]
#   bash bash_files/run_cifar10.sh DATA_FOLDER --method vicreg --data_fraction 20000 --epochs 6
#   DATA_FOLDER=/datasets bash bash_files/run_cifar10.sh [FLAG ...]
#
# DATA_FOLDER holds cifar-10-batches-py, torchvision's folder.
# Expected, 2 CPU cores: 3 minutes, online probe 51 to 53 % top-1, linear on frozen features 55 to
# 56 % (untrained 37 to 40 %); n = 3, EPYC (Zen 3), torch 2.14, a re-encoded copy of the data. The
# other methods: README.md.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/data_folder.sh"
source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"

method=simclr temperature=(--temperature 0.2) before=
for word in "$@"; do
    if [[ $before == --method ]]; then method=$word; fi
    if [[ $word == --method=* ]]; then method=${word#*=}; fi
    if [[ $word == --loss* ]]; then temperature=(); fi # NT-Xent's; another loss has its own
    before=$word
done
case $method in
barlow_twins | vicreg) own=(--hidden_mlp 512 --encoding_size 512) ;;
simsiam)
    own=(--hidden_mlp 512 --encoding_size 512 --pred_hidden_mlp 128 --no_lr_scheduler_for_pred_head
        --optimizer sgd --lr 0.2 --classifier_lr 0.5 --weight_decay 5e-4)
    ;;
sigmoid) own=(--temperature 0.2 --bias -5 --hidden_mlp 128 --lr 1e-3) ;;
relic) own=(--temperature 0.2 --hidden_mlp 128 --ema_beta 0.9) ;;
supcon) own=(--temperature 0.2 --hidden_mlp 128 --encoding_size 64 --lr 1e-3) ;;
*) own=(${temperature[@]+"${temperature[@]}"} --hidden_mlp 128 --encoding_size 64) ;;
esac

exec "$python" main_contrastive.py cifar10 resnet6_w32 --data_folder "$DATA_FOLDER" \
    --epochs 4 --optimizer adamw --scheduler warmup_cosine --warmup_start_lr 0.003 --lr 4e-3 \
    --no-lr_scaling --classifier_lr 0.05 --weight_decay 1e-4 --batch_size 128 --crop_size 24 \
    --brightness 0.4 --contrast 0.4 --saturation 0.4 --hue 0.1 --num_workers 1 --precision 32 \
    --name "$method-cifar10" "${own[@]}" "$@"
