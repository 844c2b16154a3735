# shellcheck shell=bash
# Helpers of tests/run: what the machine needs, one step at a time, one verdict. Sourced, not run.

logs=${CARGO_TARGET_DIR:-target}/tests-run
# Of the steps that run tests: what the verdict counts.
test_logs=("$logs"/{tests,live,timeline,simulator,mutations}.log)
policy=/usr/sbin/policy-rc.d
failed=()
sudo=()
step_group=  # process group of the step that runs now
scratch=     # where the steps put their temporary files
policy_ours= # set while our policy-rc.d is in place

refuse() {
    echo "tests/run: $1" >&2
    exit 2
}

begin() {
    rm -f "${test_logs[@]}"
    trap at_exit EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    mkdir -p "$logs"
    scratch=$(mktemp -d)
    export TMPDIR=$scratch
}

at_exit() {
    stop_step
    [ -z "$policy_ours" ] || "${sudo[@]}" rm -f "$policy"
    [ -z "$scratch" ] || rm -rf "$scratch"
}

# took SINCE: 71 seconds -> 1m11s
took() {
    local seconds=$((SECONDS - $1))
    if [ $seconds -ge 60 ]; then printf '%dm%02ds' $((seconds / 60)) $((seconds % 60)); else printf '%ds' $seconds; fi
}

need_toolchain() {
    command -v cargo >/dev/null || refuse "cargo is missing; install a Rust toolchain with rustup, then run this again"
    cargo fmt --version >/dev/null 2>&1 || refuse "rustfmt is missing; run: rustup component add rustfmt"
    cargo clippy --version >/dev/null 2>&1 || refuse "clippy is missing; run: rustup component add clippy"
}

# need COMMAND=PACKAGE…
need() {
    local word missing=()
    for word; do command -v "${word%=*}" >/dev/null || missing+=("${word##*=}"); done
    [ ${#missing[@]} -gt 0 ] || return 0
    install "${missing[@]}"
    for word; do
        command -v "${word%=*}" >/dev/null || refuse "'${word%=*}' is missing, also after installing ${word##*=}"
    done
}

install() {
    if ! command -v apt-get >/dev/null || ! grep -Eqs '^ID(_LIKE)?=.*(debian|ubuntu)' /etc/os-release; then
        refuse "this machine lacks $*; install what carries these names on Debian, then run this again"
    fi
    if [ "$(id -u)" -ne 0 ]; then
        sudo -n true 2>/dev/null || refuse "this machine lacks $*; run: sudo apt-get install $*"
        sudo=(sudo -n)
    fi
    echo "tests/run: installing $*"
    # Debian starts a service when its package arrives. We want the program, not the service, so the
    # package system is told 'not now' (101) for as long as the installation takes.
    if [ ! -e $policy ]; then
        policy_ours=yes
        printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee $policy >/dev/null
        "${sudo[@]}" chmod 755 $policy
    fi
    local apt=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get)
    if ! "${apt[@]}" install -y --no-install-recommends "$@" >"$logs/apt.log" 2>&1; then
        if ! { "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends "$@"; } >"$logs/apt.log" 2>&1; then
            refuse "apt-get could not install $*: $(tail -n 1 "$logs/apt.log") (see $logs/apt.log)"
        fi
    fi
    if [ -n "$policy_ours" ]; then
        "${sudo[@]}" rm -f $policy
        policy_ours=
    fi
}

# redis-py, for the tests that let it talk to `tidegate serve`; in an environment of its own.
need_redis_py() {
    local version=8.1.0 venv=${CARGO_TARGET_DIR:-target}/redis-py
    need python3
    if ! "$venv/bin/python" -c "import redis, sys; sys.exit(redis.__version__ != '$version')" 2>/dev/null; then
        python3 -c 'import ensurepip' 2>/dev/null || install python3-venv
        echo "tests/run: installing redis-py"
        if ! { python3 -m venv --clear "$venv" && "$venv/bin/pip" install "redis==$version"; } >"$logs/pip.log" 2>&1; then
            refuse "pip could not install redis-py: $(tail -n 1 "$logs/pip.log") (see $logs/pip.log)"
        fi
    fi
    REDIS_PY=$(cd "$venv" && pwd)/bin/python
    export REDIS_PY
}

# step NAME COMMAND…: runs it in a process group of its own, so that what it leaves behind can be
# ended by that group's number and by nothing wider.
step() {
    local name=$1 since=$SECONDS log=$logs/$1.log status=0
    shift
    printf '%-14s ' "$name"
    set -m
    "$@" >"$log" 2>&1 </dev/null &
    step_group=$!
    set +m
    wait "$step_group" || status=$?
    stop_step
    if [ $status -eq 0 ]; then
        echo "ok in $(took "$since")"
        return
    fi
    echo "FAILED after $(took "$since") (status $status): $*"
    failed+=("$name")
    # Of a long log first what matters most: which tests failed, and with which words.
    grep -E '^test .* FAILED$' "$log" | head -n 40 || true
    grep -E -A 2 '^thread .* panicked at' "$log" | cut -c 1-300 | head -n 90 || true
    echo "--- the end of $log"
    tail -n 60 "$log"
    echo "---"
}

stop_step() {
    [ -n "$step_group" ] || return 0
    if kill -TERM -- "-$step_group" 2>/dev/null; then
        sleep 0.3
        kill -KILL -- "-$step_group" 2>/dev/null || true
    fi
    step_group=
}

# The figures of all cargo test runs, on a line of their own.
count_tests() {
    # No mode has all of them: that one isn't there is no failure.
    { cat "${test_logs[@]}" 2>/dev/null || true; } | awk '
        /^test result:/ { for (i = 2; i <= NF; i++) { if ($i == "passed;") p += $(i-1); if ($i == "failed;") f += $(i-1) } }
        END { printf "%d passed, %d failed\n", p, f }'
}

verdict() {
    count_tests
    if [ ${#failed[@]} -eq 0 ]; then
        echo "tests/run: all green in $(took "$started")"
    else
        echo "tests/run: FAILED: ${failed[*]} (after $(took "$started"); logs in $logs)"
        exit 1
    fi
}
