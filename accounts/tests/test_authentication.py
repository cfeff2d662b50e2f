"""Bearer tokens of our consumers: who may, who may not, and what the checking costs."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import jwt
import pytest
import time_machine
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from django.core.management import CommandError, call_command
from werkzeug.wrappers import Response

from accounts import authentication, clients, keys
from accounts.authentication import Caller, cached_caller, caller_of
from accounts.models import ApiClient
from accounts.tests.memory import clean_slate, forgetful
from dev.testing.issuer import Issuer, issuer
from dev.testing.offers import make_offer
from dev.testing.servers import free_port
from dev.testing.waiting import wait_until
from farmlokal.http.problems import Problem
from products.models import Product

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.test import Client
    from pytest_django import DjangoAssertNumQueries
    from pytest_django.fixtures import Settings

    from products.models import Product

pytestmark = pytest.mark.django_db

NOW = 1_795_000_000.0


@pytest.fixture
def given(settings: Settings) -> Iterator[Issuer]:
    """A provider that this process, which remembers nothing, believes."""
    clean_slate()
    with issuer() as found:
        for name, value in found.settings.items():
            setattr(settings, name, value)
        yield found
    forgetful()


@pytest.fixture
def shop() -> ApiClient:
    return ApiClient.objects.create(client_id="shop", name="A shop", rate="50/10")


def get(client: Client, token: str, target: str = "/products?limit=1", scheme: str = "Bearer") -> Any:
    return client.get(target, headers={"Authorization": f"{scheme} {token}"})


# Who may


@pytest.mark.parametrize("key_id", ["rsa-1", "ec-1"])
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_token_of_either_kind_is_accepted(
    client: Client, given: Issuer, shop: ApiClient, key_id: str, scheme: str
) -> None:
    assert get(client, given.token(key_id), scheme=scheme).status_code == 200


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
def test_claims_that_are_accepted(client: Client, given: Issuer, shop: ApiClient, claims: dict[str, Any]) -> None:
    assert get(client, given.token(**claims)).status_code == 200


def test_clocks_may_differ_by_half_a_minute(client: Client, given: Issuer, shop: ApiClient) -> None:
    now = int(time.time())
    assert get(client, given.token(nbf=now + 20)).status_code == 200
    assert get(client, given.token(exp=now - 20)).status_code == 200


def test_without_a_key_id_where_there_is_but_one_key(client: Client, given: Issuer, shop: ApiClient) -> None:
    assert get(client, given.token(headers={"kid": None})).status_code == 200
    given.add("rsa-2", rsa.generate_private_key(65537, 2048))
    clean_slate()
    assert get(client, given.token(headers={"kid": None}, jti="another")).status_code == 401


def write(client: Client, token: str | None) -> Any:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    product: Product = make_offer(stock=3)
    return client.patch(f"/products/{product.pk}", {"stock": 4}, content_type="application/json", headers=headers)


def test_writes_take_the_scope(client: Client, given: Issuer, shop: ApiClient) -> None:
    assert write(client, given.token(scope="catalogue:read catalogue:write")).status_code == 200
    refused = write(client, given.token(scope="catalogue:writer"))
    assert (refused.status_code, refused.json()["code"]) == (403, "permission-denied")
    assert (
        refused["WWW-Authenticate"] == 'Bearer realm="farmlokal", error="insufficient_scope", scope="catalogue:write"'
    )
    nobody = write(client, None)
    assert (nobody.status_code, nobody.json()["code"]) == (401, "not-authenticated")
    assert nobody["WWW-Authenticate"] == 'Bearer realm="farmlokal"'


def test_an_idempotency_key_is_the_clients_own(client: Client, given: Issuer, shop: ApiClient) -> None:
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
        token = given.token(client_id=client_id, scope="catalogue:write")
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": "k-1"}
        return client.post("/products", body, content_type="application/json", headers=headers)

    first, again, others = post("shop"), post("shop"), post("mill")
    assert [answer.status_code for answer in (first, again, others)] == [201, 201, 201], first.content
    assert first.json()["id"] == again.json()["id"] != others.json()["id"]


# Who may not


def test_an_unknown_client_is_401_and_one_that_is_switched_off_403(
    client: Client, given: Issuer, shop: ApiClient
) -> None:
    assert get(client, given.token()).status_code == 200
    unknown = get(client, given.token(client_id="nobody"))
    assert (unknown.status_code, unknown.json()["code"]) == (401, "not-authenticated")
    assert 'error="invalid_token"' in unknown["WWW-Authenticate"]
    for other in ("SHOP", "shop ", "shöp"):
        assert get(client, given.token(client_id=other)).status_code == 401
    shop.is_active = False
    shop.save()
    clients.reset()
    off = get(client, given.token())
    assert (off.status_code, off.json()["code"]) == (403, "permission-denied")
    assert off["WWW-Authenticate"].startswith("Bearer ")


def b64(part: Any) -> str:
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forged(given: Issuer, header: dict[str, Any], secret: bytes, **claims: Any) -> str:
    """Signed by HMAC with this."""
    signed = f"{b64({'kid': 'rsa-1', 'alg': 'HS256'} | header)}.{b64(given.claims(**claims))}"
    return f"{signed}.{b64(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


def pem(given: Issuer) -> bytes:
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    public: bytes = given.private["rsa-1"].public_key().public_bytes(serialization.Encoding.PEM, spki)
    return public


STRANGER = rsa.generate_private_key(65537, 2048)


def foreign(given: Issuer, **headers: Any) -> str:
    """Signed by a key that the provider does not have."""
    return jwt.encode(given.claims(), STRANGER, "RS256", {"kid": "rsa-1"} | headers)


def unsigned(given: Issuer, algorithm: Any, signature: str = "") -> str:
    return f"{b64({'alg': algorithm, 'kid': 'rsa-1'})}.{b64(given.claims())}.{signature}"


def changed(token: str, part: int, by: str) -> str:
    parts = token.split(".")
    parts[part] = by
    return ".".join(parts)


def past(seconds: int) -> int:
    return int(time.time()) - seconds


HOSTILE: dict[str, Callable[[Issuer], str]] = {
    # No JWT at all
    "nothing": lambda _: "",
    "a word": lambda _: "abracadabra",
    "dots": lambda _: "..",
    "four parts": lambda given: given.token() + ".more",
    "two parts": lambda given: given.token().rpartition(".")[0],
    "two tokens": lambda given: f"{given.token()} {given.token()}",
    "with a comma": lambda given: f"{given.token()},{given.token()}",
    "not base64": lambda given: changed(given.token(), 1, "!!!"),
    "not UTF-8": lambda given: changed(given.token(), 0, b64(b"\xff\xfe")),
    "not ASCII": lambda given: given.token() + "é",
    "nine kilobytes": lambda given: given.token(more="x" * 9000),
    "header no object": lambda given: changed(given.token(), 0, b64([1])),
    "header no JSON": lambda given: changed(given.token(), 0, b64(b"{")),
    "payload no object": lambda given: jwt.api_jws.encode(b"[1]", given.private["rsa-1"], "RS256", {"kid": "rsa-1"}),
    "payload no JSON": lambda given: jwt.api_jws.encode(b"{", given.private["rsa-1"], "RS256", {"kid": "rsa-1"}),
    "payload deep": lambda given: jwt.api_jws.encode(b"[" * 4000, given.private["rsa-1"], "RS256", {"kid": "rsa-1"}),
    # Not signed by the provider
    "alg none": lambda given: unsigned(given, "none"),
    "alg None": lambda given: unsigned(given, "None"),
    "alg NONE, with a signature": lambda given: unsigned(given, "NONE", "AAAA"),
    "alg missing": lambda given: f"{b64({'kid': 'rsa-1'})}.{b64(given.claims())}.AAAA",
    "alg null": lambda given: unsigned(given, None, "AAAA"),
    "alg a list": lambda given: unsigned(given, ["RS256"], "AAAA"),
    "alg of another case": lambda given: changed(given.token(), 0, b64({"alg": "rs256", "kid": "rsa-1"})),
    "HS256 with the public key": lambda given: forged(given, {}, pem(given)),
    "HS256 with the public key, stripped": lambda given: forged(given, {}, pem(given).strip()),
    "HS256 with the modulus": lambda given: forged(given, {}, given.public[0]["n"].encode()),
    "HS256 with nothing": lambda given: forged(given, {}, b""),
    "HS256 that says RS256": lambda given: forged(given, {"alg": "RS256"}, pem(given)),
    "RS384": lambda given: jwt.encode(given.claims(), given.private["rsa-1"], "RS384", {"kid": "rsa-1"}),
    "PS256": lambda given: jwt.encode(given.claims(), given.private["rsa-1"], "PS256", {"kid": "rsa-1"}),
    "a stranger's key": foreign,
    "a stranger's key, unknown": lambda given: foreign(given, kid="new"),
    "a stranger's key in the header": lambda given: foreign(
        given, jwk=jwt.algorithms.RSAAlgorithm.to_jwk(STRANGER.public_key(), as_dict=True)
    ),
    "a stranger's key by address": lambda given: foreign(given, jku=f"{given.url}/evil"),
    "a stranger's certificate": lambda given: foreign(given, x5u=f"{given.url}/evil", x5c=["AAAA"]),
    "RS256 with the other key's id": lambda given: given.token(headers={"kid": "ec-1"}),
    "ES256 with the other key's id": lambda given: given.token("ec-1", headers={"kid": "rsa-1"}),
    "a key id that is a path": lambda given: given.token(headers={"kid": "../../dev/null"}),
    "a key id that is a number": lambda given: f"{b64({'alg': 'RS256', 'kid': 7})}.{b64(given.claims())}.AAAA",
    "a key id that is empty": lambda given: given.token(headers={"kid": ""}),
    "ES256 with a key of its own": lambda given: jwt.encode(
        given.claims(), ec.generate_private_key(ec.SECP256R1()), "ES256", {"kid": "ec-1"}
    ),
    "an empty signature": lambda given: changed(given.token(), 2, ""),
    "half a signature": lambda given: given.token()[:-100],
    "another token's signature": lambda given: changed(given.token(), 2, given.token(jti="2").split(".")[2]),
    "a changed payload": lambda given: changed(given.token(), 1, b64(given.claims(scope="catalogue:write"))),
    "zeros for a signature": lambda given: changed(given.token("ec-1"), 2, b64(bytes(64))),
    "crit": lambda given: given.token(headers={"crit": ["exp"]}),
    "an unencoded payload": lambda given: given.token(headers={"b64": False, "crit": ["b64"]}),
    "a logout token": lambda given: given.token(headers={"typ": "logout+jwt"}),
    # Not for us, or not now
    "expired": lambda given: given.token(exp=past(31)),
    "not yet": lambda given: given.token(nbf=past(-60)),
    "issued in the future": lambda given: given.token(iat=past(-60)),
    "without exp": lambda given: given.token(exp=None),
    "exp a text": lambda given: given.token(exp="tomorrow"),
    "exp without end": lambda given: given.token(exp=float("inf")),
    "exp no number": lambda given: given.token(exp=float("nan")),
    "exp a list": lambda given: given.token(exp=[1]),
    "another issuer": lambda given: given.token(iss="https://else.example"),
    "an issuer with a slash more": lambda given: given.token(iss=given.url + "/"),
    "without iss": lambda given: given.token(iss=None),
    "iss a list": lambda given: given.token(iss=[given.url]),
    "another audience": lambda given: given.token(aud="https://else.example"),
    "without aud": lambda given: given.token(aud=None),
    "aud empty": lambda given: given.token(aud=[]),
    "aud a number": lambda given: given.token(aud=7),
    "client a number": lambda given: given.token(client_id=7),
    "client half a character": lambda given: given.token(client_id="\ud800"),
    "client empty": lambda given: given.token(client_id=""),
    "client without end": lambda given: given.token(client_id="x" * 300),
    "no client": lambda given: given.token(client_id=None, sub=None),
    "scope a number": lambda given: given.token(scope=7),
    "scopes numbers": lambda given: given.token(scope=[7]),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_a_hostile_token_is_401(
    client: Client, given: Issuer, shop: ApiClient, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reached(*_: Any, **__: Any) -> Any:
        pytest.fail("it has reached a view")

    monkeypatch.setattr("products.views.answer", reached)
    monkeypatch.setattr("products.views.services.change", reached)
    token = HOSTILE[how](given)
    for refused in (get(client, token), write(client, token or " ")):
        assert (refused.status_code, refused["Content-Type"]) == (401, "application/problem+json")
        assert refused.json()["code"] == "not-authenticated"
        assert refused["WWW-Authenticate"].startswith('Bearer realm="farmlokal", error="invalid_token"')
        assert not token or token not in refused.content.decode()
    assert given.fetches <= 2


def test_hostile_tokens_cost_one_set_of_keys_a_minute(given: Issuer, shop: ApiClient, client: Client) -> None:
    assert len(HOSTILE) >= 40
    with time_machine.travel(NOW, tick=False) as clock:
        assert get(client, given.token()).status_code == 200
        clock.shift(2)
        for attack in HOSTILE.values():
            assert get(client, attack(given)).status_code == 401
        for number in range(50):
            assert get(client, foreign(given, kid=f"key-{number}")).status_code == 401
    assert given.fetches == 2  # the one that is needed, and one for the first unknown key


def test_no_provider_is_configured(client: Client, given: Issuer, shop: ApiClient, settings: Settings) -> None:
    settings.OAUTH_ISSUER = ""
    assert get(client, given.token()).status_code == 401


@pytest.mark.parametrize("scheme", ["Basic", "Digest", "bearerer"])
def test_another_scheme_is_nobody(client: Client, given: Issuer, scheme: str) -> None:
    assert get(client, "Zm9vOmJhcg==", scheme=scheme).status_code == 200


def test_other_places_have_credentials_of_their_own(client: Client, given: Issuer, settings: Settings) -> None:
    settings.METRICS_TOKEN = "for-prometheus"
    assert get(client, "for-prometheus", "/metrics").status_code == 200
    assert get(client, "anything", "/livez").status_code == 200
    assert get(client, "anything", "/openapi.json").status_code == 200
    assert given.fetches == 0


# Keys


def test_new_keys_are_followed_and_old_ones_forgotten(client: Client, given: Issuer, shop: ApiClient) -> None:
    old = given.token()
    assert get(client, old).status_code == 200
    given.rotate("rsa-2")
    assert get(client, given.token("rsa-2")).status_code == 200
    assert get(client, old).status_code == 401  # although it was seen before
    assert given.fetches == 2


def test_after_a_rotation_every_thread_of_every_process_follows_at_once(given: Issuer, shop: ApiClient) -> None:
    def checked(number: int) -> str:
        try:
            return authentication._check(given.token("rsa-2", jti=str(number))).client_id
        except Problem as problem:
            return problem.code

    authentication._check(given.token())
    old = keys.SET._state
    given.rotate("rsa-2")
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(checked, range(8))) == ["shop"] * 8
        # Another process, which has the old set, and comes late: the claim is taken.
        keys.SET._state = old
        assert list(threads.map(checked, range(8))) == ["shop"] * 8
    assert given.fetches == 2


def test_keys_are_fetched_ahead_also_where_all_tokens_were_seen_before(given: Issuer, shop: ApiClient) -> None:
    authorization = f"Bearer {given.token(exp=int(NOW) + 3600, iat=None)}"
    with time_machine.travel(NOW, tick=False) as clock:
        caller_of(authorization)
        clock.shift(275)
        time.sleep(2.1)
        cached_caller(authorization)
        wait_until(lambda: given.fetches == 2)


def test_while_keys_cannot_be_had_nobody_waits_long(client: Client, given: Issuer, shop: ApiClient) -> None:
    """Sixteen threads shall not be held by who brings a header."""

    def answer() -> Response:
        time.sleep(5)
        return Response("", 500)

    given.answer = answer
    assert get(client, given.token()).status_code == 503
    began = time.monotonic()
    assert [get(client, given.token(jti=str(n))).status_code for n in range(5)] == [503] * 5
    assert time.monotonic() - began < 5  # for five calls, each of which the provider keeps waiting for so long


def test_a_key_that_is_taken_away_is_believed_for_five_minutes(client: Client, given: Issuer, shop: ApiClient) -> None:
    with time_machine.travel(NOW, tick=False) as clock:
        old = given.token(exp=int(NOW) + 3600)
        assert get(client, old).status_code == 200
        given.rotate("rsa-2")
        clock.shift(301)
        time.sleep(1.1)
        assert get(client, old).status_code == 401


def test_a_set_is_shared_by_all_processes(client: Client, given: Issuer, shop: ApiClient) -> None:
    for _ in range(5):
        assert get(client, given.token()).status_code == 200
        forgetful()
    assert given.fetches == 1


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
def test_a_set_that_cannot_be_had_is_503(client: Client, given: Issuer, shop: ApiClient, answer: Any) -> None:
    given.answer = answer
    found = get(client, given.token())
    assert (found.status_code, found.json()["code"]) == (503, "auth-unavailable")
    assert int(found["Retry-After"]) >= 1
    assert client.get("/products?limit=1").status_code == 200


def test_the_providers_keys_away_those_that_are_there_go_on(client: Client, given: Issuer, shop: ApiClient) -> None:
    with time_machine.travel(NOW, tick=False) as clock:
        assert get(client, given.token()).status_code == 200
        given.answer = lambda: Response("", 500)
        clock.shift(280)
        assert get(client, given.token()).status_code == 200
        assert get(client, given.token(headers={"kid": "unknown"})).status_code == 503


# What it costs


def test_a_token_seen_before_costs_nothing(
    given: Issuer, shop: ApiClient, django_assert_num_queries: DjangoAssertNumQueries, settings: Settings
) -> None:
    authorization = f"Bearer {given.token(scope='catalogue:write')}"
    assert cached_caller(authorization) is None
    caller = caller_of(authorization)
    assert caller == Caller(shop, frozenset(["catalogue:write"]))
    settings.OAUTH_JWKS_URL = f"http://127.0.0.1:{free_port()}/"
    with django_assert_num_queries(0):
        assert cached_caller(authorization) == caller_of(authorization) == caller
    with time_machine.travel(time.time() + 631):
        assert cached_caller(authorization) is None


def test_a_client_is_asked_for_once_in_five_seconds(
    given: Issuer, shop: ApiClient, django_assert_num_queries: DjangoAssertNumQueries, client: Client
) -> None:
    get(client, given.token())
    with django_assert_num_queries(0):
        found = [get(client, given.token(jti=f"{n}"), "/products?limit=0").status_code for n in range(3)]
    assert found == [400] * 3  # which is told after the caller is known


# Limits


def test_a_client_has_the_limit_of_its_own(client: Client, given: Issuer, shop: ApiClient, settings: Settings) -> None:
    settings.RATE_LIMIT_ANONYMOUS, settings.RATE_LIMIT_CLIENT = (3, 60), (70, 60)
    ApiClient.objects.create(client_id="mill", name="A mill")
    ApiClient.objects.create(client_id="depot", name="A depot", rate="off")
    policies = [get(client, given.token(client_id=name)).get("RateLimit-Policy") for name in ("shop", "mill", "depot")]
    assert policies == ['"client";q=50;w=10', '"client";q=70;w=60', None]
    assert get(client, given.token())["RateLimit"] == '"client";r=48;t=1'
    assert client.get("/products?limit=1")["RateLimit-Policy"] == '"anonymous";q=3;w=60'
    assert [get(client, "junk").status_code for _ in range(3)] == [401, 401, 429]  # as its address's


# Administration


def test_create_api_client(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("create_api_client", "shop", "--name", "A shop", "--rate", "5/1")
    found = ApiClient.objects.get()
    assert (found.client_id, found.name, found.rate, found.is_active) == ("shop", "A shop", "5/1", True)
    assert "shop may call the API, at 5/1" in capsys.readouterr().out
    call_command("create_api_client", "shop", "--if-missing")
    for bad in (["shop"], [""], [" a"], ["é"], ["other", "--rate", "many"]):
        with pytest.raises(CommandError):
            call_command("create_api_client", *bad)
    assert ApiClient.objects.count() == 1


def test_staff_manage_clients(admin_client: Client) -> None:
    page = "/admin/accounts/apiclient/"
    made = admin_client.post(f"{page}add/", {"client_id": "shop", "name": "A shop", "rate": "7/1", "is_active": "on"})
    assert made.status_code == 302
    found = ApiClient.objects.get()
    assert found.policy
    assert found.policy.header == '"client";q=7;w=1'
    refused = admin_client.post(f"{page}{found.pk}/change/", {"name": "A shop", "rate": "7 a second"})
    assert "must be off, or requests/seconds" in refused.content.decode()
    admin_client.post(f"{page}{found.pk}/change/", {"name": "A shop", "rate": ""})
    assert not ApiClient.objects.get().is_active
    assert "A shop" in admin_client.get(page).content.decode()
