"""Warnings of `manage.py check --deploy` beside Django's own, and with `--database default` those of the doctor."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004  # Django's name

from farmlokal.doctor import mysql, redis
from farmlokal.mysql.watchdog import variable_of
from farmlokal.redis import url as redis_url

PRIVATE_DOMAINS = (".internal", ".local", ".localhost", ".lan", ".private")
TLS_HINT = "Write ?ssl_mode=VERIFY_IDENTITY in DATABASE_URL, or rediss:// in REDIS_URL."
OUTSIDE = ("PARTNER_API_URL", "OAUTH_TOKEN_URL", "OAUTH_JWKS_URL")


@register(Tags.security, deploy=True)
def plain_http(app_configs: Sequence[Any] | None, **_: Any) -> list[Warning]:
    """Warn about outgoing calls without TLS."""
    return [
        Warning(f"{name} is plain http: others on the network can read and change these calls.", id="farmlokal.W001")
        for name in OUTSIDE
        if getattr(settings, name).startswith("http://")
    ]


@register(Tags.security, deploy=True)
def plain_text(app_configs: Sequence[Any] | None, **_: Any) -> list[Warning]:
    """Warn about MySQL or Redis on a public network without TLS."""
    servers = redis_url.read(settings.REDIS_URL)
    hosts = [
        (variable_of(alias), database["HOST"])
        for alias, database in settings.DATABASES.items()
        if database["OPTIONS"]["ssl_mode"] == "DISABLED"
    ]
    hosts += [("REDIS_URL", host) for host, _ in servers.hosts if servers.scheme == "redis"]
    return [
        Warning(f"{name} has no TLS, and its host looks public: {host}.", hint=TLS_HINT, id="farmlokal.W003")
        for name, host in hosts
        if host and not _is_private(host)
    ]


@register(Tags.database, deploy=True)
def servers(app_configs: Sequence[Any] | None, databases: Sequence[str] | None, **_: Any) -> list[CheckMessage]:
    """What `manage.py doctor` finds in MySQL and Redis, without its calls to providers and the partner."""
    if not databases:
        return []
    kinds = {"warning": Warning, "error": Error}
    return [
        kinds[result.level](result.text, hint=result.advice, id=f"farmlokal.{result.name.replace(' ', '-')}")
        for result in (*mysql.examine(), *redis.examine())
        if result.level in kinds
    ]


def _is_private(host: str) -> bool:
    """Judge by form: an address of a private range, the path of a socket, or a name unknown to the public DNS."""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return "." not in host or host.startswith("/") or host.lower().endswith(PRIVATE_DOMAINS)
