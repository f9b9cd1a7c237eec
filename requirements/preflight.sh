#!/usr/bin/env bash
# Checks this machine before anything is created or downloaded.
# Prints the Python to use; or fails with one line for each thing that is missing and how to install it.
set -euo pipefail

NEEDED_GB=10  # .venv grows to 8.5 GB during the set-up and shrinks to 6 GB; the rest is for a first lake

problems=()

find_python() {
    local candidate version found="there is none"
    local candidates=(python3.11 python3)
    [ -z "${PYTHON:-}" ] || candidates=("$PYTHON")
    python=
    for candidate in "${candidates[@]}"; do
        command -v "$candidate" >/dev/null || continue
        found="$candidate does not run"
        version=$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
        if [ "$version" = 3.11 ]; then
            python=$(command -v "$candidate")
            return
        fi
        found="$candidate is $version"
    done
    problems+=("Python 3.11 is needed and $found: apt install python3.11 python3.11-venv python3.11-dev, or name one with PYTHON=/path/to/python3.11")
}

check_python_parts() {
    "$python" -c 'import ensurepip, venv' >/dev/null 2>&1 ||
        problems+=("$python lacks the venv module: apt install python3.11-venv")
    "$python" -c 'import os, sysconfig; os.stat(os.path.join(sysconfig.get_path("include"), "Python.h"))' >/dev/null 2>&1 ||
        problems+=("$python lacks Python.h, which annoy is compiled with: apt install python3.11-dev")
}

check_java() {
    local java=java major
    [ -z "${JAVA_HOME:-}" ] || java=$JAVA_HOME/bin/java
    local remedy="apt install openjdk-17-jre-headless, or point JAVA_HOME at a Java 17 or 21"
    if ! command -v "$java" >/dev/null; then
        problems+=("Java 17 or 21 is needed and there is no $java: $remedy")
        return
    fi
    major=$("$java" -version 2>&1 | sed -n 's/.* version "\(1\.\)\{0,1\}\([0-9]*\).*/\2/p' | head -n 1) || major=
    if [ -z "$major" ]; then
        problems+=("Java 17 or 21 is needed and $java does not run: $remedy")
    elif [ "$major" -lt 17 ] || [ "$major" -gt 23 ]; then  # Java 24 removed a method that Hadoop's login calls
        problems+=("Java 17 or 21 is needed and $java is $major: $remedy")
    fi
}

check_disk() {
    local free_kb used_kb=0 place=.
    [ ! -d .venv ] || { place=.venv; used_kb=$(du -sk .venv | cut -f 1); }
    free_kb=$(df -Pk "$place" | awk 'NR == 2 { print $4 }')
    [ $(((free_kb + used_kb) / 1048576)) -ge $NEEDED_GB ] ||
        problems+=("$NEEDED_GB GB of disk are needed and $PWD has $((free_kb / 1048576)) GB free: make room, or clone to a larger disk")
}

case "$(uname -s)-$(uname -m)" in
    Linux-x86_64 | Linux-aarch64) ;;
    *) problems+=("Linux on x86_64 or aarch64 is needed and this is $(uname -s) on $(uname -m): the locked packages exist for no other") ;;
esac
case $PWD in
    *[[:space:]]*) problems+=("Spark's scripts do not run from a path with a space in it, as $PWD has: move this folder") ;;
esac
find_python
[ -z "$python" ] || check_python_parts
check_java
check_disk

if [ ${#problems[@]} -gt 0 ]; then
    printf 'set-up: %s\n' "${problems[@]}" >&2
    exit 1
fi
printf '%s\n' "$python"
