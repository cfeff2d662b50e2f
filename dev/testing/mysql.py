"""Connections past the service to a MySQL server: as its user, or as its administrator."""

from __future__ import annotations

import getpass
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import MySQLdb


def connect(url: str, name: str | None = None) -> Any:
    """A MySQLdb connection with autocommit; name replaces the database of the URL."""
    parts = urlsplit(url)
    return MySQLdb.connect(
        host=parts.hostname or "",
        port=parts.port or 3306,
        user=parts.username or "",
        password=parts.password or "",
        database=parts.path[1:] if name is None else name,
        autocommit=True,
    )


def as_root(folder: Path, name: str = "") -> AbstractContextManager[Any]:
    """The same as a user who may do anything, closed after the block.

    folder: of the socket of a MariaDB that dev/services.sh has started. name: of the database.
    """
    socket = str(folder / "mysql.sock")
    return closing(MySQLdb.connect(unix_socket=socket, user=getpass.getuser(), database=name, autocommit=True))


def query(connection: Any, sql: str) -> list[tuple[Any, ...]]:
    """Run a statement, and return its rows."""
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())
