"""The whole service on private servers: a seeded catalogue, the sandbox as partner and provider, and two workers."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from django.core.management import call_command
from redis import Redis

from dev.bench.stacks import FOLDER, OURS, Server, running
from dev.testing.partner import partner, settings_for
from integrations.sandbox.server import REGISTERED, TOKEN_PATH
from integrations.webhooks.signing_secrets import generate

CLIENT = "demo"
NO_LIMIT = "1000000/1"  # the limiter counts each request, and refuses none
REDIS_BYTES = "256mb"


class Service(NamedTuple):
    server: Server
    sandbox_url: str
    webhook_secret: str
    metrics: Path  # PROMETHEUS_MULTIPROC_DIR
    log: Path

    @property
    def url(self) -> str:
        return self.server.url("")

    @property
    def secrets(self) -> Mapping[str, str]:
        """The environment of locustfile.py."""
        return {
            "LOAD_TOKEN_URL": self.sandbox_url + TOKEN_PATH,
            "LOAD_CLIENT_ID": CLIENT,
            "LOAD_CLIENT_SECRET": REGISTERED[CLIENT].secret,
            "LOAD_WEBHOOK_SECRET": self.webhook_secret,
        }


@contextmanager
def whole_service(rows: int) -> Iterator[Service]:
    """Replaces the catalogue of DATABASE_URL, and empties Redis. Logs and metrics are on, as in production."""
    call_command("migrate", verbosity=0)
    call_command("seed_products", rows, "--reset")
    call_command("create_api_client", CLIENT, "--rate", NO_LIMIT, "--if-missing")
    with Redis.from_url(os.environ["REDIS_URL"]) as redis:
        redis.flushdb()
        redis.config_set("maxmemory", REDIS_BYTES)
    secret = generate()
    with partner() as sandbox, tempfile.TemporaryDirectory() as metrics:
        issuer = {
            "OAUTH_ISSUER": sandbox.url,
            "OAUTH_JWKS_URL": f"{sandbox.url}/.well-known/jwks.json",
            "OAUTH_API_AUDIENCE": REGISTERED[CLIENT].audience,
        }
        environment = {
            **settings_for(sandbox),
            **issuer,
            "PARTNER_WEBHOOK_SECRETS": secret,
            "PROMETHEUS_MULTIPROC_DIR": metrics,
        }
        with running(OURS, logs="on", **environment) as server:
            yield Service(server, sandbox.url, secret, Path(metrics), FOLDER / f"{OURS.lower()}.log")
