#!/usr/bin/env bash
# Fills .airflow: Airflow's packages in a separate environment, with the uv and Python of .venv. `make`
# calls it when a file that it reads is newer than .airflow/.set_up. Every step can be repeated.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

LOG=.airflow/set_up.log
PYTHON_HERE=$PWD/.venv/bin/python
CACHE=$PWD/.airflow/cache

. requirements/steps.sh

alone .airflow
say "filling .airflow: about 150 MB to download, 500 MB on disk ($LOG shows all)"
fill_environment .airflow airflow.txt
rm -rf "$CACHE"
touch .airflow/.set_up
say "Airflow is ready after $SECONDS s"
