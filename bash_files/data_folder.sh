# shellcheck shell=bash
# Sourced first by the scripts that need data: sets DATA_FOLDER, from the environment or else from
# the script's first argument, which it takes off.
if [[ -z ${DATA_FOLDER:-} ]]; then
    if [[ $# -eq 0 || $1 == -* ]]; then
        echo "usage: bash $0 DATA_FOLDER [FLAG ...]" >&2
        exit 2
    fi
    DATA_FOLDER=$1
    shift
fi
if [[ $DATA_FOLDER != /* ]]; then DATA_FOLDER=$PWD/$DATA_FOLDER; fi
