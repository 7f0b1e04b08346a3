#!/usr/bin/env bash
# Linear evaluation: a classifier on the frozen features of a run, top-1 and top-5.
#
#   bash bash_files/run_linear.sh [RUN_ID | FOLDER] [FLAG ...]
#
# Without a run: the newest in trained_models. Data set, its folders and the encoder are
# the run's.
# Expected after run_contrastive.sh: 20 seconds, 96.7 % top-1.
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
# What the run was trained on, as words of a command line.
of_run=()
while IFS= read -r -d "" word; do of_run+=("$word"); done < <(
    "$python" - "$run/config.json" <<'PYTHON'
import json
import sys

run = json.load(open(sys.argv[1]))
words = [run["dataset"], run["encoder"]]
for name in ("data_folder", "train_dir", "val_dir", "image_size"):
    if run["dataset"] != "digits" and run[name] is not None:
        words.append(f"--{name}={run[name]}")
if any(word.startswith("-") for word in words[:2]) or "\0" in "".join(words):
    sys.exit(f"run_linear.sh: {sys.argv[1]} names no data set and encoder")
sys.stdout.write("".join(f"{word}\0" for word in words))
PYTHON
)
if [[ ${#of_run[@]} -eq 0 ]]; then exit 2; fi

exec "$python" main_linear.py "${of_run[@]}" --pretrained_feature_extractor "$run" \
    --epochs 100 --optimizer sgd --scheduler step --lr 0.1 --lr_decay_steps 60 80 --weight_decay 0 \
    --batch_size 256 "$@"
