# The environment of a local Airflow. `configure_airflow NAME` exports AIRFLOW_HOME (.airflow/NAME), the paths of lake and
# code, and Spark's settings for the tasks. Call it in the root of the checkout.

configure_airflow() {
    local root=$PWD lake=${LAKE:-lake}
    [[ $lake == /* || $lake == *://* ]] || lake=$root/$lake
    export AIRFLOW_HOME=$root/.airflow/$1
    export AIRFLOW__CORE__DAGS_FOLDER=$root/dags
    export AIRFLOW__CORE__LOAD_EXAMPLES=False
    export AIRFLOW__CORE__EXECUTOR=LocalExecutor AIRFLOW__CORE__PARALLELISM=4
    export AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS=True  # no login: the page listens on 127.0.0.1 only
    export AIRFLOW__USAGE_DATA_COLLECTION__ENABLED=False

    export AIRFLOW_CONN_BATCH_RECALL_SPARK='{"conn_type": "spark", "host": "local[*]", "extra": {"deploy-mode": "client"}}'
    export AIRFLOW_VAR_BATCH_RECALL_LAKE=$lake
    export AIRFLOW_VAR_BATCH_RECALL_CODE=$root
    if [ -n "${CONFIG:-}" ]; then
        AIRFLOW_VAR_BATCH_RECALL_CONFIG=$(realpath "$CONFIG")
        export AIRFLOW_VAR_BATCH_RECALL_CONFIG
    fi
    export BATCH_RECALL_CRON=none  # no schedule: runs are triggered

    export PATH=$root/.venv/bin:$PATH PYSPARK_PYTHON=$root/.venv/bin/python
    export SPARK_CONF_DIR=$root/dags/local SPARK_LOCAL_IP=127.0.0.1
    unset SPARK_HOME PYSPARK_DRIVER_PYTHON PYTHONPATH PYTHONHOME
}

airflow() { .airflow/bin/airflow "$@"; }

# Creates or migrates the database and creates the pool (without it tasks would wait forever), once per installation.
prepare() {
    [ "$AIRFLOW_HOME/prepared" -nt .airflow/.set_up ] && return
    mkdir -p "$AIRFLOW_HOME"
    {
        airflow db migrate &&
            airflow pools set batch_recall 1 "Spark jobs of batch_recall_daily at a time"
    } >"$AIRFLOW_HOME/prepare.log" 2>&1 || { tail -n 15 "$AIRFLOW_HOME/prepare.log" >&2; exit 1; }
    touch "$AIRFLOW_HOME/prepared"
}
