"""The sandbox: its tokens, its quotes and its faults."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jwt
import pytest
import requests
from django.test import Client
from pytest_django.fixtures import Settings

from accounts import tokens
from accounts.models import ApiClient
from accounts.tests.memory import clean_slate
from dev.testing.partner import partner

pytestmark = pytest.mark.django_db


@contextmanager
def running_command(*options: str) -> Iterator[str]:
    command = [sys.executable, "manage.py", "partner_sandbox", "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    (url,) = re.findall(r"http://[a-z0-9.:]+", process.stdout.readline())
    try:
        yield url
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def url() -> Iterator[str]:
    clean_slate()
    with partner() as sandbox:
        yield sandbox.url


def token_response(url: str, client_id: str = "demo", secret: str = "demo-secret", **form: str) -> requests.Response:
    data = {"grant_type": "client_credentials", **form}
    return requests.post(f"{url}/oauth/token", data, auth=(client_id, secret), timeout=5)


def test_tokens_work_in_both_directions(url: str, client: Client, settings: Settings) -> None:
    settings.OAUTH_TOKEN_URL, settings.OAUTH_CLIENT_ID = f"{url}/oauth/token", "farmlokal"
    settings.OAUTH_CLIENT_SECRET = "farmlokal-secret"
    settings.OAUTH_ISSUER, settings.OAUTH_JWKS_URL = url, f"{url}/.well-known/jwks.json"
    settings.OAUTH_API_AUDIENCE = "farmlokal"
    ours = jwt.decode(tokens.get_access_token(), options={"verify_signature": False})
    assert (ours["aud"], ours["client_id"], ours["scope"]) == ("partner", "farmlokal", "quotes:read")
    ApiClient.objects.create(client_id="demo", name="A demo")

    def post(token: str) -> Any:
        headers = {"Authorization": f"Bearer {token}"}
        return client.post("/products", {}, content_type="application/json", headers=headers)

    assert post(token_response(url).json()["access_token"]).status_code == 400  # allowed, but the body is empty
    assert post(token_response(url, scope=" ").json()["access_token"]).status_code == 403
    assert post(tokens.get_access_token()).status_code == 401  # for another audience


def test_command_sets_host_and_token_lifetime() -> None:
    with running_command("--host", "localhost", "--token-lifetime", "600") as url:
        token = token_response(url).json()["access_token"]
    assert re.fullmatch(r"http://localhost:\d+", url)
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["iss"], claims["exp"] - claims["iat"]) == (url, 600)


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"secret": "wrong"}, 401, "invalid_client"),
        ({"client_id": "unknown"}, 401, "invalid_client"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"scope": "everything"}, 400, "invalid_scope"),
    ],
)
def test_bad_token_requests_are_refused(url: str, changes: dict[str, str], status: int, error: str) -> None:
    answer = token_response(url, **changes)
    assert (answer.status_code, answer.json()) == (status, {"error": error})


@pytest.mark.parametrize(
    "authorization", ["", "Basic", "Basic !!!", "Basic " + base64.b64encode(b"\xff").decode(), "Bearer x"]
)
def test_malformed_credentials_are_refused(url: str, authorization: str) -> None:
    headers = {"Authorization": authorization}
    answer = requests.post(f"{url}/oauth/token", {"grant_type": "client_credentials"}, headers=headers, timeout=5)
    assert answer.status_code == 401


def quote(url: str, query: str = "product_id=7&pincode=560001", token: str = "") -> requests.Response:
    token = token or token_response(url, "farmlokal", "farmlokal-secret").json()["access_token"]
    return requests.get(f"{url}/v1/quotes?{query}", headers={"Authorization": f"Bearer {token}"}, timeout=5)


def test_quotes_need_a_partner_token(url: str) -> None:
    first = quote(url)
    assert first.status_code == 200
    assert first.json().keys() == {"available", "fee", "currency", "eta_hours"}
    assert quote(url).json() == first.json()
    assert quote(url, token="no token").status_code == 401
    assert quote(url, token=token_response(url).json()["access_token"]).status_code == 401  # for another audience
    assert quote(url, "product_id=7").status_code == 400


def test_faults_can_be_changed(url: str) -> None:
    def put(body: str) -> requests.Response:
        return requests.put(f"{url}/faults", body, timeout=5)

    assert put('{"error_rate": 1, "status": 429, "retry_after": 7}').status_code == 200
    assert (quote(url).status_code, quote(url).headers["Retry-After"]) == (429, "7")
    put('{"how": "bad-json"}')
    with pytest.raises(requests.JSONDecodeError):
        quote(url).json()
    put('{"latency_ms": 300}')
    assert quote(url).elapsed.total_seconds() >= 0.3
    report = requests.get(f"{url}/faults", timeout=5).json()
    assert (report["faults"]["latency_ms"], report["calls"]["quotes"]) == (300, 4)
    assert len(requests.get(f"{url}/arrivals", timeout=5).json()["arrivals"]) == 4
    put("{}")
    assert quote(url).status_code == 200


@pytest.mark.parametrize(
    "body",
    ["", "[]", "{", '{"how": "nicely"}', '{"error_rate": 2}', '{"latency_ms": "1"}', '{"rate": 1}', "[" * 60_000],
)
def test_bad_faults_are_refused(url: str, body: str) -> None:
    answer = requests.put(f"{url}/faults", body, timeout=5)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_other_requests_are_refused(url: str) -> None:
    assert requests.get(f"{url}/nothing", timeout=5).status_code == 404
    assert requests.post(f"{url}/nothing", timeout=5).status_code == 404
    assert requests.post(f"{url}/oauth/token", b"x" * 70_000, timeout=5).status_code == 413


def test_port_in_use_is_reported_in_one_line(url: str) -> None:
    port = url.rpartition(":")[2]
    command = [sys.executable, "manage.py", "partner_sandbox", "--port", port]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"port {port}: Address already in use" in done.stderr
    assert "Traceback" not in done.stderr
