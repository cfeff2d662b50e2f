"""Reads DATABASE_URL: mysql://user:password@host:3306/name?ssl_ca=/path/to/ca.pem

Other clients' names for the same options are accepted, so that the URLs of hosting providers work as copied.
"""

from __future__ import annotations

import json
import os
import re
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import dj_database_url

if TYPE_CHECKING:
    from collections.abc import Mapping

FORM = (
    "must look like mysql://user:password@host:3306/name, with special characters of the password percent-encoded"
    " (@ is %40, / is %2F, # is %23)"
)
SSL_MODES = ["DISABLED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY"]  # weakest first; PREFERRED may be plain text
SSL_FILES = ["ssl_ca", "ssl_cert", "ssl_key"]
INSTEAD = (
    "write ssl_mode=VERIFY_IDENTITY for TLS (ssl_ca=/path/to/ca.pem for a CA of your own),"
    " or ssl_mode=REQUIRED not to verify the server"
)
# Name and value, without spaces and in lower case, and the ssl_mode that they mean. None: we do so anyway.
ALIASES: dict[tuple[str, str], str | None] = {
    ("sslaccept", "strict"): "VERIFY_IDENTITY",  # Prisma
    ("sslaccept", "accept_invalid_certs"): "REQUIRED",
    ("ssl", "true"): "VERIFY_IDENTITY",
    ("ssl_verify_cert", "true"): "VERIFY_IDENTITY",  # PyMySQL
    ("ssl_verify_identity", "true"): "VERIFY_IDENTITY",
    ("reconnect", "true"): None,
    ("charset", "utf8mb4"): None,
}


def parse(url: str) -> dict[str, Any]:
    """Django's database settings; raises ValueError."""
    found = re.fullmatch(r"(?:mysql|mysql2|mariadb)://([^/?#\s]+/[^/?#\s]+)(?:\?([^#]*))?", url)
    if not found:
        raise ValueError(FORM)
    try:
        parsed: dict[str, Any] = dict(dj_database_url.parse(f"mysql://{found[1]}"))
    except ValueError as error:
        raise ValueError(FORM) from error
    if not (parsed["USER"] and parsed["HOST"]):
        raise ValueError(FORM)
    return parsed | {"OPTIONS": _tls(_options(found[2] or ""))}


def _options(query: str) -> dict[str, str]:
    options = [(name.replace("-", "_"), value) for name, value in parse_qsl(query, keep_blank_values=True)]
    given = dict(options)
    if len(given) < len(options) or not all(given.values()):
        raise ValueError("has an option that is empty or given twice")
    return given


def _tls(given: Mapping[str, str]) -> dict[str, Any]:
    """The driver's options. Files without a mode mean VERIFY_IDENTITY: the driver alone would not check the name."""
    files = {name.removeprefix("ssl_"): given[name] for name in SSL_FILES if name in given}
    modes = [_mode(name, value) for name, value in given.items() if name not in SSL_FILES]
    default = "VERIFY_IDENTITY" if files else "DISABLED"
    mode = max((mode for mode in modes if mode), key=SSL_MODES.index, default=default)
    if files and mode == "DISABLED":
        raise ValueError("has ssl_mode=DISABLED beside the files of TLS")
    for path in files.values():
        if not os.access(path, os.R_OK):
            raise ValueError(f"names the file {path}, which cannot be read; without ssl_ca the system's CAs count")
    if mode.startswith("VERIFY") and "ca" not in files:
        files |= _system_ca()
    return {"ssl_mode": mode} | ({"ssl": files} if files else {})


def _mode(name: str, value: str) -> str | None:
    if name == "ssl_mode":
        if value.upper() not in SSL_MODES:
            raise ValueError(f"has the unknown ssl_mode {value}; known: {', '.join(SSL_MODES)}")
        return value.upper()
    if name == "ssl" and value.startswith("{"):
        return _mode_of_node(value)
    try:
        return ALIASES[name, re.sub(r"\s", "", value).lower()]
    except KeyError:
        raise ValueError(f"has an unknown {name} option; {INSTEAD}") from None


def _mode_of_node(value: str) -> str:
    """ssl={"rejectUnauthorized":true}, as mysql2 of Node takes it."""
    try:
        options = json.loads(value)
    except ValueError:
        raise ValueError(f"has an ssl option that is not JSON; {INSTEAD}") from None
    return "REQUIRED" if options.get("rejectUnauthorized") is False else "VERIFY_IDENTITY"


def _system_ca() -> dict[str, str]:
    paths = ssl.get_default_verify_paths()
    return {name: path for name, path in (("ca", paths.cafile), ("capath", paths.capath)) if path}
