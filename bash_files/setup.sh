#!/usr/bin/env bash
# The environment of every script here and of `make`: .venv with what requirements.txt lists.
#
#   bash bash_files/setup.sh         what training needs
#   bash bash_files/setup.sh dev     the tools of `make check` and `make test` besides
#
# With CPU=1 in the environment, and from then on in this .venv, requirements-cpu.txt: no CUDA, no DALI.
# Installs about 6 GB (torch with CUDA, DALI) the first time and nothing while requirements.txt and
# pyproject.toml stay as they are. A .venv that exists is used and added to. Sourced by a script, it
# also moves to the repository's root, names the interpreter $python and sets the allocator.
set -euo pipefail
export CL_CALLED_FROM="${CL_CALLED_FROM-$PWD}" # where printed commands will be typed
CDPATH="" cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
python=.venv/bin/python

# A training step takes the memory of the step before; glibc by default gives it back to the kernel
# and faults it in again. Kept, a step takes a fifth to a third less time on a CPU.
export MALLOC_MMAP_MAX_="${MALLOC_MMAP_MAX_:-0}"
export MALLOC_TRIM_THRESHOLD_="${MALLOC_TRIM_THRESHOLD_:-1073741824}" # cl/hardware.py has the same
export MALLOC_TOP_PAD_="${MALLOC_TOP_PAD_:-67108864}"

recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

make_venv() {
    local found
    for found in python3.11 python3 python3.12 python3.13 python3.14 python; do
        if recent "$found" && "$found" -c 'import venv, ensurepip' 2>/dev/null; then
            "$found" -m venv .venv
            return
        fi
    done
    echo "setup: needs Python >= 3.11 with its module venv on the PATH (python3 is" \
        "$(python3 --version 2>/dev/null || echo missing)). On Debian and Ubuntu:" \
        "apt-get install python3.11 python3.11-venv. Or make .venv yourself." >&2
    exit 1
}

extra() { # $1: the extra, may be empty; what pyproject.toml lists under it, a line each
    "$python" -c 'import sys, tomllib
listed = tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]
print(*listed.get(sys.argv[1], ()), sep="\n")' "$1"
}

stamp() { # what an installation depends on
    local kind=${CPU:+cpu}
    echo "$PWD $(cat requirements*.txt constraints.txt pyproject.toml | cksum)" \
        "${kind:-$(cat .venv/.cpu 2>/dev/null || true)}"
}

installed() { [[ -x $python && $(cat ".venv/.installed${1:+-$1}" 2>/dev/null) == "$(stamp)" ]]; }

install() { # $1: the extra, may be empty; one process at a time, also of machines that share .venv
    if installed "$1"; then return; fi
    if ! command -v flock >/dev/null; then
        install_now "$1"
        return
    fi
    {
        if ! flock -n 9; then
            echo "setup: waiting for another process that installs into .venv" >&2
            flock 9 || true # a file system without locks
        fi
        if ! installed "$1"; then install_now "$1"; fi
    } 9>.venv.lock
}

install_now() { # $1: the extra, may be empty
    local start=$SECONDS
    [[ -x $python ]] || make_venv
    if [[ -n ${CPU:-} ]]; then echo cpu >.venv/.cpu; fi
    if ! recent "$python"; then
        echo "setup: .venv is $("$python" --version), Python >= 3.11 is needed: remove .venv" >&2
        exit 1
    fi
    local pip=("$python" -m pip install -qq --disable-pip-version-check)
    if [[ -e .venv/.cpu ]]; then
        echo "setup: installing into .venv, without CUDA and DALI (several minutes the first time)" >&2
        extra "$1" | "${pip[@]}" -r requirements-cpu.txt -r /dev/stdin
        "${pip[@]}" --no-deps --editable .
    else
        echo "setup: installing into .venv (the first time up to 6 GB and several minutes)" >&2
        local what=(--editable ".${1:+[$1]}")
        if [[ $1 == dev ]]; then # the versions that were tested together, by uv where it can be had
            what+=(--constraint constraints.txt)
            "${pip[@]}" uv 2>/dev/null || true
        fi
        if ! "$python" -m uv pip install --quiet --python "$python" "${what[@]}" 2>/dev/null; then
            "${pip[@]}" "${what[@]}"
        fi
    fi
    stamp | tee ".venv/.installed${1:+-$1}" >.venv/.installed
    echo "setup: done in $((SECONDS - start)) s" >&2
}

# A sourced file sees its caller's arguments, which are not meant for it.
if [[ ${BASH_SOURCE[0]} == "$0" ]]; then install "${1:-}"; else install ""; fi
