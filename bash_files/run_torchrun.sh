#!/usr/bin/env bash
# One run on several machines, or on several processes of one, started by torchrun.
#
#   NODES=2 HEAD=192.0.2.1 bash bash_files/run_torchrun.sh RUN_ID [FLAG ...]     on every machine
#   PROCESSES=2 bash bash_files/run_torchrun.sh RUN_ID [FLAG ...]                on this one alone
#
# NODES is the number of machines (1), PROCESSES that of a machine's processes, one a GPU (1), HEAD
# the address and PORT the port (29500) at which the first machine is reached. RUN_ID and the folder
# of runs (--output) are the same for all, on a file system that they share. Without FLAGs it trains
# on the embedded digits; other flags come last and win. The run has the same numbers on any number
# of processes as long as --global_batch_size stays. Another data set: copy the line.
set -euo pipefail
if [[ $# -eq 0 || $1 == -* ]]; then
    echo "usage: bash $0 RUN_ID [FLAG ...]" >&2
    exit 2
fi
run_id=$1
shift
source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"

# The processes of one machine talk over its own interface, which nobody else reaches. The store at
# HEAD:PORT is PyTorch's and listens on all interfaces: docs/security.md.
if [[ ${NODES:-1} == 1 && -z ${HEAD:-} && -e /sys/class/net/lo ]]; then
    export GLOO_SOCKET_IFNAME="${GLOO_SOCKET_IFNAME:-lo}" NCCL_SOCKET_IFNAME="${NCCL_SOCKET_IFNAME:-lo}"
fi

exec "$python" -m torch.distributed.run --nnodes "${NODES:-1}" --nproc-per-node "${PROCESSES:-1}" \
    --rdzv-backend c10d --rdzv-endpoint "${HEAD:-localhost}:${PORT:-29500}" --rdzv-id "$run_id" \
    main_contrastive.py digits resnet6_w16 --run_id "$run_id" --epochs 60 --optimizer adamw \
    --lr 4e-3 --no-lr_scaling --classifier_lr 0.05 --global_batch_size 64 --temperature 0.5 \
    --crop_scale 0.6 1 --brightness 0.2 --contrast 0.2 --num_workers 2 --hidden_mlp 128 \
    --encoding_size 64 --precision 32 "$@"
