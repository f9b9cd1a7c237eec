#!/usr/bin/env bash
# Runs the daily DAG for one day in one process, without scheduler and web page. Reads LAKE and CONFIG.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

. dags/local/environment.sh
configure_airflow run  # a separate database, so that a running scheduler does not interfere
prepare
exec .airflow/bin/python dags/local/run_one_day.py "$@"
