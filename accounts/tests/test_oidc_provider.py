"""A certified provider, npm's oidc-provider: it issues our own tokens, and the tokens of our clients."""

from __future__ import annotations

import base64
import json
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote_plus, urlencode

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from django.test import Client
from jwt.algorithms import RSAAlgorithm
from pytest_django.fixtures import Settings

from accounts import tokens
from accounts.models import ApiClient
from accounts.tests.memory import clean_slate
from dev.testing.issuer import AUDIENCE
from dev.testing.npm import install_script
from dev.testing.servers import free_port

pytestmark = pytest.mark.django_db

SECRET = "{}: a secret & 100 %"


@pytest.fixture(scope="module")
def script() -> str:
    return install_script("accounts/tests/oidc", "provider.mjs")


def key(key_id: str) -> dict[str, Any]:
    private = rsa.generate_private_key(65537, 2048)
    return {**RSAAlgorithm.to_jwk(private, as_dict=True), "kid": key_id, "use": "sig", "alg": "RS256"}


@contextmanager
def running(script: str, port: int, *keys: dict[str, Any]) -> Iterator[None]:
    """The first key signs."""
    process = subprocess.Popen(
        ["node", script, str(port), json.dumps({"keys": keys})], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        yield
    finally:
        process.kill()
        process.wait()


def issued(port: int, client_id: str, **form: str) -> str:
    """Requested like a client of ours does, without our code."""
    credentials = base64.b64encode(f"{client_id}:{quote_plus(SECRET.format(client_id))}".encode()).decode()
    body = urlencode({"grant_type": "client_credentials", **form}).encode()
    request = urllib.request.Request(  # it is http
        f"http://127.0.0.1:{port}/token", body, {"Authorization": f"Basic {credentials}"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        token: str = json.load(answer)["access_token"]
        return token


def test_oidc_provider_issues_and_signs_tokens(script: str, client: Client, settings: Settings) -> None:
    clean_slate()
    port = free_port()
    base, old, new = f"http://127.0.0.1:{port}", key("old"), key("new")
    settings.OAUTH_TOKEN_URL, settings.OAUTH_CLIENT_ID = f"{base}/token", "farmlokal"
    settings.OAUTH_CLIENT_SECRET = SECRET.format("farmlokal")
    settings.OAUTH_SCOPE, settings.OAUTH_AUDIENCE = "quotes:read", ""
    settings.OAUTH_ISSUER, settings.OAUTH_JWKS_URL, settings.OAUTH_API_AUDIENCE = base, f"{base}/jwks", AUDIENCE
    ApiClient.objects.create(client_id="shop", name="A shop")

    def get(token: str) -> Any:
        return client.get("/products?limit=1", headers={"Authorization": f"Bearer {token}"})

    def post(token: str) -> Any:
        headers = {"Authorization": f"Bearer {token}"}
        return client.post("/products", {}, content_type="application/json", headers=headers)

    with running(script, port, old):
        ours = tokens.get_access_token()
        assert jwt.decode(ours, options={"verify_signature": False})["client_id"] == "farmlokal"
        assert tokens.get_access_token() == ours
        reader, writer = issued(port, "shop"), issued(port, "shop", scope="catalogue:write", resource=AUDIENCE)
        assert get(reader).status_code == 200
        assert post(reader).status_code == 403
        assert post(writer).status_code == 400  # allowed, but the body is empty
        other = issued(port, "shop", resource="https://else.example")
        assert get(other).status_code == 401
        assert get(issued(port, "farmlokal")).status_code == 401  # no registered client
    with running(script, port, new, old):
        assert get(issued(port, "shop")).status_code == 200  # signed by the new key
        assert get(reader).status_code == 200  # signed by the old key
    tokens.reject(ours)
    with running(script, port, new):
        assert tokens.get_access_token() != ours
