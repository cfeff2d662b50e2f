"""MariaDB servers that belong together: replicas, or the nodes of a cluster."""

from __future__ import annotations

import getpass
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import MySQLdb

from dev.testing.programs import program
from dev.testing.servers import SMALL_MARIADB, TIMEOUT_SECONDS, Daemon

# Tests kill processes, never the machine: nothing needs to reach the disk.
OPTIONS = [*SMALL_MARIADB.split(), "--innodb-flush-method=nosync", "--innodb-flush-log-at-trx-commit=2"]
TRANSFERS = Path(__file__).parent  # has wsrep_sst_copy
PASSWORD = "Jackfruit-8"  # tests look for it in messages, where other words are common
APPLICATION = f"""
    CREATE DATABASE farmlokal CHARACTER SET utf8mb4;
    CREATE USER farmlokal@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';
    GRANT ALL ON `%farmlokal%`.* TO farmlokal@'127.0.0.1'
"""


def install(folder: Path) -> Path:
    """Make a data directory whose root has no password. It may be copied before a server uses it."""
    data = folder / "data"
    command = [program("mariadb-install-db"), "--no-defaults", f"--datadir={data}", f"--user={getpass.getuser()}"]
    command += ["--skip-test-db", "--auth-root-authentication-method=normal", *OPTIONS]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    return data


def server(folder: Path, port: int, *options: str) -> Daemon:
    """A MariaDB that uses folder/data, not started; options go to mariadbd."""
    for name in ("data", "tmp"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    command = ["env", f"PATH={TRANSFERS}:{os.environ['PATH']}", program("mariadbd"), "--no-defaults"]
    command += [
        f"--user={getpass.getuser()}",
        f"--datadir={folder / 'data'}",
        f"--tmpdir={folder / 'tmp'}",
        "--socket=mysql.sock",
    ]
    command += ["--bind-address=127.0.0.1", f"--port={port}", "--skip-name-resolve", "--local-infile=ON"]
    command += ["--character-set-server=utf8mb4", "--max-connections=400", *OPTIONS, *options]
    url = f"mysql://farmlokal:{PASSWORD}@127.0.0.1:{port}/farmlokal"
    log = folder / "daemon.log"
    return Daemon(url, command, folder, lambda: "ready for connections" in log.read_text())


def sql(daemon: Daemon, text: str) -> Sequence[tuple[Any, ...]]:
    """Run statements, separated by semicolons, as root. Returns the rows of the last. Raises MySQLdb.Error."""
    address = urlsplit(daemon.url)
    connection = MySQLdb.connect(
        host=address.hostname, port=address.port, user="root", autocommit=True, connect_timeout=5, read_timeout=60
    )
    try:
        cursor = connection.cursor()
        for statement in text.split(";"):
            cursor.execute(statement)
        rows: Sequence[tuple[Any, ...]] = cursor.fetchall()
        return rows
    finally:
        connection.close()
