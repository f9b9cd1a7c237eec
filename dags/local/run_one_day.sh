#!/usr/bin/env bash
# The daily DAG for one day (DS), start to end in one process, without scheduler and page. LAKE and CONFIG say where.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

. dags/local/environment.sh
place run  # a database of its own: a scheduler would take part in the run
prepare
exec .airflow/bin/python dags/local/run_one_day.py "$@"
