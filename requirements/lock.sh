#!/bin/sh
# Writes the lock files anew with the uv given; both name every package for any platform and Python 3.11+.
set -eu
cd "$(dirname "$0")/.."
compile() { # lock file, more arguments
    lock=$1
    shift
    "$uv" pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-header --output-file "$lock" "$@" pyproject.toml requirements/tools.in
}
uv=$(realpath "$1")
compile requirements/dev.lock --extra dev
compile requirements/run.lock --constraints requirements/dev.lock
