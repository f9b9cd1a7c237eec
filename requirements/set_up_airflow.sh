#!/usr/bin/env bash
# Fills .airflow: Airflow's packages in an environment of their own, beside .venv, whose uv and Python it takes. `make`
# calls it when a file that it reads is newer than .airflow/.set_up. Every step may be run again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

LOG=.airflow/set_up.log
PYTHON_HERE=$PWD/.venv/bin/python

. requirements/steps.sh

mkdir -p .airflow
exec 9>.airflow/.set_up.lock
flock --nonblock 9 || { say "another set-up is running here, waiting for it"; flock 9; }

say "filling .airflow: about 150 MB to download, 500 MB on disk ($LOG shows all)"
date --utc >$LOG
if ! .airflow/bin/python -c 'import sys; assert sys.version_info[:2] == (3, 11)' 2>/dev/null; then
    logged "making .airflow" "$PYTHON_HERE" -m venv --without-pip .airflow
fi
export_pip_settings
export UV_CACHE_DIR=$PWD/.airflow/cache UV_PYTHON=$PWD/.airflow/bin/python
say "installing $(grep -c '^[^ #]' requirements/airflow.txt) Python packages"
logged "installing the packages" uv pip sync --require-hashes requirements/airflow.txt
rm -rf "$UV_CACHE_DIR"
touch .airflow/.set_up
say "Airflow is ready after $SECONDS s"
