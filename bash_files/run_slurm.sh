#!/usr/bin/env bash
#SBATCH --job-name=simclr
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
# SimCLR with ResNet-18 on ImageNet-100 under SLURM, 2 nodes of 4 GPUs.
#
#   sbatch --chdir REPOSITORY bash_files/run_slurm.sh DATA_FOLDER [FLAG ...]
#
# Another shape: sbatch --nodes 1 --ntasks-per-node 2 --gpus-per-node 2 ...; the numbers of the run
# stay the same, since --global_batch_size does. Two minutes before the time is over the run saves
# itself, and the job is put into the queue again, where it goes on by itself, as it does after
# --max_time; its folder is trained_models/slurm-JOB.
# .venv must exist (make setup) on a file system that the nodes share. Not measured yet here.
set -euo pipefail

if [[ $# -eq 0 || $1 == -* ]]; then
    echo "usage: sbatch --chdir REPOSITORY bash_files/run_slurm.sh DATA_FOLDER [FLAG ...]" >&2
    exit 2
fi
data=$1
shift

code=0
# A task that fails leaves the others time to save; they end by themselves within --timeout.
srun --kill-on-bad-exit=0 .venv/bin/python main_contrastive.py imagenet100 resnet18 \
    --data_folder "$data" --train_dir imagenet-100/train --val_dir imagenet-100/test \
    --epochs 100 --optimizer sgd --scheduler warmup_cosine --lr 0.3 --weight_decay 1e-4 \
    --global_batch_size 256 --num_workers 8 --hidden_mlp 2048 --temperature 0.2 \
    --project contrastive_learning --name simclr --run_id "slurm-$SLURM_JOB_ID" "$@" || code=$?
if ((code == 143 || code == 75)); then # SIGTERM or --max_time: the step was saved
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
