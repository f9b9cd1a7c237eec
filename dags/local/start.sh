#!/usr/bin/env bash
# Runs Airflow on this machine for a local lake until Ctrl-C: web page, scheduler, dag-processor and triggerer.
# If this script or one of the four processes ends, all of them end. Reads LAKE, CONFIG and PORT.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

. dags/local/environment.sh
configure_airflow home
PORT=${PORT:-8080}
export AIRFLOW__API__HOST=127.0.0.1 AIRFLOW__API__PORT=$PORT AIRFLOW__API__BASE_URL=http://127.0.0.1:$PORT
export AIRFLOW__CORE__EXECUTION_API_SERVER_URL=http://127.0.0.1:$PORT/execution/
prepare

declare -A ids=()

# On exit, an executor waits for its running tasks, sometimes forever. After 15 s the remaining processes are killed with
# all their children.
end() {
    trap - EXIT INT TERM
    kill "${ids[@]}" 2>/dev/null || true
    for _ in $(seq 15); do
        [ -n "$(jobs -r)" ] || break
        sleep 1
    done
    for id in "${ids[@]}"; do
        pkill -KILL --session "$id" || true
    done
    wait
    rm -f "$AIRFLOW_HOME"/*.pid
}
trap end EXIT
trap 'exit 0' INT TERM

start() {
    local name=$1
    shift
    setsid .airflow/bin/airflow "$name" "$@" >"$AIRFLOW_HOME/$name.log" 2>&1 &
    ids[$name]=$!
    echo $! >"$AIRFLOW_HOME/$name.pid"
}

start api-server --host 127.0.0.1 --port "$PORT" --workers 1
start dag-processor
start scheduler --skip-serve-logs
start triggerer --skip-serve-logs

ready() {
    .airflow/bin/python - "$PORT" <<'PYTHON'
import sys, urllib.request
urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/api/v2/dags/batch_recall_daily", timeout=2).read()
PYTHON
}
for _ in $(seq 90); do
    kill -0 "${ids[@]}" 2>/dev/null || break
    ! ready 2>/dev/null || break
    sleep 1
done
if kill -0 "${ids[@]}" 2>/dev/null; then
    airflow dags unpause --yes --treat-dag-id-as-regex '.*' >>"$AIRFLOW_HOME/prepare.log" 2>&1
    echo "Airflow is at http://127.0.0.1:$PORT after $SECONDS s; batch_recall_daily is ready to trigger on $AIRFLOW_VAR_BATCH_RECALL_LAKE"
    echo "logs and process ids are in $AIRFLOW_HOME; Ctrl-C ends all four processes"
fi
wait -n || true
echo "one of Airflow's processes has ended, and the others are stopped: see $AIRFLOW_HOME/*.log" >&2
exit 1
