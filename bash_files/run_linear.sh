#!/usr/bin/env bash
# Linear evaluation: a classifier on the frozen features of a run, top-1 and top-5; of texts, and of
# images with captions, what finds what.
#
#   bash bash_files/run_linear.sh [RUN_ID | FOLDER] [FLAG ...]
#
# Without a run: the newest in trained_models. The data set, how it is read, and the encoder are the
# run's. A data set of your own is named: run_linear.sh RUN_ID MODULE:NAME; an encoder behind it.
# Expected after run_contrastive.sh: 15 seconds, 98.3 % top-1.
set -euo pipefail
called_from=$PWD
source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"

if [[ $# -gt 0 && $1 != -* ]]; then
    run=$1
    if [[ -d trained_models/$1 ]]; then run=trained_models/$1; fi
    if [[ ! -d $run && -d $called_from/$1 ]]; then run=$called_from/$1; fi
    shift
else
    run=trained_models/none
    for encoder in trained_models/*/encoder.safetensors; do
        if [[ $encoder -nt $run/encoder.safetensors ]]; then run=${encoder%/*}; fi
    done
fi
if [[ ! -f $run/config.json ]]; then
    echo "run_linear.sh: no run in $run; bash bash_files/run_contrastive.sh makes one" >&2
    exit 2
fi
kind=$("$python" -c 'import json, sys
from cl.config.datasets import kind_of
run = json.load(open(sys.argv[1]))
places = run.get("derived", {}).get("places", {})
print(kind_of(run["dataset"], places.get("data_folder", run["data_folder"])))' "$run/config.json" 2>/dev/null) || kind=images
learns=$kind # of texts, of images with captions, and by --eval knn and its like nothing does
for word in "$@"; do
    case $word in --eval | --eval=*) learns= ;; esac
    case $word in *linear* | *finetune* | *supervised* | all) learns=$kind ;; esac
done
flags=(--batch_size 256)
if [[ $learns == images ]]; then
    flags+=(--epochs 100 --optimizer sgd --scheduler step --lr 0.1 --lr_decay_steps 60 80 --weight_decay 0)
fi

exec "$python" main_linear.py --pretrained_feature_extractor "$run" "${flags[@]}" "$@"
