# Functions of the set-up scripts: logging, pip's settings for uv, JARs. The scripts set LOG, PYTHON_HERE and CACHE.

say() { printf 'set-up: %s\n' "$*"; }

stop() {
    tail -n 15 "$LOG" >&2
    say "$1 failed; the lines above are the end of $LOG; \`make\` continues from here" >&2
    exit 1
}

# logged WHAT COMMAND...: runs the command with its output in the log, and stops if it fails.
logged() {
    local what=$1
    shift
    printf '\n== %s: %s\n' "$what" "$*" >>"$LOG"
    "$@" >>"$LOG" 2>&1 || stop "$what"
}

# uv does not read pip's settings: pass a mirror or certificate of pip on to it.
pip_setting() { "$PYTHON_HERE" -m pip config list | sed -n "s/^[a-z:]*\.$1='\(.*\)'$/\1/p" | tail -n 1; }

export_pip_settings() {
    local mirror cert
    mirror=$(pip_setting index-url)
    cert=$(pip_setting cert)
    [ -z "$mirror" ] || export UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-$mirror}
    [ -z "$cert" ] || export SSL_CERT_FILE=${SSL_CERT_FILE:-$cert}
}

uv() { .venv/bin/uv "$@"; }

# fill_environment FOLDER LOCK: creates an environment with the uv and Python of .venv.
fill_environment() {
    export_pip_settings
    export UV_CACHE_DIR=$CACHE/uv UV_PYTHON=$PWD/$1/bin/python
    date --utc >$LOG
    if ! "$1/bin/python" -c 'import sys; assert sys.version_info[:2] == (3, 11)' 2>/dev/null; then
        logged "making $1" "$PYTHON_HERE" -m venv --without-pip "$1"
    fi
    say "installing $(grep -c '^[^ #]' "requirements/$2") Python packages"
    logged "installing the packages" uv pip sync --require-hashes "requirements/$2"
}

# alone FOLDER: waits until no other set-up of the folder runs.
alone() {
    mkdir -p "$1"
    exec 9>"$1/.set_up.lock"  # not .lock, which is uv's own
    flock --nonblock 9 || { say "another set-up is running here, waiting for it"; flock 9; }
}

# fetch_jars WHAT COORDINATES LIST FOLDER: downloads the JARs of the coordinates, checked against requirements/LIST.
# Spark resolves them, which honours DEFAULT_ARTIFACT_REPOSITORY. It gets a separate home folder, because an incomplete
# Maven repository in the user's home would break it.
fetch_jars() {
    local list=$PWD/requirements/$3 ivy=$CACHE/ivy
    (cd "$4" && sha256sum --check --status "$list") 2>/dev/null && return
    rm -rf "$ivy" "$4"
    mkdir -p "$ivy" "$(dirname "$4")"
    : >"$ivy/nothing.py"
    logged "fetching $1" env -u SPARK_HOME -u SPARK_CONF_DIR PYSPARK_PYTHON="$PYTHON_HERE" \
        SPARK_SUBMIT_OPTS="-Duser.home=$ivy" .venv/bin/spark-submit --master 'local[1]' \
        --packages "$2" --conf "spark.jars.ivy=$ivy" "$ivy/nothing.py"
    logged "checking $1" env -C "$ivy/jars" sha256sum --check --strict "$list"
    mv "$ivy/jars" "$4"
}
