"""Reads DATABASE_URL and DATABASE_REPLICA_URL: mysql://user:password@host:3306/name?ssl_ca=/path/to/ca.pem

It accepts other clients' names for the same options, so URLs copied from hosting providers work.
"""

from __future__ import annotations

import json
import os
import re
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import dj_database_url

FORM = (
    "must look like mysql://user:password@host:3306/name, with special characters of the password percent-encoded"
    " (@ is %40, / is %2F, # is %23)"
)
SSL_MODES = ["DISABLED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY"]  # weakest first; PREFERRED may be plain text
BETWEEN_URLS = r"[\s,]+(?=(?:mysql|mysql2|mariadb)://)"  # an option may contain a comma
SSL_FILES = ["ssl_ca", "ssl_cert", "ssl_key"]
INSTEAD = (
    "write ssl_mode=VERIFY_IDENTITY for TLS (ssl_ca=/path/to/ca.pem for a private CA),"
    " or ssl_mode=REQUIRED to skip verification of the server"
)
# (option, value without spaces in lower case) -> ssl_mode. None: we always do that.
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
    """Return Django's database settings. Raise ValueError."""
    match = re.fullmatch(r"(?:mysql|mysql2|mariadb)://([^/?#\s]+/[^/?#\s]+)(?:\?([^#]*))?", url)
    if not match:
        raise ValueError(FORM)
    try:
        parsed: dict[str, Any] = dict(dj_database_url.parse(f"mysql://{match[1]}"))
    except ValueError as error:
        raise ValueError(FORM) from error
    if not (parsed["USER"] and parsed["HOST"]):
        raise ValueError(FORM)
    return parsed | {"OPTIONS": _tls(_options(match[2] or ""))}


def parse_several(urls: str) -> list[dict[str, Any]]:
    """The settings of each URL; commas or spaces separate them. Raise ValueError."""
    return [parse(url) for url in re.split(BETWEEN_URLS, urls.strip(", \t\n"))] if urls else []


def _options(query: str) -> dict[str, str]:
    options = [(name.replace("-", "_"), value) for name, value in parse_qsl(query, keep_blank_values=True)]
    by_name = dict(options)
    if len(by_name) < len(options) or not all(by_name.values()):
        raise ValueError("has an option that is empty or given twice")
    return by_name


def _tls(options: Mapping[str, str]) -> dict[str, Any]:
    """Return the driver's options. Files without a mode mean VERIFY_IDENTITY, since the driver's default skips the
    host name."""
    files = {name.removeprefix("ssl_"): options[name] for name in SSL_FILES if name in options}
    modes = [_mode(name, value) for name, value in options.items() if name not in SSL_FILES]
    default = "VERIFY_IDENTITY" if files else "DISABLED"
    mode = max((mode for mode in modes if mode), key=SSL_MODES.index, default=default)
    if files and mode == "DISABLED":
        raise ValueError("has ssl_mode=DISABLED beside TLS files")
    for path in files.values():
        if not os.access(path, os.R_OK):
            raise ValueError(f"names the file {path}, which cannot be read; without ssl_ca the system's CAs apply")
    if mode.startswith("VERIFY") and "ca" not in files:
        files |= _system_ca()
    return {"ssl_mode": mode} | ({"ssl": files} if files else {})


def _mode(name: str, value: str) -> str | None:
    if name == "ssl_mode":
        if value.upper() not in SSL_MODES:
            raise ValueError(f"has the unknown ssl_mode {value}; known: {', '.join(SSL_MODES)}")
        return value.upper()
    if name == "ssl" and value.startswith("{"):
        return _node_mode(value)
    try:
        return ALIASES[name, re.sub(r"\s", "", value).lower()]
    except KeyError:
        raise ValueError(f"has an unknown {name} option; {INSTEAD}") from None


def _node_mode(value: str) -> str:
    """Read ssl={"rejectUnauthorized":true}, the form of Node's mysql2."""
    try:
        options = json.loads(value)
    except ValueError:
        raise ValueError(f"has an ssl option that is not JSON; {INSTEAD}") from None
    return "REQUIRED" if options.get("rejectUnauthorized") is False else "VERIFY_IDENTITY"


def _system_ca() -> dict[str, str]:
    paths = ssl.get_default_verify_paths()
    return {name: path for name, path in (("ca", paths.cafile), ("capath", paths.capath)) if path}
