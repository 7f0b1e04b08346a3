#!/usr/bin/env bash
# Compares losses: rows times seeds, intervals, what can be told apart, one table.
#
#   bash bash_files/benchmark.sh [FLAG ...]
#   bash bash_files/benchmark.sh PLAN.toml [FLAG ...]
#
# Without PLAN: six losses on handwritten digits, three seeds (bash_files/plans/digits.toml). FLAGs
# are those of `python -m cl.compare`: --dry_run, --jobs 2, --gpus 0 1, --budget MINUTES, --retry.
# Ended at any time the same command goes on. See docs/compare.md.
set -euo pipefail
plan=
if [[ $# -gt 0 && $1 != -* ]]; then
    plan=$1
    if [[ $plan != /* ]]; then plan=$PWD/$plan; fi
    shift
fi
source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"

exec "$python" -m cl.compare "${plan:-bash_files/plans/digits.toml}" "$@"
