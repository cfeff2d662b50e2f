"""Django's debug page hides the service's secrets."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest

from dev.testing.servers import Server, running

SECRETS = {
    "SECRET_KEY": "django-secret-" + "x" * 50,
    "SECRET_KEY_FALLBACKS": "fallback-secret-" + "x" * 50,
    "OAUTH_CLIENT_SECRET": "oauth-secret",
    "METRICS_TOKEN": "metrics-secret",
    "PARTNER_WEBHOOK_SECRETS": "whsec_d2ViaG9vay1zZWNyZXQtd2ViaG9vay1zZWNyZXQ=",
}
DATABASE_PASSWORD = "database@secret"
REDIS_PASSWORD = "redis@secret"
PASSWORDS = [DATABASE_PASSWORD, REDIS_PASSWORD]
HIDDEN = [*SECRETS.values(), *PASSWORDS, *map(quote, PASSWORDS)]


@pytest.fixture(scope="module")
def server(database_environment: dict[str, str]) -> Iterator[Server]:
    """A service whose MySQL and Redis do not answer."""
    with running(
        database_environment,
        **SECRETS,
        DEBUG="on",
        WEB_CONCURRENCY="1",
        DATABASE_URL=f"mysql://farmlokal:{quote(DATABASE_PASSWORD)}@127.0.0.1:1/farmlokal",
        REDIS_URL=f"redis://:{quote(REDIS_PASSWORD)}@127.0.0.1:1/0",
        OAUTH_TOKEN_URL="https://provider.example/token",
        OAUTH_CLIENT_ID="farmlokal",
        PARTNER_API_URL="https://partner.example",
    ) as server:
        yield server


def assert_hidden(page: str) -> None:
    assert "REDIS_URL" in page
    assert "OAUTH_CLIENT_SECRET" in page
    assert [secret for secret in HIDDEN if secret in page] == []


@pytest.mark.parametrize("media_type", ["text/html", "text/plain"])
def test_page_of_an_unknown_host_hides_secrets(server: Server, media_type: str) -> None:
    answer = server.request("/products", host="evil.example", Accept=media_type)
    assert answer.status == 400
    assert answer.headers["content-type"].startswith(media_type)
    assert_hidden(answer.body.decode())


@pytest.mark.parametrize("media_type", ["text/html", "text/plain"])
def test_page_of_a_database_failure_hides_secrets(server: Server, media_type: str) -> None:
    """The traceback has frames with the parameters of the connection."""
    answer = server.request("/admin/", Cookie=f"sessionid={'s' * 32}", Accept=media_type)
    assert answer.status == 500
    assert "OperationalError" in answer.body.decode()
    assert_hidden(answer.body.decode())
