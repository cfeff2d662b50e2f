"""Bearer tokens through the whole service: counted for their client, and served from the cache."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from accounts.models import ApiClient
from dev.testing.issuer import Issuer, issuer
from dev.testing.offers import make_offer
from dev.testing.redis_keys import forget_keys
from dev.testing.servers import Answer, Server, running
from dev.testing.waiting import wait_until
from farmlokal.ratelimit.limiter import TOKEN_CHECKS

pytestmark = pytest.mark.usefixtures("live_database")


@pytest.fixture
def provider() -> Iterator[Issuer]:
    forget_keys()
    with issuer() as started:
        yield started


@pytest.fixture
def shop() -> Iterator[ApiClient]:
    client = ApiClient.objects.create(client_id="shop", name="A shop", rate="50/3600")
    yield client
    client.delete()


@pytest.fixture
def server(database_environment: dict[str, str], provider: Issuer, shop: ApiClient) -> Iterator[Server]:
    make_offer(name="Offer")
    limits = {"RATE_LIMIT_ANONYMOUS": "20/3600", "WEB_CONCURRENCY": "2"}
    with running(database_environment, **provider.settings, **limits) as started:
        yield started


def get(server: Server, token: str) -> Answer:
    return server.request("/products?limit=3", Authorization=f"Bearer {token}")


def test_checked_token_is_counted_for_its_client(server: Server, provider: Issuer) -> None:
    token = provider.token()
    answers = [get(server, token) for _ in range(30)]
    assert {answer.status for answer in answers} == {200}
    assert {answer.headers["ratelimit-policy"] for answer in answers} == {'"client";q=50;w=3600'}
    remaining = [int(answer.headers["ratelimit"].split("r=")[1].split(";")[0]) for answer in answers]
    assert remaining == list(range(49, 19, -1))  # each call once, whether the edge or Django counted it
    assert answers[-1].headers["x-cache"] == "hit"
    anonymous = server.request("/products?limit=3")
    assert anonymous.headers["ratelimit-policy"] == '"anonymous";q=20;w=3600'
    assert anonymous.body == answers[-1].body
    assert [get(server, token).status for _ in range(25)] == [200] * 20 + [429] * 5
    assert server.request("/products?limit=3").status == 200  # the limit of its address is another one


def test_hits_with_a_checked_token_need_no_provider(server: Server, provider: Issuer) -> None:
    token = provider.token()
    wait_until(lambda: get(server, token).headers.get("x-cache") == "hit")
    for _ in range(6):  # until both processes have checked it
        get(server, token)
    provider.answer = lambda: pytest.fail("a process fetches keys")
    assert {get(server, token).headers["x-cache"] for _ in range(10)} == {"hit"}
    assert provider.fetches <= 1


def test_invalid_token_is_401_on_a_cached_page_and_counted(server: Server, provider: Issuer) -> None:
    for _ in range(4):
        server.request("/products?limit=3")
    answers = [get(server, provider.token(exp=1)) for _ in range(25)]
    assert [answer.status for answer in answers] == [401] * 16 + [429] * 9
    assert answers[0].headers["ratelimit-policy"] == '"anonymous";q=20;w=3600'
    assert answers[0].json["code"] == "not-authenticated"
    assert answers[-1].json["code"] == "rate-limited"


def test_malformed_token_over_the_limit_takes_no_thread(server: Server) -> None:
    for _ in range(4):
        server.request("/products?limit=3")
    answers = [get(server, "junk") for _ in range(20)]
    assert [answer.status for answer in answers] == [401] * 16 + [429] * 4


def test_forty_new_tokens_at_once_cost_one_fetch_of_keys(server: Server, provider: Issuer) -> None:
    with ThreadPoolExecutor(40) as callers:
        statuses = list(callers.map(lambda n: get(server, provider.token(jti=str(n))).status, range(40)))
    assert statuses == [200] * 40
    assert provider.fetches == 1


# Invalid tokens


@pytest.fixture
def one_worker(database_environment: dict[str, str], provider: Issuer, shop: ApiClient) -> Iterator[Server]:
    make_offer(name="Offer")
    limits = {"RATE_LIMIT_ANONYMOUS": "20/3600", "WEB_CONCURRENCY": "1"}
    with running(database_environment, **provider.settings, **limits) as started:
        yield started


def is_refused_unchecked(answer: Answer) -> bool:
    return bool(answer.headers["ratelimit-policy"] == TOKEN_CHECKS.header)


def use_up_token_checks(server: Server, provider: Issuer) -> list[Answer]:
    """By many invalid tokens; the bucket regains a check each half second."""
    expired = provider.token(exp=1)
    answers: list[Answer] = []
    while not (answers and is_refused_unchecked(answers[-1])):
        assert len(answers) < 10 * TOKEN_CHECKS.quota
        answers.append(get(server, f"{expired}{len(answers)}"))
    return answers


def redis_commands(server: Server) -> int:
    text = server.request("/metrics").body.decode()
    (value,) = re.findall(r'^farmlokal_redis_commands_total{route="/products"} (\S+)$', text, re.MULTILINE)
    return int(float(value))


def test_invalid_tokens_over_their_limit_never_reach_django(one_worker: Server, provider: Issuer) -> None:
    answers = use_up_token_checks(one_worker, provider)
    assert len(answers) > TOKEN_CHECKS.quota
    assert [answer.status for answer in answers] == [401] * 20 + [429] * (len(answers) - 20)
    refused = answers[-1]
    assert refused.headers["ratelimit"] == f'"tokens";r=0;t={refused.headers["retry-after"]}'
    assert refused.json["code"] == "rate-limited"
    before = redis_commands(one_worker)
    unchecked = sum(is_refused_unchecked(get(one_worker, "a.b.c")) for _ in range(50))
    assert unchecked > 0
    assert redis_commands(one_worker) - before <= 50 - unchecked  # one per call that Django counts


def test_invalid_tokens_of_an_address_do_not_stop_its_clients(one_worker: Server, provider: Issuer) -> None:
    checked, new = provider.token(), provider.token(jti="another")
    assert get(one_worker, checked).status == 200
    use_up_token_checks(one_worker, provider)
    assert one_worker.request("/products?limit=3").status == 429
    assert {get(one_worker, checked).status for _ in range(10)} == {200}
    wait_until(lambda: get(one_worker, new).status == 200)
    assert {get(one_worker, new).status for _ in range(10)} == {200}


def test_checked_token_of_an_inactive_client_needs_no_check(
    one_worker: Server, provider: Issuer, shop: ApiClient
) -> None:
    shop.is_active = False
    shop.save()
    token = provider.token()
    assert get(one_worker, token).status == 403
    use_up_token_checks(one_worker, provider)
    assert not is_refused_unchecked(get(one_worker, token))


def test_valid_tokens_use_up_no_checks(one_worker: Server, provider: Issuer, shop: ApiClient) -> None:
    shop.rate = "off"
    shop.save()
    tokens = [provider.token(jti=str(n)) for n in range(2 * TOKEN_CHECKS.quota)]
    assert {get(one_worker, token).status for token in tokens} == {200}
