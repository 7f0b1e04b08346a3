#!/usr/bin/env bash
# Everything about this package that only a GPU can show, in one command and a given time.
#
#   bash benchmarks/on_gpu.sh [--data FOLDER] [--minutes 8] [--out FOLDER] [--only PART ...] [--rehearse]
#
# Parts: machine, tests, waits, losses, throughput, training. Each prints its table as it goes and has
# its own time limit; all tables come again at the end, and FOLDER/on_gpu.json holds them. The exit
# code is 1 if a check failed. FOLDER of --data holds cifar-10-batches-py; without it images are made.
# --rehearse runs the same code on the CPU at tiny sizes, in under 3 minutes on 2 cores.
#
# Nothing is installed and nothing is fetched. PYTHON names the interpreter; by default it is that of
# .venv where there is one, else python3.
set -euo pipefail
here=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-.venv/bin/python}
if [[ -z ${PYTHON:-} && ! -x $python ]]; then python=python3; fi
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
exec "$python" -m benchmarks.gpu.main --relative_to "$here" "$@"
