"""Opens all connections to MySQL: of requests, commands, probes and bulk loads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import MySQLdb
from MySQLdb.connections import Connection
from MySQLdb.constants import CLIENT

TLS_ERROR = 2026  # CR_SSL_CONNECTION_ERROR of the client library
NOT_ENCRYPTED = "the server offers no TLS, and the URL asks for it"


class ConnectError(MySQLdb.OperationalError):  # type: ignore[misc]  # MySQLdb is not annotated
    """The connection failed. args: the error number, and one line that names the variable with the URL."""


def connect(parameters: Mapping[str, Any], seconds: int | None = None, variable: str = "DATABASE_URL") -> Connection:
    """Open a connection, encrypted unless ssl_mode is DISABLED. Raise ConnectError.

    seconds: limits each wait of this connection, instead of the parameters' limits. variable: where the URL comes from.
    """
    if seconds:
        parameters = {**parameters, "connect_timeout": seconds, "read_timeout": seconds, "write_timeout": seconds}
    try:
        connection = MySQLdb.connect(**parameters)
    except MySQLdb.OperationalError as error:
        raise _connect_error(variable, error.args[0], error.args[-1]) from error
    # MariaDB's client library ignores REQUIRED if the server offers no TLS.
    if parameters["ssl_mode"] != "DISABLED" and not connection.client_flag & CLIENT.SSL:
        connection.close()
        raise _connect_error(variable, TLS_ERROR, NOT_ENCRYPTED)
    return connection


def _connect_error(variable: str, number: int, reason: str) -> ConnectError:
    return ConnectError(number, f"cannot connect to {variable}: {reason}")
