# What the set-up scripts share: a log of each step, and pip's settings for uv. They set LOG and PYTHON_HERE.

say() { printf 'set-up: %s\n' "$*"; }

stop() {
    tail -n 15 "$LOG" >&2
    say "$1 failed; the lines above end $LOG, and \`make\` goes on from here" >&2
    exit 1
}

# logged WHAT COMMAND...: runs the command into the log, and stops where it fails.
logged() {
    local what=$1
    shift
    printf '\n== %s: %s\n' "$what" "$*" >>"$LOG"
    "$@" >>"$LOG" 2>&1 || stop "$what"
}

# A mirror or a certificate that pip is told of holds for uv too, which does not read pip's settings.
pip_setting() { "$PYTHON_HERE" -m pip config list | sed -n "s/^[a-z:]*\.$1='\(.*\)'$/\1/p" | tail -n 1; }

export_pip_settings() {
    local mirror cert
    mirror=$(pip_setting index-url)
    cert=$(pip_setting cert)
    [ -z "$mirror" ] || export UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-$mirror}
    [ -z "$cert" ] || export SSL_CERT_FILE=${SSL_CERT_FILE:-$cert}
}

uv() { .venv/bin/uv "$@"; }
