"""Galera: a cluster of MariaDB nodes, each of which takes writes and applies those of the others a moment later."""

from __future__ import annotations

import MySQLdb
from MySQLdb.connections import Connection

UNKNOWN_VARIABLE = 1193  # MySQL, and MariaDB without Galera


def read_own_writes(connection: Connection) -> None:
    """Let each read, and each beginning of a transaction, wait until the node has all that was committed before."""
    try:
        connection.query("SET SESSION wsrep_sync_wait = 1")
    except MySQLdb.OperationalError as error:
        if error.args[0] != UNKNOWN_VARIABLE:
            raise
