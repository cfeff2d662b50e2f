"""Lets one load run at a time, on all nodes of a cluster: a row with its owner, which the owner renews.

GET_LOCK guards one node. Two nodes that update the row at once are decided by the cluster's certification.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
from contextlib import suppress

import MySQLdb
from MySQLdb.connections import Connection

from farmlokal.mysql.errors import DEADLOCK
from products.seeding.bulk_loader import LoadError, connect, execute

LEASE_SECONDS = 30  # longer than a cluster may stop writes, and than a load waits for a table
RENEW_SECONDS = 5

CREATE = "INSERT IGNORE INTO products_loadlease (id, owner, ends_at) VALUES (1, '', UTC_TIMESTAMP(6))"
TAKE = """
UPDATE products_loadlease SET owner = %s, ends_at = UTC_TIMESTAMP(6) + INTERVAL %s SECOND
WHERE id = 1 AND ends_at <= UTC_TIMESTAMP(6)
"""
RENEW = "UPDATE products_loadlease SET ends_at = UTC_TIMESTAMP(6) + INTERVAL %s SECOND WHERE id = 1 AND owner = %s"
GIVE_UP = "UPDATE products_loadlease SET ends_at = UTC_TIMESTAMP(6) WHERE id = 1 AND owner = %s"
READ = "SELECT owner, ends_at FROM products_loadlease WHERE id = 1"


class Lease:
    """Held while its block runs, and for LEASE_SECONDS after its process was killed.

    Entering raises LoadError if another load is running.
    """

    def __init__(self) -> None:
        self.token = secrets.token_hex(4)
        self._owner = f"process {os.getpid()} on {socket.gethostname()[:150]}, load {self.token}"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True)

    def __enter__(self) -> Lease:
        with connect() as raw:
            if not self._take(raw):
                raise LoadError(_refusal(raw))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        with suppress(MySQLdb.Error), connect() as raw:  # without a connection, it ends by itself
            execute(raw, GIVE_UP, (self._owner,))

    def check(self, raw: Connection) -> None:
        """Raise LoadError if another load has taken over, because this one was suspended or cut off for too long."""
        ((owner, _),) = execute(raw, READ)
        if owner != self._owner:
            raise LoadError("another load has taken over.")

    def _take(self, raw: Connection) -> bool:
        try:
            execute(raw, CREATE)
            return bool(raw.cursor().execute(TAKE, (self._owner, LEASE_SECONDS)))
        except MySQLdb.OperationalError as error:  # another node was faster
            if error.args[0] == DEADLOCK:
                return False
            raise

    def _renew(self) -> None:
        """Each time by a new connection: the load's own may be busy for minutes."""
        while not self._ended.wait(RENEW_SECONDS):
            with suppress(MySQLdb.Error), connect() as raw:  # check() finds out whether it was too late
                execute(raw, RENEW, (LEASE_SECONDS, self._owner))


def _refusal(raw: Connection) -> str:
    ((owner, ends_at),) = execute(raw, READ)
    return f"another load is running: {owner}. Wait for its end, or, if it was killed, until {ends_at:%H:%M:%S} UTC."
