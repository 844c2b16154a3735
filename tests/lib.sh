# shellcheck shell=bash
# Helpers of tests/run: what the machine needs, one step at a time, one verdict. Sourced, not run.

logs=${CARGO_TARGET_DIR:-target}/tests-run
# Of the steps that run tests: what the verdict counts.
test_logs=("$logs"/{tests,live,simulator,mutations}.log)
policy=/usr/sbin/policy-rc.d
failed=()
sudo=()
step_group=  # process group of the step that runs now
scratch=     # where the steps put their temporary files
policy_ours= # set while our policy-rc.d is in place
broker=      # process group of the broker that the tests share

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
    [ -z "$broker" ] || kill -TERM -- "-$broker" 2>/dev/null || true
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

# may_install PACKAGE…: refuses where this script can't install them.
may_install() {
    if ! command -v apt-get >/dev/null || ! grep -Eqs '^ID(_LIKE)?=.*(debian|ubuntu)' /etc/os-release; then
        refuse "this machine lacks $*; install what carries these names on Debian, then run this again"
    fi
    if [ "$(id -u)" -ne 0 ]; then
        sudo -n true 2>/dev/null || refuse "this machine lacks $*; run: sudo apt-get install $*"
        sudo=(sudo -n)
    fi
}

install() {
    may_install "$@"
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

# What the tests of Kafka need: a Java of 17 or later that can compile too, a Go of 1.19 or later for
# franz-go, kcat, and Apache Kafka's own jars, copied by Maven to target/kafka/VERSION once.
need_kafka() {
    local version versions=() folder jars=()
    need_java
    need mvn=maven "${GO:-go}=golang-go"
    command -v kcat >/dev/null || command -v kafkacat >/dev/null || install kafkacat
    KCAT=$(command -v kcat || command -v kafkacat) || refuse "'kcat' is missing, also after installing kafkacat"
    mapfile -t versions <tests/kafka/versions
    mkdir -p "${CARGO_TARGET_DIR:-target}/kafka"
    for version in "${versions[@]}"; do
        folder=$(cd "${CARGO_TARGET_DIR:-target}/kafka" && pwd)/$version
        if [ ! "$folder/complete" -nt tests/kafka/pom.xml ]; then
            echo "tests/run: fetching Apache Kafka $version"
            rm -rf "$folder"
            mvn -B -f tests/kafka/pom.xml -Dkafka="$version" -DincludeScope=runtime -DoutputDirectory="$folder" \
                org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies >"$logs/maven.log" 2>&1 ||
                refuse "Maven could not fetch Apache Kafka $version: $(grep -m 1 ERROR "$logs/maven.log") (see $logs/maven.log)"
            touch "$folder/complete"
        fi
        jars+=("$folder")
    done
    KAFKA_JARS=${jars[0]}
    KAFKA_JARS_OLD=${jars[1]}
    export KCAT KAFKA_JARS KAFKA_JARS_OLD
}

need_java() {
    local packages=(openjdk-17-jre-headless openjdk-21-jre-headless default-jre-headless) package
    java_is_fit && return
    may_install "${packages[0]}"
    package=$(first_known "${packages[@]}")
    if [ -z "$package" ]; then
        "${sudo[@]}" apt-get update >"$logs/apt.log" 2>&1 || true
        package=$(first_known "${packages[@]}")
    fi
    install "${package:-${packages[0]}}"
    java_is_fit || refuse "'java' is older than 17 or can't compile, also after installing $package"
}

java_is_fit() {
    local modules
    command -v "${JAVA:-java}" >/dev/null || return 1
    modules=$("${JAVA:-java}" --list-modules 2>/dev/null) || return 1
    grep -q '^jdk.compiler@' <<<"$modules" || return 1
    [ "$(sed -n 's/^java.base@\([0-9]*\).*/\1/p' <<<"$modules")" -ge 17 ]
}

# The first of these packages that the machine's package lists know.
first_known() {
    local package
    for package; do
        if apt-cache show "$package" >/dev/null 2>&1; then
            echo "$package"
            return
        fi
    done
}

# start_broker: one Kafka broker for all tests that need none for themselves, as KAFKA_BROKER. It gets
# its standard input from a sleeper in its own process group, whose end is its own.
start_broker() {
    local since=$SECONDS log=$logs/broker.log
    [ -z "${KAFKA_BROKER:-}" ] || return 0
    printf '%-14s ' broker
    cargo build -q -p tidegate-live --example kafka >"$log" 2>&1 </dev/null || refuse "the example kafka does not build (see $log)"
    set -m
    sleep infinity | "${CARGO_TARGET_DIR:-target}/debug/examples/kafka" >"$scratch/broker" 2>>"$log" &
    broker=$(jobs -p %+)
    set +m
    until [ -s "$scratch/broker" ]; do
        kill -0 -- "-$broker" 2>/dev/null || refuse "no broker starts: $(tail -n 1 "$log") (see $log)"
        sleep 0.1
    done
    KAFKA_BROKER=$(cat "$scratch/broker")
    export KAFKA_BROKER
    echo "ok in $(took "$since")"
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
