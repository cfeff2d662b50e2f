#!/usr/bin/env bash
# services.sh DIRECTORY COMMAND...: runs COMMAND with a private MariaDB and Redis, whose data are in DIRECTORY.
# Sets DATABASE_URL and REDIS_URL, and stops both servers when COMMAND ends, however it ends.
# A server whose URL is already set is not started. MARIADB_OPTIONS adds options to mariadbd. LOCK_SECONDS (20) is
# how long to wait for an earlier run in the same DIRECTORY to end. INTERRUPT_STATUS (130) is the status after Ctrl-C.
# shellcheck disable=SC2317,SC2329  # functions are called by name, and from traps
# shellcheck source=dev/steps.sh
. "$(dirname "$0")/steps.sh"

DIRECTORY=$1
shift
umask 077
mkdir -p "$DIRECTORY"
DIRECTORY=$(cd "$DIRECTORY" && pwd)
PATH=$PATH:/usr/sbin:$PROJECT/.local/bin
SERVERS=()
COMMAND=

# The servers inherit the lock: while one survives a SIGKILL of this script, no second pair uses its data.
exec 9>"$DIRECTORY/lock"
if ! flock --nonblock 9; then
    say "waiting for an earlier run in this checkout to end"
    flock --wait "${LOCK_SECONDS:-20}" 9 || fail "already running in this checkout (${DIRECTORY#"$PROJECT"/}); stop it first"
fi

free_port() { "$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
password() {
    [ -s "$DIRECTORY/password" ] || "$PYTHON" -c 'import secrets; print(secrets.token_hex(16))' >"$DIRECTORY/password"
    cat "$DIRECTORY/password"
}

# start NAME READY COMMAND...: succeeds once the log contains READY, fails if the process ends before.
# A new session, so that the terminal's Ctrl-C reaches only this script; the process ends with this script.
start() {
    local log="$DIRECTORY/$1.log" ready=$2 pid _
    shift 2
    : >"$log"  # READY from an earlier run must not count
    setsid setpriv --pdeathsig TERM "$@" >"$log" 2>&1 </dev/null &
    pid=$!
    SERVERS+=("$pid")
    for _ in {1..1200}; do
        ! grep -q "$ready" "$log" || return 0
        kill -0 "$pid" 2>/dev/null || return 1
        sleep 0.1
    done
    return 1
}

# on_free_port NAME FUNCTION: calls FUNCTION with a free PORT_CHOSEN; retries if another process takes the port first.
on_free_port() {
    local log="$DIRECTORY/$1.log" _
    for _ in {1..5}; do
        PORT_CHOSEN=$(free_port)
        "$2" && return
        grep -qi 'address already in use' "$log" || break
    done
    fail "step \"start $1\" failed, see ${log#"$PROJECT"/}"
}

make_data_directory() {
    rm -rf "$DIRECTORY/mariadb.new"
    mariadb-install-db --no-defaults --datadir="$DIRECTORY/mariadb.new" --user="$(id -un)" --skip-test-db \
        --auth-root-authentication-method=socket --auth-root-socket-user="$(id -un)" &&
        mv "$DIRECTORY/mariadb.new" "$DIRECTORY/mariadb"
}

# The user may do anything in databases whose name contains "farmlokal": the catalogue and the test databases.
start_mariadb() {
    local user="farmlokal@'127.0.0.1'" tmp="$DIRECTORY/tmp" options
    rm -rf "$tmp" && mkdir "$tmp"
    cat >"$DIRECTORY/init.sql" <<SQL
CREATE DATABASE IF NOT EXISTS farmlokal CHARACTER SET utf8mb4;
CREATE OR REPLACE USER $user IDENTIFIED BY '$(password)';
GRANT ALL ON \`%farmlokal%\`.* TO $user;
SQL
    read -ra options <<<"${MARIADB_OPTIONS:-}"
    start mariadb 'ready for connections' mariadbd --no-defaults --user="$(id -un)" \
        --datadir="$DIRECTORY/mariadb" --tmpdir="$tmp" --init-file="$DIRECTORY/init.sql" \
        --socket=mysql.sock --pid-file=mysql.pid --bind-address=127.0.0.1 --port="$PORT_CHOSEN" --skip-name-resolve \
        --character-set-server=utf8mb4 --innodb-buffer-pool-size=512M --innodb-log-file-size=256M --innodb-sort-buffer-size=16M \
        --innodb-flush-log-at-trx-commit=2 --local-infile=ON "${options[@]}"
}

start_redis() {
    cat >"$DIRECTORY/redis.conf" <<CONF
bind 127.0.0.1
port $PORT_CHOSEN
requirepass $(password)
dir "$DIRECTORY"
save ""
maxmemory 128mb
maxmemory-policy volatile-lru
CONF
    start redis 'Ready to accept connections' redis-server "$DIRECTORY/redis.conf"
}

# end SIGNAL SECONDS PID...: sends SIGNAL to each (a negative PID is a process group), and KILL after SECONDS.
end() {
    local signal=$1 seconds=$2 pid tenths
    shift 2
    for pid; do kill "-$signal" -- "$pid" 2>/dev/null || true; done
    for pid; do
        for ((tenths = seconds * 10; tenths > 0; tenths--)); do kill -0 -- "$pid" 2>/dev/null || break; sleep 0.1; done
        kill -KILL -- "$pid" 2>/dev/null || true
    done
}

end_everything() {
    trap '' INT TERM HUP
    [ -z "$COMMAND" ] || end INT 30 "-$COMMAND"  # a request may take 25 s
    end TERM 30 "${SERVERS[@]}"
    rm -f "$DIRECTORY/env"
}
trap end_everything EXIT
trap 'exit 129' HUP
trap 'exit ${INTERRUPT_STATUS:-130}' INT
trap 'exit 143' TERM

if [ -z "${DATABASE_URL:-}" ]; then
    [ -d "$DIRECTORY/mariadb" ] || step "make data directory" make_data_directory
    on_free_port mariadb start_mariadb
    DATABASE_URL="mysql://farmlokal:$(password)@127.0.0.1:$PORT_CHOSEN/farmlokal"
fi
if [ -z "${REDIS_URL:-}" ]; then
    on_free_port redis start_redis
    REDIS_URL="redis://:$(password)@127.0.0.1:$PORT_CHOSEN/0"
fi
export DATABASE_URL REDIS_URL
printf 'export DATABASE_URL=%q REDIS_URL=%q\n' "$DATABASE_URL" "$REDIS_URL" >"$DIRECTORY/env"

# Job control gives COMMAND a process group, so that all its children end with it. Unlike a foreground command,
# `wait` lets traps run at once.
set -m
setpriv --pdeathsig TERM "$@" 9>&- </dev/null &
COMMAND=$!
set +m
status=0
wait "$COMMAND" || status=$?
exit $status
