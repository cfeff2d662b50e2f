"""Bearer tokens of API clients: accepted, refused, and what a check costs."""

from __future__ import annotations

import base64
import copy
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jwt
import pytest
import time_machine
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.test import Client
from pytest_django import DjangoAssertNumQueries
from pytest_django.fixtures import Settings
from werkzeug.wrappers import Response

from accounts import clients, keys, shared_value
from accounts.authentication import Caller, cached_caller, caller_of
from accounts.models import ApiClient
from accounts.tests.memory import clean_slate, forgetful
from dev.testing.issuer import Issuer, issuer
from dev.testing.offers import make_offer
from dev.testing.servers import free_port
from dev.testing.waiting import wait_until
from farmlokal.http.problems import Problem
from products.models import Product

pytestmark = pytest.mark.django_db

NOW = 1_795_000_000.0
LONG_SECONDS = 30


@pytest.fixture
def provider(settings: Settings) -> Iterator[Issuer]:
    """A token provider that the settings trust, before any fetch of its keys."""
    clean_slate()
    with issuer() as started:
        for name, value in started.settings.items():
            setattr(settings, name, value)
        yield started
    forgetful()


@pytest.fixture
def shop() -> ApiClient:
    return ApiClient.objects.create(client_id="shop", name="A shop", rate="50/3600")


def get(client: Client, token: str, target: str = "/products?limit=1", scheme: str = "Bearer") -> Any:
    return client.get(target, headers={"Authorization": f"{scheme} {token}"})


# Accepted


@pytest.mark.parametrize("key_id", ["rsa-1", "ec-1"])
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_rsa_and_ec_tokens_are_accepted(
    client: Client, provider: Issuer, shop: ApiClient, key_id: str, scheme: str
) -> None:
    assert get(client, provider.token(key_id), scheme=scheme).status_code == 200


@pytest.mark.parametrize(
    "claims",
    [
        {"client_id": "shop"},
        {"client_id": None, "azp": "shop"},
        {"client_id": None, "sub": "shop"},
        {"client_id": "shop", "azp": "other", "sub": "another"},
        {"aud": ["https://else.example", "https://api.farmlokal.example"]},
        {"iat": None},
        {"scope": "a b", "scp": None},
        {"scope": None, "scp": ["a", "b"]},
    ],
)
def test_usual_claims_are_accepted(client: Client, provider: Issuer, shop: ApiClient, claims: dict[str, Any]) -> None:
    assert get(client, provider.token(**claims)).status_code == 200


def test_clocks_may_differ_by_twenty_seconds(client: Client, provider: Issuer, shop: ApiClient) -> None:
    now = int(time.time())
    assert get(client, provider.token(nbf=now + 20)).status_code == 200
    assert get(client, provider.token(exp=now - 20)).status_code == 200


def test_token_from_the_future_is_told_as_a_clock_difference(
    client: Client, provider: Issuer, shop: ApiClient, caplog: pytest.LogCaptureFixture
) -> None:
    now = int(time.time())
    for token in (provider.token(iat=now + 45), provider.token(iat=now, nbf=now + 45)):
        refused = get(client, token)
        assert refused.status_code == 401
        assert "clocks of its provider and this service" in refused.json()["detail"]
    events = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    assert [event["event"] for event in events] == ["token_from_the_future"] * 2
    assert all(40 < event["seconds"] <= 45 for event in events)


def test_token_without_key_id_needs_a_single_key(client: Client, provider: Issuer, shop: ApiClient) -> None:
    assert get(client, provider.token(headers={"kid": None})).status_code == 200
    provider.add("rsa-2", rsa.generate_private_key(65537, 2048))
    clean_slate()
    assert get(client, provider.token(headers={"kid": None}, jti="another")).status_code == 401


def write(client: Client, token: str | None) -> Any:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    product: Product = make_offer(stock=3)
    return client.patch(f"/products/{product.pk}", {"stock": 4}, content_type="application/json", headers=headers)


def test_writes_need_the_scope(client: Client, provider: Issuer, shop: ApiClient) -> None:
    assert write(client, provider.token(scope="catalogue:read catalogue:write")).status_code == 200
    assert Product.history.first().history_user == "client A shop"
    refused = write(client, provider.token(scope="catalogue:writer"))
    assert (refused.status_code, refused.json()["code"]) == (403, "permission-denied")
    assert (
        refused["WWW-Authenticate"] == 'Bearer realm="farmlokal", error="insufficient_scope", scope="catalogue:write"'
    )
    anonymous = write(client, None)
    assert (anonymous.status_code, anonymous.json()["code"]) == (401, "not-authenticated")
    assert anonymous["WWW-Authenticate"] == 'Bearer realm="farmlokal"'


def test_idempotency_keys_of_clients_do_not_collide(client: Client, provider: Issuer, shop: ApiClient) -> None:
    ApiClient.objects.create(client_id="mill", name="A mill")
    farm = make_offer().farm
    body = {
        "name": "Rice",
        "commodity": "rice",
        "farm": farm.pk,
        "grade": "A",
        "price": "40.00",
        "unit": "kg",
        "stock": 1,
    }

    def post(client_id: str) -> Any:
        token = provider.token(client_id=client_id, scope="catalogue:write")
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": "k-1"}
        return client.post("/products", body, content_type="application/json", headers=headers)

    first, again, others = post("shop"), post("shop"), post("mill")
    assert [answer.status_code for answer in (first, again, others)] == [201, 201, 201], first.content
    assert first.json()["id"] == again.json()["id"] != others.json()["id"]


# Refused


def test_unknown_client_is_401_and_inactive_client_403(client: Client, provider: Issuer, shop: ApiClient) -> None:
    assert get(client, provider.token()).status_code == 200
    unknown = get(client, provider.token(client_id="unknown"))
    assert (unknown.status_code, unknown.json()["code"]) == (401, "not-authenticated")
    assert 'error="invalid_token"' in unknown["WWW-Authenticate"]
    for other in ("SHOP", "shop ", "shöp"):
        assert get(client, provider.token(client_id=other)).status_code == 401
    shop.is_active = False
    shop.save()
    clients.reset()
    inactive = get(client, provider.token())
    assert (inactive.status_code, inactive.json()["code"]) == (403, "permission-denied")
    assert inactive["WWW-Authenticate"].startswith("Bearer ")


def b64(part: Any) -> str:
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forged(provider: Issuer, header: dict[str, Any], secret: bytes, **claims: Any) -> str:
    """Signed by HMAC with the secret."""
    signed = f"{b64({'kid': 'rsa-1', 'alg': 'HS256'} | header)}.{b64(provider.claims(**claims))}"
    return f"{signed}.{b64(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


def pem(provider: Issuer) -> bytes:
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    public: bytes = provider.private["rsa-1"].public_key().public_bytes(serialization.Encoding.PEM, spki)
    return public


FOREIGN_KEY = rsa.generate_private_key(65537, 2048)


def foreign(provider: Issuer, **headers: Any) -> str:
    """Signed by a key that the provider does not have."""
    return jwt.encode(provider.claims(), FOREIGN_KEY, "RS256", {"kid": "rsa-1"} | headers)


def unsigned(provider: Issuer, algorithm: Any, signature: str = "") -> str:
    return f"{b64({'alg': algorithm, 'kid': 'rsa-1'})}.{b64(provider.claims())}.{signature}"


def changed(token: str, part: int, by: str) -> str:
    parts = token.split(".")
    parts[part] = by
    return ".".join(parts)


def past(seconds: int) -> int:
    return int(time.time()) - seconds


HOSTILE: dict[str, Callable[[Issuer], str]] = {
    # No JWT
    "nothing": lambda _: "",
    "a word": lambda _: "abracadabra",
    "dots": lambda _: "..",
    "four parts": lambda provider: provider.token() + ".more",
    "two parts": lambda provider: provider.token().rpartition(".")[0],
    "two tokens": lambda provider: f"{provider.token()} {provider.token()}",
    "with a comma": lambda provider: f"{provider.token()},{provider.token()}",
    "not base64": lambda provider: changed(provider.token(), 1, "!!!"),
    "not UTF-8": lambda provider: changed(provider.token(), 0, b64(b"\xff\xfe")),
    "not ASCII": lambda provider: provider.token() + "é",
    "nine kilobytes": lambda provider: provider.token(more="x" * 9000),
    "header no object": lambda provider: changed(provider.token(), 0, b64([1])),
    "header no JSON": lambda provider: changed(provider.token(), 0, b64(b"{")),
    "payload no object": lambda provider: jwt.api_jws.encode(
        b"[1]", provider.private["rsa-1"], "RS256", {"kid": "rsa-1"}
    ),
    "payload no JSON": lambda provider: jwt.api_jws.encode(b"{", provider.private["rsa-1"], "RS256", {"kid": "rsa-1"}),
    "payload deep": lambda provider: jwt.api_jws.encode(
        b"[" * 4000, provider.private["rsa-1"], "RS256", {"kid": "rsa-1"}
    ),
    # Not signed by the provider
    "alg none": lambda provider: unsigned(provider, "none"),
    "alg None": lambda provider: unsigned(provider, "None"),
    "alg NONE, with a signature": lambda provider: unsigned(provider, "NONE", "AAAA"),
    "alg missing": lambda provider: f"{b64({'kid': 'rsa-1'})}.{b64(provider.claims())}.AAAA",
    "alg null": lambda provider: unsigned(provider, None, "AAAA"),
    "alg a list": lambda provider: unsigned(provider, ["RS256"], "AAAA"),
    "alg of another case": lambda provider: changed(provider.token(), 0, b64({"alg": "rs256", "kid": "rsa-1"})),
    "HS256 with the public key": lambda provider: forged(provider, {}, pem(provider)),
    "HS256 with the public key, stripped": lambda provider: forged(provider, {}, pem(provider).strip()),
    "HS256 with the modulus": lambda provider: forged(provider, {}, provider.public[0]["n"].encode()),
    "HS256 with nothing": lambda provider: forged(provider, {}, b""),
    "HS256 that says RS256": lambda provider: forged(provider, {"alg": "RS256"}, pem(provider)),
    "RS384": lambda provider: jwt.encode(provider.claims(), provider.private["rsa-1"], "RS384", {"kid": "rsa-1"}),
    "PS256": lambda provider: jwt.encode(provider.claims(), provider.private["rsa-1"], "PS256", {"kid": "rsa-1"}),
    "a foreign key": foreign,
    "a foreign key, unknown": lambda provider: foreign(provider, kid="new"),
    "a foreign key in the header": lambda provider: foreign(
        provider, jwk=jwt.algorithms.RSAAlgorithm.to_jwk(FOREIGN_KEY.public_key(), as_dict=True)
    ),
    "a foreign key by address": lambda provider: foreign(provider, jku=f"{provider.url}/evil"),
    "a foreign certificate": lambda provider: foreign(provider, x5u=f"{provider.url}/evil", x5c=["AAAA"]),
    "RS256 with the other key's id": lambda provider: provider.token(headers={"kid": "ec-1"}),
    "ES256 with the other key's id": lambda provider: provider.token("ec-1", headers={"kid": "rsa-1"}),
    "a key id that is a path": lambda provider: provider.token(headers={"kid": "../../dev/null"}),
    "a key id that is a number": lambda provider: f"{b64({'alg': 'RS256', 'kid': 7})}.{b64(provider.claims())}.AAAA",
    "a key id that is empty": lambda provider: provider.token(headers={"kid": ""}),
    "ES256 with a key of its own": lambda provider: jwt.encode(
        provider.claims(), ec.generate_private_key(ec.SECP256R1()), "ES256", {"kid": "ec-1"}
    ),
    "an empty signature": lambda provider: changed(provider.token(), 2, ""),
    "half a signature": lambda provider: provider.token()[:-100],
    "another token's signature": lambda provider: changed(provider.token(), 2, provider.token(jti="2").split(".")[2]),
    "a changed payload": lambda provider: changed(provider.token(), 1, b64(provider.claims(scope="catalogue:write"))),
    "zeros for a signature": lambda provider: changed(provider.token("ec-1"), 2, b64(bytes(64))),
    "crit": lambda provider: provider.token(headers={"crit": ["exp"]}),
    "an unencoded payload": lambda provider: provider.token(headers={"b64": False, "crit": ["b64"]}),
    "a logout token": lambda provider: provider.token(headers={"typ": "logout+jwt"}),
    # For another service or another time
    "expired": lambda provider: provider.token(exp=past(31)),
    "not yet": lambda provider: provider.token(nbf=past(-60)),
    "issued in the future": lambda provider: provider.token(iat=past(-60)),
    "without exp": lambda provider: provider.token(exp=None),
    "exp a text": lambda provider: provider.token(exp="tomorrow"),
    "exp infinite": lambda provider: provider.token(exp=float("inf")),
    "exp not a number": lambda provider: provider.token(exp=float("nan")),
    "exp a list": lambda provider: provider.token(exp=[1]),
    "another issuer": lambda provider: provider.token(iss="https://else.example"),
    "an issuer with another slash": lambda provider: provider.token(iss=provider.url + "/"),
    "without iss": lambda provider: provider.token(iss=None),
    "iss a list": lambda provider: provider.token(iss=[provider.url]),
    "another audience": lambda provider: provider.token(aud="https://else.example"),
    "without aud": lambda provider: provider.token(aud=None),
    "aud empty": lambda provider: provider.token(aud=[]),
    "aud a number": lambda provider: provider.token(aud=7),
    "client a number": lambda provider: provider.token(client_id=7),
    "client half a surrogate pair": lambda provider: provider.token(client_id="\ud800"),
    "client empty": lambda provider: provider.token(client_id=""),
    "client too long": lambda provider: provider.token(client_id="x" * 300),
    "no client": lambda provider: provider.token(client_id=None, sub=None),
    "scope a number": lambda provider: provider.token(scope=7),
    "scopes numbers": lambda provider: provider.token(scope=[7]),
}


@pytest.mark.parametrize("attack", HOSTILE)
def test_hostile_token_is_401(
    client: Client, provider: Issuer, shop: ApiClient, attack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def view(*_: Any, **__: Any) -> Any:
        pytest.fail("the request has reached a view")

    monkeypatch.setattr("products.views.cached_response", view)
    monkeypatch.setattr("products.views.services.change_locked", view)
    token = HOSTILE[attack](provider)
    for refused in (get(client, token), write(client, token or " ")):
        assert (refused.status_code, refused["Content-Type"]) == (401, "application/problem+json")
        assert refused.json()["code"] == "not-authenticated"
        assert refused["WWW-Authenticate"].startswith('Bearer realm="farmlokal", error="invalid_token"')
        assert not token or token not in refused.content.decode()
    assert provider.fetches <= 2


def test_hostile_tokens_cost_one_fetch_of_keys_a_minute(provider: Issuer, shop: ApiClient, client: Client) -> None:
    assert len(HOSTILE) >= 40
    with time_machine.travel(NOW, tick=False) as clock:
        assert get(client, provider.token()).status_code == 200
        clock.shift(2)
        for attack in HOSTILE.values():
            assert get(client, attack(provider)).status_code == 401
        for number in range(50):
            assert get(client, foreign(provider, kid=f"key-{number}")).status_code == 401
    assert provider.fetches == 2  # for the first token, and for the first unknown key


def test_token_without_configured_provider_is_401(
    client: Client, provider: Issuer, shop: ApiClient, settings: Settings
) -> None:
    settings.OAUTH_ISSUER = ""
    assert get(client, provider.token()).status_code == 401


@pytest.mark.parametrize("scheme", ["Basic", "Digest", "bearerer"])
def test_other_scheme_is_anonymous(client: Client, provider: Issuer, scheme: str) -> None:
    assert get(client, "Zm9vOmJhcg==", scheme=scheme).status_code == 200


def test_token_matters_on_rate_limited_routes_only(client: Client, provider: Issuer, settings: Settings) -> None:
    settings.METRICS_TOKEN = "for-prometheus"
    assert get(client, "for-prometheus", "/metrics").status_code == 200
    assert get(client, "anything", "/livez").status_code == 200
    assert get(client, "anything", "/openapi.json").status_code == 200
    assert provider.fetches == 0


# Keys


def test_rotated_keys_replace_the_old_ones(client: Client, provider: Issuer, shop: ApiClient) -> None:
    old = provider.token()
    assert get(client, old).status_code == 200
    provider.rotate("rsa-2")
    assert get(client, provider.token("rsa-2")).status_code == 200
    assert get(client, old).status_code == 401  # although it was checked before
    assert provider.fetches == 2


def test_all_processes_follow_a_rotation_at_once(provider: Issuer) -> None:
    def has_key(_: int) -> bool:
        key, _number = keys.key_for("RS256", "rsa-2", time.monotonic() + LONG_SECONDS)
        return key.key_id == "rsa-2"

    keys.key_for("RS256", "rsa-1", time.monotonic() + LONG_SECONDS)
    late_process = copy.copy(keys.SET)
    provider.rotate("rsa-2")
    with ThreadPoolExecutor(8) as threads, pytest.MonkeyPatch.context() as patch:
        assert all(threads.map(has_key, range(8)))
        patch.setattr(keys, "SET", late_process)
        assert all(threads.map(has_key, range(8)))
    assert provider.fetches == 2


def test_checked_tokens_also_cause_the_next_fetch_of_keys(provider: Issuer, shop: ApiClient) -> None:
    authorization = f"Bearer {provider.token(exp=int(NOW) + 3600, iat=None)}"
    with time_machine.travel(NOW, tick=False) as clock:
        caller_of(authorization)
        clock.shift(275)
        cached_caller(authorization)
        wait_until(lambda: provider.fetches == 2)


def test_silent_provider_delays_only_the_first_token(
    client: Client, provider: Issuer, shop: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_over = threading.Event()

    def answer() -> Response:
        is_over.wait(LONG_SECONDS)
        return Response("", 500)

    provider.answer = answer
    monkeypatch.setattr(shared_value, "FETCH_SECONDS", 0.2)
    with time_machine.travel(NOW, tick=False):
        statuses = [get(client, provider.token(jti=str(n))).status_code for n in range(6)]
    is_over.set()
    assert statuses == [503] * 6
    assert provider.fetches == 1


def test_removed_key_is_trusted_for_five_minutes(client: Client, provider: Issuer, shop: ApiClient) -> None:
    with time_machine.travel(NOW, tick=False) as clock:
        token = provider.token(exp=int(NOW) + 3600)
        assert get(client, token).status_code == 200
        provider.rotate("rsa-2")
        clock.shift(299)
        assert get(client, token).status_code == 200
        clock.shift(2)
        assert get(client, token).status_code == 401


def test_processes_share_the_key_set(client: Client, provider: Issuer, shop: ApiClient) -> None:
    for _ in range(5):
        assert get(client, provider.token()).status_code == 200
        forgetful()
    assert provider.fetches == 1


@pytest.mark.parametrize(
    "answer",
    [
        lambda: Response("", 500),
        lambda: Response("", 404),
        lambda: Response("<html>"),
        lambda: Response('{"keys": []}'),
        lambda: Response('{"keys": 7}'),
        lambda: Response("[]"),
        lambda: Response('{"keys": [{"kty": "RSA"}]}'),
        lambda: Response(b"\xff"),
    ],
)
def test_unusable_key_set_is_503(client: Client, provider: Issuer, shop: ApiClient, answer: Any) -> None:
    provider.answer = answer
    refused = get(client, provider.token())
    assert (refused.status_code, refused.json()["code"]) == (503, "auth-unavailable")
    assert int(refused["Retry-After"]) >= 1
    assert client.get("/products?limit=1").status_code == 200


def test_known_keys_serve_while_the_provider_is_away(client: Client, provider: Issuer, shop: ApiClient) -> None:
    with time_machine.travel(NOW, tick=False) as clock:
        assert get(client, provider.token()).status_code == 200
        provider.answer = lambda: Response("", 500)
        clock.shift(280)
        assert get(client, provider.token()).status_code == 200
        assert get(client, provider.token(headers={"kid": "unknown"})).status_code == 503


# Costs


def test_checked_token_costs_nothing(
    provider: Issuer, shop: ApiClient, django_assert_num_queries: DjangoAssertNumQueries, settings: Settings
) -> None:
    authorization = f"Bearer {provider.token(scope='catalogue:write')}"
    assert cached_caller(authorization) is None
    caller = caller_of(authorization)
    assert caller == Caller(shop, frozenset(["catalogue:write"]))
    settings.OAUTH_JWKS_URL = f"http://127.0.0.1:{free_port()}/"
    with django_assert_num_queries(0):
        assert cached_caller(authorization) == caller_of(authorization) == caller
    with time_machine.travel(time.time() + 631):
        assert cached_caller(authorization) is None


def test_client_is_read_once_in_five_seconds(
    provider: Issuer, shop: ApiClient, django_assert_num_queries: DjangoAssertNumQueries, client: Client
) -> None:
    get(client, provider.token())
    with django_assert_num_queries(0):
        statuses = [get(client, provider.token(jti=f"{n}"), "/products?limit=0").status_code for n in range(3)]
    assert statuses == [400] * 3  # the query is checked after the caller


def test_deactivated_client_is_refused_after_five_seconds(
    provider: Issuer, shop: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    authorization, now = f"Bearer {provider.token()}", 1000.0
    monkeypatch.setattr(clients, "monotonic", lambda: now)
    caller_of(authorization)
    ApiClient.objects.update(is_active=False)
    now += 4.9
    assert cached_caller(authorization) == caller_of(authorization) == Caller(shop, frozenset())
    now += 0.2
    assert cached_caller(authorization) is None
    with pytest.raises(Problem) as refused:
        caller_of(authorization)
    assert refused.value.code == "permission-denied"
    assert cached_caller(authorization) is None


def test_expired_client_serves_while_mysql_is_away(
    provider: Issuer, shop: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: Any) -> Any:
        raise OperationalError(2006, "MySQL server has gone away")

    authorization, now = f"Bearer {provider.token()}", 1000.0
    monkeypatch.setattr(clients, "monotonic", lambda: now)
    caller_of(authorization)
    monkeypatch.setattr(ApiClient.objects, "filter", fail)
    now += 60
    assert caller_of(authorization) == Caller(shop, frozenset())
    clients.reset()
    with pytest.raises(OperationalError):
        caller_of(authorization)


# Limits


def test_each_client_has_its_own_limit(client: Client, provider: Issuer, shop: ApiClient, settings: Settings) -> None:
    settings.RATE_LIMIT_ANONYMOUS, settings.RATE_LIMIT_CLIENT = (3, 3600), (70, 60)
    ApiClient.objects.create(client_id="mill", name="A mill")
    ApiClient.objects.create(client_id="depot", name="A depot", rate="off")
    policies = [
        get(client, provider.token(client_id=name)).get("RateLimit-Policy") for name in ("shop", "mill", "depot")
    ]
    assert policies == ['"client";q=50;w=3600', '"client";q=70;w=60', None]
    assert get(client, provider.token())["RateLimit"].startswith('"client";r=48;')
    assert client.get("/products?limit=1")["RateLimit-Policy"] == '"anonymous";q=3;w=3600'
    assert [get(client, "junk").status_code for _ in range(3)] == [401, 401, 429]  # counted for its address


# Administration


def test_create_api_client(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("create_api_client", "shop", "--name", "A shop", "--rate", "5/1")
    created = ApiClient.objects.get()
    assert (created.client_id, created.name, created.rate, created.is_active) == ("shop", "A shop", "5/1", True)
    assert "shop may call the API, at 5/1" in capsys.readouterr().out
    call_command("create_api_client", "shop", "--if-missing")
    for bad in (["shop"], [""], [" a"], ["é"], ["other", "--rate", "many"]):
        with pytest.raises(CommandError):
            call_command("create_api_client", *bad)
    assert ApiClient.objects.count() == 1


def test_staff_manage_clients(admin_client: Client) -> None:
    page = "/admin/accounts/apiclient/"
    added = admin_client.post(f"{page}add/", {"client_id": "shop", "name": "A shop", "rate": "7/1", "is_active": "on"})
    assert added.status_code == 302
    shop = ApiClient.objects.get()
    assert shop.policy
    assert shop.policy.header == '"client";q=7;w=1'
    refused = admin_client.post(f"{page}{shop.pk}/change/", {"name": "A shop", "rate": "7 a second"})
    assert "must be off, or requests/seconds" in refused.content.decode()
    admin_client.post(f"{page}{shop.pk}/change/", {"name": "A shop", "rate": ""})
    assert not ApiClient.objects.get().is_active
    assert "A shop" in admin_client.get(page).content.decode()
