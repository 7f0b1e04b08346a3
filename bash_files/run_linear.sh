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
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

if [[ $# -gt 0 && $1 != -* ]]; then
    run=$1
    if [[ -d trained_models/$1 ]]; then run=trained_models/$1; fi
    if [[ ! -d $run && -d $called_from/$1 ]]; then run=$called_from/$1; fi
    shift
else
    newest=$(ls -t trained_models/*/encoder.safetensors 2>/dev/null | head -n 1) || true
    run=$(dirname "${newest:-trained_models/none}")
fi
if [[ ! -f $run/config.json ]]; then
    echo "run_linear.sh: no run in $run; bash bash_files/run_contrastive.sh makes one" >&2
    exit 2
fi
# What the run was trained on, as words of a command line.
of_run=()
while IFS= read -r word; do of_run+=("$word"); done < <(
    "$python" - "$run/config.json" <<'PYTHON'
import json
import sys

run = json.load(open(sys.argv[1]))
print(run["dataset"], run["encoder"], sep="\n")
for name in ("data_folder", "train_dir", "val_dir", "image_size"):
    if run["dataset"] != "digits" and run[name] is not None:
        print(f"--{name}", run[name], sep="\n")
PYTHON
)

exec "$python" main_linear.py "${of_run[@]}" --pretrained_feature_extractor "$run" \
    --epochs 100 --optimizer sgd --scheduler step --lr 0.1 --lr_decay_steps 60 80 --weight_decay 0 \
    --batch_size 256 "$@"
