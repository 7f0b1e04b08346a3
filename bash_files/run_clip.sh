#!/usr/bin/env bash
# CLIP of images and their captions: find an image by a sentence, and a sentence by an image.
#
#   bash bash_files/run_clip.sh CAPTIONS.jsonl [FLAG ...]       (SigLIP: --loss sigmoid --learn both)
#
# A line of the file is {"image": "images/1.jpg", "captions": ["...", ...], "split": "train"}, images
# relative to the file; docs/image_text.md has the rest.
set -euo pipefail
if [[ $# -eq 0 || $1 == -* ]]; then
    echo "usage: bash $0 CAPTIONS.jsonl [FLAG ...]    (docs/image_text.md says what is in the file)" >&2
    exit 2
fi
file=$1
shift
if [[ $file != /* ]]; then file=$PWD/$file; fi
source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"

exec "$python" main_contrastive.py "captions:$(basename -- "$file")" resnet6_w32 --method clip \
    --data_folder "$(dirname -- "$file")" --text_encoder bag_w128 --image_size 64 --batch_size 50 \
    --epochs 100 --lr 5.86e-4 --flip_prob 0.5 --crop_scale 0.5 1 --name clip "$@"
