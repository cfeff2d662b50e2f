#!/usr/bin/env bash
# install.sh REQUIREMENTS: installs missing system packages with apt, and REQUIREMENTS into .venv.
# It avoids packages that bring a system service, so nothing is enabled or started.
# shellcheck source=dev/steps.sh
. "$(dirname "$0")/steps.sh"

# The redis-server package brings a service; redis-tools has the same binary under another name.
private_redis() {
    command -v redis-server >/dev/null && return
    mkdir -p .local/bin
    [ ! -x /usr/bin/redis-check-rdb ] || ln -sf /usr/bin/redis-check-rdb .local/bin/redis-server
    [ -x .local/bin/redis-server ]
}

python_headers() {
    "$SYSTEM_PYTHON" -c 'import os, sysconfig; assert os.path.exists(sysconfig.get_path("include") + "/Python.h")' 2>/dev/null
}

missing_packages() {
    local python_package
    python_package=$(basename "$(readlink -f "$(command -v "$SYSTEM_PYTHON")")")
    "$SYSTEM_PYTHON" -c 'import ensurepip, venv' 2>/dev/null || echo "$python_package-venv"
    python_headers || echo "$python_package-dev"
    command -v cc >/dev/null || echo gcc
    command -v pkg-config >/dev/null || echo pkg-config
    pkg-config --exists libmariadb 2>/dev/null || pkg-config --exists mysqlclient 2>/dev/null || echo libmariadb-dev
    if [ -z "${DATABASE_URL:-}" ]; then
        PATH=$PATH:/usr/sbin command -v mariadbd >/dev/null || echo mariadb-server-core
        command -v my_print_defaults >/dev/null || echo mariadb-client-core
    fi
    [ -n "${REDIS_URL:-}" ] || private_redis || echo redis-tools
    case $TARGET in test|test-scale) [ -e /usr/lib/galera/libgalera_smm.so ] || echo galera-4 ;; esac
    # Tests and pictures need a browser; Playwright's own would be another download.
    case $TARGET in test|test-scale|pictures) command -v chromium >/dev/null || echo chromium ;; esac
    case $TARGET in rehearse) PATH=$PATH:/usr/sbin command -v debootstrap >/dev/null || echo debootstrap ;; esac
}

# Nginx stands in front of two instances, HAProxy in front of MariaDB; promtool checks rules. Their packages bring
# services, so only the programs are unpacked, into .local/bin.
private_programs() {
    case $TARGET in test|test-scale|deploys) private_program nginx usr/sbin/nginx ;; esac
    case $TARGET in test|test-scale)
        private_program prometheus usr/bin/prometheus usr/bin/promtool
        private_program haproxy usr/sbin/haproxy
        ;;
    esac
}

# private_program PACKAGE PATH...: PATH is that of a program in the package.
private_program() {
    local package=$1 path
    shift
    for path in "$@"; do
        if ! PATH=$PATH:/usr/sbin:$PWD/.local/bin command -v "$(basename "$path")" >/dev/null; then
            say "unpacking the programs of Debian's $package into .local/bin"
            step "unpack $package" unpack "$package" "$@"
            break
        fi
    done
    [ -z "$(ldd "${@/#*\//.local/bin/}" 2>/dev/null | grep 'not found')" ] ||
        step "install libraries of $package" install_libraries "$package"
}

unpack() {
    local package=$1 folder
    shift
    folder=$(mktemp -d .local/unpack-XXXXXX)
    (cd "$folder" && apt-get download "$package") || { apt_update && (cd "$folder" && apt-get download "$package"); } || return
    dpkg-deb --extract "$folder"/*.deb "$folder/files"
    mkdir -p .local/bin
    mv "${@/#/$folder/files/}" .local/bin
    rm -r "$folder"
}

# Libraries bring no service.
install_libraries() {
    local libraries
    mapfile -t libraries < <(apt-cache depends "$1" | sed -n 's/^ *Depends: \(lib.*\)/\1/p')
    apt_install --no-upgrade "${libraries[@]}"
}

APT=(env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300)

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

apt_update() { as_root "${APT[@]}" update; }

# A policy-rc.d that exits with 101 keeps apt from starting services, should a dependency bring one.
apt_install() {
    local guard=/usr/sbin/policy-rc.d guarded=''
    if [ ! -e $guard ] && [ ! -L $guard ]; then
        guarded=1
        printf '#!/bin/sh\nexit 101\n' | as_root tee $guard >/dev/null
        as_root chmod 755 $guard
    fi
    local status=0
    { apt_update && as_root "${APT[@]}" install -y --no-install-recommends "$@"; } || status=$?
    [ -z "$guarded" ] || as_root rm -f $guard
    return $status
}

find_python() {
    local candidate
    for candidate in ${PYTHON3:-} python3 python3.13 python3.12 python3.11 /usr/bin/python3; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            SYSTEM_PYTHON=$candidate
            return
        fi
    done
    fail "needs Python 3.11 or newer as python3 (or PYTHON3=/path/to/python3); docker compose up does not"
}

install_packages() {
    local packages
    mapfile -t packages < <(missing_packages)
    [ ${#packages[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null ||
        fail "install the equivalent of these Debian packages: ${packages[*]}; or use docker compose up"
    [ "$(id -u)" = 0 ] || command -v sudo >/dev/null ||
        fail "needs root or sudo to install ${packages[*]}; docker compose up does not"
    say "installing missing packages with apt: ${packages[*]}"
    step "apt install" apt_install "${packages[@]}"
    mapfile -t packages < <(missing_packages)
    [ ${#packages[@]} -eq 0 ] || fail "still missing after apt: ${packages[*]}; install them, or use docker compose up"
}

# The stamp is written last, so that an interrupted installation is repeated.
install_requirements() {
    local stamp=.venv/.installed-$1 wanted
    wanted=$("$SYSTEM_PYTHON" -V; sha256sum "$1")
    [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ] || return 0
    if ! "$PYTHON" -m pip --version >/dev/null 2>&1; then
        rm -rf .venv
        step "make venv" "$SYSTEM_PYTHON" -m venv .venv
    fi
    say "installing $1 into .venv"
    # Replit's pip.conf sets `user`, which pip refuses in a venv.
    step "install requirements" env PIP_USER=0 "$PYTHON" -m pip install --disable-pip-version-check --require-hashes -r "$1"
    printf '%s\n' "$wanted" >"$stamp"
}

exec 8>.local/install.lock
flock 8
find_python
install_packages
private_programs
install_requirements "$1"
