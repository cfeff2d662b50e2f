#!/usr/bin/env bash
# services.sh DIRECTORY COMMAND...: runs COMMAND with DATABASE_URL and REDIS_URL of a private MariaDB and
# a private Redis that live in DIRECTORY, and ends both when COMMAND ends, however it ends.
# A service whose URL is set already is not started. MARIADB_OPTIONS adds options to mariadbd; LOCK_SECONDS (20) is
# how long to wait for an earlier pair in the same DIRECTORY to end.
# shellcheck disable=SC2317  # functions are called by name
# shellcheck source=steps.sh
. "$(dirname "$0")/steps.sh"

DIRECTORY=$1
shift
umask 077
mkdir -p "$DIRECTORY"
DIRECTORY=$(cd "$DIRECTORY" && pwd)
PATH=$PATH:/usr/sbin:$PROJECT/.local/bin
SERVERS=()
COMMAND=

# The servers inherit the lock: even after a kill -9 of this script nobody starts a second pair on their data.
exec 9>"$DIRECTORY/lock"
if ! flock --nonblock 9; then
    say "waiting for an earlier one in this checkout to end"
    flock --wait "${LOCK_SECONDS:-20}" 9 || fail "is running already in this checkout (${DIRECTORY#"$PROJECT"/}); stop that one first"
fi

free_port() { "$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
password() {
    [ -s "$DIRECTORY/password" ] || "$PYTHON" -c 'import secrets; print(secrets.token_hex(16))' >"$DIRECTORY/password"
    cat "$DIRECTORY/password"
}

# start NAME READY COMMAND...: in a session of its own, so that the terminal's Ctrl-C reaches only this script,
# and bound to this script's life. True once the log says READY, false if the process ends before.
start() {
    local log="$DIRECTORY/$1.log" ready=$2 pid _
    shift 2
    : >"$log"  # it is read below before the server may have opened it, and an earlier server's must not be
    setsid setpriv --pdeathsig TERM "$@" >"$log" 2>&1 </dev/null &
    pid=$!
    SERVERS+=("$pid")
    for _ in {1..600}; do
        ! grep -q "$ready" "$log" || return 0
        kill -0 "$pid" 2>/dev/null || return 1
        sleep 0.1
    done
    return 1
}

# on_free_port NAME FUNCTION: a port that another process takes between choice and use is chosen anew.
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

# Rights on every database whose name contains "farmlokal": the catalogue, and what the tests create.
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

# end SIGNAL SECONDS PID...: SIGNAL to each (a negative PID is a process group), then KILL to what outlives SECONDS.
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
    [ -z "$COMMAND" ] || end INT 10 "-$COMMAND"
    end TERM 30 "${SERVERS[@]}"
    rm -f "$DIRECTORY/env"
}
trap end_everything EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
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

# A process group of its own: whatever COMMAND starts ends with it. `wait` lets a signal through at once.
set -m
setpriv --pdeathsig TERM "$@" 9>&- </dev/null &
COMMAND=$!
set +m
status=0
wait "$COMMAND" || status=$?
exit $status
