"""Bearer tokens through the whole service: counted as their client's calls, and served from the cache as anybody is."""

from __future__ import annotations

import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import redis

from accounts.models import ApiClient
from dev.testing.issuer import Issuer, issuer
from dev.testing.offers import make_offer
from dev.testing.servers import Answer, Server, running
from dev.testing.waiting import wait_until
from farmlokal.ratelimit.limiter import TOKEN_CHECKS

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("live_database")


@pytest.fixture
def given() -> Iterator[Issuer]:
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as cleared:
        cleared.flushdb()
    with issuer() as found:
        yield found


@pytest.fixture
def shop() -> Iterator[ApiClient]:
    client = ApiClient.objects.create(client_id="shop", name="A shop", rate="50/3600")
    yield client
    client.delete()


@pytest.fixture
def server(database_environment: dict[str, str], given: Issuer, shop: ApiClient) -> Iterator[Server]:
    make_offer(name="Offer")
    limits = {"RATE_LIMIT_ANONYMOUS": "20/3600", "WEB_CONCURRENCY": "2"}
    with running(database_environment, **given.settings, **limits) as found:
        yield found


def asked(server: Server, token: str, target: str = "/products?limit=3") -> Any:
    return server.request(target, Authorization=f"Bearer {token}")


def test_a_known_token_is_served_by_the_edge_and_counted_as_its_client(server: Server, given: Issuer) -> None:
    token = given.token()
    answers = [asked(server, token) for _ in range(30)]
    assert {answer.status for answer in answers} == {200}
    assert {answer.headers["ratelimit-policy"] for answer in answers} == {'"client";q=50;w=3600'}
    left = [int(answer.headers["ratelimit"].split("r=")[1].split(";")[0]) for answer in answers]
    assert left == list(range(49, 19, -1))  # each once, whichever of the two counted
    assert answers[-1].headers["x-cache"] == "hit"
    before = server.request("/products?limit=3")
    assert before.headers["ratelimit-policy"] == '"anonymous";q=20;w=3600'
    assert before.body == answers[-1].body
    refused = [asked(server, token).status for _ in range(25)]
    assert refused == [200] * 20 + [429] * 5
    assert server.request("/products?limit=3").status == 200  # its address has a limit of its own


def test_hits_of_a_known_token_never_reach_django(server: Server, given: Issuer) -> None:
    token = given.token()
    wait_until(lambda: asked(server, token).headers.get("x-cache") == "hit")
    for _ in range(6):  # both processes know it
        asked(server, token)
    given.answer = lambda: pytest.fail("nobody asks for keys")
    assert {asked(server, token).headers["x-cache"] for _ in range(10)} == {"hit"}
    assert given.fetches <= 1


def test_a_bad_token_is_401_also_where_the_page_is_hot_and_counts_for_its_address(
    server: Server, given: Issuer
) -> None:
    for _ in range(4):
        server.request("/products?limit=3")
    answers = [asked(server, given.token(exp=1)) for _ in range(25)]
    assert [answer.status for answer in answers] == [401] * 16 + [429] * 9
    assert answers[0].headers["ratelimit-policy"] == '"anonymous";q=20;w=3600'
    assert answers[0].json["code"] == "not-authenticated"
    assert answers[-1].json["code"] == "rate-limited"


def test_what_is_no_jwt_is_401_and_costs_no_thread_once_its_address_is_over_its_limit(server: Server) -> None:
    for _ in range(4):
        server.request("/products?limit=3")
    answers = [asked(server, "junk") for _ in range(20)]
    assert [answer.status for answer in answers] == [401] * 16 + [429] * 4


def test_a_client_that_is_switched_off_is_refused_within_five_seconds(
    server: Server, given: Issuer, shop: ApiClient
) -> None:
    token = given.token()
    assert {asked(server, token).status for _ in range(6)} == {200}
    shop.is_active = False
    shop.save()
    time.sleep(5.2)
    assert {asked(server, token).status for _ in range(6)} == {403}


def test_forty_callers_with_new_tokens_after_a_flush_fetch_the_keys_once(server: Server, given: Issuer) -> None:
    with ThreadPoolExecutor(40) as callers:
        found = list(callers.map(lambda n: asked(server, given.token(jti=str(n))).status, range(40)))
    assert found == [200] * 40
    assert given.fetches == 1


# Bad tokens


@pytest.fixture
def one_worker(database_environment: dict[str, str], given: Issuer, shop: ApiClient) -> Iterator[Server]:
    make_offer(name="Offer")
    limits = {"RATE_LIMIT_ANONYMOUS": "20/3600", "WEB_CONCURRENCY": "1"}
    with running(database_environment, **given.settings, **limits) as found:
        yield found


def is_refused_unchecked(answer: Answer) -> bool:
    return bool(answer.headers["ratelimit-policy"] == TOKEN_CHECKS.header)


def use_up_token_checks(server: Server, given: Issuer) -> list[Answer]:
    """With bad tokens, each another one; a check comes back each half second."""
    bad = given.token(exp=1)
    found: list[Answer] = []
    while not (found and is_refused_unchecked(found[-1])):
        assert len(found) < 10 * TOKEN_CHECKS.quota
        found.append(asked(server, f"{bad}{len(found)}"))
    return found


def redis_commands(server: Server) -> int:
    text = server.request("/metrics").body.decode()
    (value,) = re.findall(r'^farmlokal_redis_commands_total{route="/products"} (\S+)$', text, re.MULTILINE)
    return int(float(value))


def test_bad_tokens_over_their_limit_never_reach_django(one_worker: Server, given: Issuer) -> None:
    answers = use_up_token_checks(one_worker, given)
    assert len(answers) > TOKEN_CHECKS.quota
    assert [answer.status for answer in answers] == [401] * 20 + [429] * (len(answers) - 20)
    refused = answers[-1]
    assert refused.headers["ratelimit"] == f'"tokens";r=0;t={refused.headers["retry-after"]}'
    assert refused.json["code"] == "rate-limited"
    before = redis_commands(one_worker)
    unchecked = sum(is_refused_unchecked(asked(one_worker, "a.b.c")) for _ in range(50))
    assert unchecked > 0
    assert redis_commands(one_worker) - before <= 50 - unchecked  # one for each call that Django counts


def test_bad_tokens_of_an_address_do_not_stop_its_clients(one_worker: Server, given: Issuer) -> None:
    seen, unseen = given.token(), given.token(jti="another")
    assert asked(one_worker, seen).status == 200
    use_up_token_checks(one_worker, given)
    assert one_worker.request("/products?limit=3").status == 429
    assert {asked(one_worker, seen).status for _ in range(10)} == {200}
    wait_until(lambda: asked(one_worker, unseen).status == 200)
    assert {asked(one_worker, unseen).status for _ in range(10)} == {200}
    time.sleep(5.2)  # until the process asks MySQL for the client again
    use_up_token_checks(one_worker, given)
    assert asked(one_worker, seen).status == 200


def test_good_tokens_use_up_no_checks(one_worker: Server, given: Issuer, shop: ApiClient) -> None:
    shop.rate = "off"
    shop.save()
    tokens = [given.token(jti=str(n)) for n in range(2 * TOKEN_CHECKS.quota)]
    assert {asked(one_worker, token).status for token in tokens} == {200}
