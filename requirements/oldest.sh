#!/bin/sh
# Replaces the dependencies in a virtual environment with the oldest versions that pyproject.toml allows.
# The tools that only the tests need keep their locked versions.
set -eu
python=$1
versions=$(mktemp)
trap 'rm -f "$versions"' EXIT
"$python" -m uv pip compile --quiet --resolution lowest-direct --python-version 3.11 --no-header \
    --no-emit-index-url --extra postgresql --extra redis --output-file "$versions" pyproject.toml
"$python" -m uv pip install --quiet --python "$python" --no-deps --requirements "$versions"
