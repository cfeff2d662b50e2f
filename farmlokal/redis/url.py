"""Reads REDIS_URL: redis://:password@host:6379/0, rediss:// for TLS, or unix:///path?db=0

Options that the service does not know are refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

FORM = (
    "must look like redis://:password@host:6379/0 (rediss:// for TLS), with special characters of the password"
    " percent-encoded (@ is %40, / is %2F, # is %23)"
)
SCHEMES = {"redis": "redis", "rediss": "rediss", "valkey": "redis", "valkeys": "rediss", "unix": "unix"}
FILES = ["ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile"]
VALUES = {"protocol": ["2", "3"], "ssl_cert_reqs": ["none", "required"], "ssl_check_hostname": ["true", "false"]}


def parse(url: str) -> str:
    """Return the URL in redis-py's form. Raise ValueError."""
    if not re.fullmatch(r"(\w+://[^\s/?#]+(/\d{0,4})?|unix://[^\s/?#]*/[^\s?#]+)(\?[^\s#]*)?", url):
        raise ValueError(FORM)
    parts = urlsplit(url)
    scheme = SCHEMES.get(parts.scheme)
    if scheme is None or not (_has_host(parts) or scheme == "unix"):
        raise ValueError(FORM)
    if parts.username and not parts.password:
        raise ValueError("has a user without a password; a password alone is written redis://:password@host:6379/0")
    options = _options(parts.query)
    if scheme != "rediss" and any(name.startswith("ssl_") for name in options):
        raise ValueError("has TLS options, which need rediss://")
    return f"{scheme}://{parts.netloc}{parts.path}" + (f"?{urlencode(options)}" if options else "")


def _has_host(parts: SplitResult) -> bool:
    try:
        return bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is not a number
        return False


def _options(query: str) -> Mapping[str, str]:
    pairs = parse_qsl(query, keep_blank_values=True)
    options = {name: _value(name, value) for name, value in pairs}
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
