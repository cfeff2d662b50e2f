"""Reads REDIS_URL, which names one server, Sentinels or a cluster:

redis://:password@host:6379/0                         or unix:///path?db=0
redis+sentinel://:password@host:26379,host:26379/NAME/0
redis+cluster://:password@host:6379,host:6379

rediss for TLS, with all servers. Options that the service does not know are refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

Address = tuple[str, int]  # host and port
Kind = Literal["one", "sentinel", "cluster"]

FORM = (
    "must look like redis://:password@host:6379/0 (rediss:// for TLS), with special characters of the password"
    " percent-encoded (@ is %40, / is %2F, # is %23)"
)
SEVERAL = "names several hosts, which needs redis+cluster://host:6379,host:6379 or redis+sentinel://host,host/NAME/0"
SERVICE = "names no service: write redis+sentinel://host:26379,host:26379/NAME/0"
SCHEMES = {"redis": "redis", "rediss": "rediss", "valkey": "redis", "valkeys": "rediss", "unix": "unix"}
MAX_PORT = 65535
PORTS = {"sentinel": 26379, "cluster": 6379}
FILES = ["ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile"]
VALUES = {"protocol": ["2", "3"], "ssl_cert_reqs": ["none", "required"], "ssl_check_hostname": ["true", "false"]}


class Servers(NamedTuple):
    """kind: "one" server; the master of a service that Sentinels watch; the masters of a cluster.

    hosts: those of the URL. scheme: "redis", "rediss" or "unix". login: as in a URL, up to its @. database: "/0", or
    the path of a socket. options: of all connections to servers. service, sentinel_password: for Sentinels.
    """

    kind: Kind
    url: str
    scheme: str
    hosts: Sequence[Address]
    login: str = ""
    database: str = ""
    options: Mapping[str, str] = {}  # a named tuple has no other defaults
    service: str = ""
    sentinel_password: str = ""

    def url_of(self, address: Address) -> str:
        """The URL of one of the servers, in redis-py's form."""
        if self.kind == "one":
            return self.url
        host, port = address
        host = f"[{host}]" if ":" in host else host
        return f"{self.scheme}://{self.login}{host}:{port}{self.database}{_query(self.options)}"


def parse(url: str) -> str:
    """Return the URL in its usual form. Raise ValueError."""
    return read(url).url


def read(url: str) -> Servers:
    """Raise ValueError."""
    several = re.fullmatch(r"(\w+)\+(cluster|sentinel)://([^\s/?#]*)(/[^\s?#]*|)(\?[^\s#]*|)", url)
    servers = _several(several) if several else _one(url)
    if servers.scheme != "rediss" and any(name.startswith("ssl_") for name in servers.options):
        raise ValueError("has TLS options, which need rediss://")
    return servers


def _one(url: str) -> Servers:
    if not re.fullmatch(r"(\w+://[^\s/?#]+(/\d{0,4})?|unix://[^\s/?#]*/[^\s?#]+)(\?[^\s#]*)?", url):
        raise ValueError(FORM)
    parts = urlsplit(url)
    if "," in parts.netloc.rpartition("@")[2]:
        raise ValueError(SEVERAL)
    scheme = SCHEMES.get(parts.scheme)
    if scheme is None or not (_has_host(parts) or scheme == "unix"):
        raise ValueError(FORM)
    _check_login(parts.username, parts.password)
    options = _options(parts.query)
    hosts = [(parts.hostname, parts.port or 6379)] if parts.hostname and scheme != "unix" else []
    return Servers("one", f"{scheme}://{parts.netloc}{parts.path}{_query(options)}", scheme, hosts, options=options)


def _several(match: re.Match[str]) -> Servers:
    name, text, netloc, path, query = match.groups()
    kind: Kind = "cluster" if text == "cluster" else "sentinel"
    scheme = SCHEMES.get(name)
    login, at, names = netloc.rpartition("@")
    if scheme in {None, "unix"} or "@" in login:
        raise ValueError(FORM)
    user, _, password = login.partition(":")
    _check_login(user, password)
    hosts = [_host(number, text, PORTS[kind]) for number, text in enumerate(names.split(","), 1)]
    options = dict(_options(query[1:], "sentinel_password" if kind == "sentinel" else ""))
    service, database = _of_sentinel(path) if kind == "sentinel" else _of_cluster(path, options)
    url = f"{scheme}+{kind}://{netloc}{path}{_query(options)}"
    of_sentinel = options.pop("sentinel_password", "")
    return Servers(kind, url, str(scheme), hosts, login + at, database, options, service, of_sentinel)


def _of_sentinel(path: str) -> tuple[str, str]:
    """Return service and database."""
    found = re.fullmatch(r"/([\w.-]+)(/\d{0,4}|)", path)
    if not found or (found[1].isdigit() and not found[2]):
        raise ValueError(SERVICE)
    return found[1], found[2]


def _of_cluster(path: str, options: Mapping[str, str]) -> tuple[str, str]:
    if path not in {"", "/", "/0"} or options.get("db", "0") != "0":
        raise ValueError("names a database, but a cluster has only database 0")
    return "", ""


def _host(number: int, text: str, port: int) -> Address:
    """number: its place in the list. The error does not show the host, which may be a part of a password."""
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:\[\]]+))(?::(\d{1,5}))?", text)
    port = int((found and found[3]) or port)
    if not found or not 0 < port <= MAX_PORT:
        raise ValueError(f"has a bad host in place {number} of its list: write name:6379 or [::1]:6379")
    return found[1] or found[2], port


def _has_host(parts: SplitResult) -> bool:
    try:
        return bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is not a number
        return False


def _check_login(user: str | None, password: str | None) -> None:
    if user and not password:
        raise ValueError("has a user without a password; a password alone is written redis://:password@host:6379/0")


def _query(options: Mapping[str, str]) -> str:
    return f"?{urlencode(options)}" if options else ""


def _options(query: str, also_known: str = "") -> Mapping[str, str]:
    pairs = parse_qsl(query, keep_blank_values=True)
    options = {name: value if name == also_known else _value(name, value) for name, value in pairs}
    if len(options) < len(pairs):
        raise ValueError("has an option twice")
    return options


def _value(name: str, value: str) -> str:
    if name in FILES:
        if not os.access(value, os.R_OK):
            raise ValueError(f"names the file {value}, which cannot be read")
        return value
    if name == "db" and re.fullmatch(r"\d{1,4}", value):
        return value
    if name not in VALUES:
        raise ValueError(f"has a bad option {name}; known: db=NUMBER, {', '.join([*FILES, *VALUES])}")
    value = value.lower().removeprefix("cert_")  # Celery writes CERT_NONE
    if value not in VALUES[name]:
        raise ValueError(f"has a bad {name}: it must be {' or '.join(VALUES[name])}")
    return value
