"""The servers of the fault table."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple, Self

import redis

from dev.chaos.callers import Plan
from dev.chaos.clock import Clock
from dev.chaos.load import Load
from dev.chaos.samples import LIMITED
from dev.testing import resolver
from dev.testing.issuer import issuer
from dev.testing.mysql import as_root
from dev.testing.partner import partner, settings_for
from dev.testing.proxy import Proxy
from dev.testing.servers import own_mysql, own_redis, running
from dev.testing.waiting import wait_until
from integrations.webhooks import signing_secrets

ROWS = 2000
WORKERS = 2
TOKENS = 1000
HOUR = 3600
PARTNER_HOST = "partner.test"
# Creates the API clients: one without a limit, and one that the load keeps over its limit.
CLIENTS = """
import django
django.setup()
from accounts.models import ApiClient
ApiClient.objects.create(client_id="shop", name="Shop", rate="60000/60")
ApiClient.objects.create(client_id="greedy", name="Greedy", rate="6/60")
"""


class Pace(NamedTuple):
    """Seconds of each row, and settings of the service.

    calm: before the fault. fault: how long it lasts. settle: of normal answers after it. heal: the longest wait for
    them. replace: until gunicorn replaces a worker that does not react.
    """

    calm: float
    fault: float
    settle: float
    heal: float
    replace: int
    settings: Mapping[str, str]


FULL = Pace(calm=5, fault=12, settle=3, heal=60, replace=30, settings={})
# On a busy machine, a slow answer is not a fault.
SHORT = Pace(0.5, 2.5, 0.5, 60, 10, {"REDIS_TIMEOUT_SECONDS": "1", "PARTNER_DEADLINE_SECONDS": "5"})


class World:
    """The service, the servers that it depends on, and proxies between them.

    A fault records its harm in two attributes. victims: callers' ports on workers that the fault kills or freezes.
    kills: begin and end of each time when it killed connections to MySQL (time.monotonic).
    """

    def __init__(self, folder: Path, pace: Pace, environment: Mapping[str, str]) -> None:
        self.pace = pace
        self._folder = folder
        self._base = environment
        self._stack = contextlib.ExitStack()
        self.victims: set[int] = set()
        self.kills: list[tuple[float, float]] = []

    def __enter__(self) -> Self:
        for name in ("mysql", "redis", "clock", "redis-clock"):
            (self._folder / name).mkdir()
        with contextlib.ExitStack() as stack:
            enter = stack.enter_context
            self.mysql = enter(own_mysql(self._folder / "mysql", self._base, ROWS))
            self.clock, self.redis_clock = (Clock(self._folder / name) for name in ("clock", "redis-clock"))
            self.redis = enter(own_redis(self._folder / "redis", environment=self.redis_clock.environment))
            self.sandbox, self.issuer = enter(partner()), enter(issuer())
            self.mysql_proxy, self.redis_proxy = enter(Proxy(self.mysql.url)), enter(Proxy(self.redis.url))
            self.partner_proxy = enter(Proxy(self.sandbox.url))
            self.provider_proxy = enter(Proxy(f"{self.sandbox.url}/oauth/token"))
            self.keys_proxy = enter(Proxy(f"{self.issuer.url}/jwks"))
            self._environment = {**self._base, **self._settings()}
            subprocess.run([sys.executable, "-c", CLIENTS], env=self._environment, check=True, timeout=60)
            self.server = enter(running({**self._environment, **self.clock.environment}))
            self.load = enter(Load(self._plan()))
            wait_until(lambda: any(sample.answer == LIMITED for sample in list(self.load.samples)))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _settings(self) -> dict[str, str]:
        self.dead_names, self.metrics = self._folder / "dead-names", self._folder / "metrics"
        self.metrics.mkdir()
        self.webhook_secret = signing_secrets.generate()
        modules = self._folder / "modules"
        modules.mkdir()
        resolver.write_module(modules, PARTNER_HOST, stalled=self.dead_names)
        return {
            **settings_for(self.sandbox),
            **self.issuer.settings,
            "PYTHONPATH": str(modules),
            "PROMETHEUS_MULTIPROC_DIR": str(self.metrics),
            "DJANGO_SETTINGS_MODULE": "farmlokal.settings",
            "DATABASE_URL": self.mysql_proxy.url,
            "REDIS_URL": self.redis_proxy.url,
            "PARTNER_API_URL": f"http://{PARTNER_HOST}:{self.partner_proxy.port}",
            "OAUTH_TOKEN_URL": self.provider_proxy.url,
            "OAUTH_JWKS_URL": self.keys_proxy.url,
            "PARTNER_WEBHOOK_SECRETS": self.webhook_secret,
            "RATE_LIMIT_ANONYMOUS": "60000/60",
            "ALLOWED_HOSTS": "localhost",
            "ACCESS_LOG": "on",
            "WEB_CONCURRENCY": str(WORKERS),
            "GUNICORN_CMD_ARGS": f"--timeout {self.pace.replace}",
            **self.pace.settings,
        }

    def _plan(self) -> Plan:
        now = int(time.time())
        valid: dict[str, Any] = {"iat": now - 2 * HOUR, "exp": now + 24 * HOUR, "scope": "catalogue:write"}
        tokens = [self.issuer.token(client_id="shop", jti=str(number), **valid) for number in range(TOKENS)]
        return Plan(
            port=self.server.port,
            name="Chaos",
            secret=self.webhook_secret,
            tokens=tokens,
            limited=self.issuer.token(client_id="greedy", **valid),
            farm=1,
            changed=[1, 2],
            quoted=list(range(101, 201)),
        )

    def root(self) -> AbstractContextManager[Any]:
        """A connection to MySQL that may do anything, past the proxy."""
        return as_root(self.mysql.folder, "farmlokal")

    def ask_redis(self, *command: str | int) -> object:
        with redis.Redis.from_url(self.redis.url) as client:
            return client.execute_command(*command)
