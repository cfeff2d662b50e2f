"""The edge: what it answers itself is what Django would have said, and is right at every moment."""

from __future__ import annotations

import gzip
import os
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

import pytest
import redis

from dev.testing.offers import make_offer
from dev.testing.servers import own_redis, running
from products import services

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dev.testing.servers import Answer, Server
    from products.models import Product

pytestmark = pytest.mark.usefixtures("live_database")

# One worker, whose memory is thus known; what several share is tested by its own servers.
LIMIT = '"anonymous";q=100000;w=10'


@pytest.fixture(scope="module")
def server(live_database: None, database_environment: dict[str, str]) -> Iterator[Server]:
    for n in range(30):
        make_offer(name=f"Offer {n}")
    with running(database_environment, WEB_CONCURRENCY="1", RATE_LIMIT_ANONYMOUS="100000/10") as started:
        yield started


@pytest.fixture(autouse=True)
def in_redis() -> Iterator[redis.Redis]:
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
        yield client


OWN = {"x-cache", "x-request-id", "ratelimit", "ratelimit-policy", "date", "allow"}


def without_own(answer: Answer) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name not in OWN}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
@pytest.mark.parametrize("target", ["/products?limit=3", "/products?q=offer&sort=price", "/categories", "/states"])
def test_a_hit_is_what_a_miss_was(
    server: Server, target: str, encoding: str, method: str, in_redis: redis.Redis
) -> None:
    in_redis.flushdb()
    miss, hit = (server.request(target, method, Accept_Encoding=encoding) for _ in range(2))
    assert [answer.headers["x-cache"] for answer in (miss, hit)] == ["miss", "hit"]
    assert (hit.status, without_own(hit), hit.body) == (miss.status, without_own(miss), miss.body)
    assert hit.headers["ratelimit-policy"] == LIMIT
    assert re.fullmatch(r'"anonymous";r=\d+;t=1', hit.headers["ratelimit"])
    if encoding == "gzip" and method == "GET":
        plain = server.request(target)
        assert gzip.decompress(hit.body) == plain.body
        assert hit.headers["etag"] == f"W/{plain.headers['etag']}"


def test_304_like_django_s(server: Server, in_redis: redis.Redis) -> None:
    etag = server.request("/products?limit=4").headers["etag"]
    in_redis.flushdb()
    by_django, by_edge = (server.request("/products?limit=4", If_None_Match=f'"x", W/{etag}') for _ in range(2))
    assert [answer.headers["x-cache"] for answer in (by_django, by_edge)] == ["miss", "hit"]
    assert (by_edge.status, by_edge.body, without_own(by_edge)) == (304, b"", without_own(by_django))
    assert "content-length" not in by_edge.headers
    assert "content-type" not in by_edge.headers


def test_what_was_first_asked_for_conditionally_has_all_its_headers(server: Server, in_redis: redis.Redis) -> None:
    etag = server.request("/products?limit=5").headers["etag"]
    other = "/products?limit=5&sort=-created_at"
    assert server.request(other, If_None_Match=etag).status == 304
    assert server.request(other).headers["content-type"] == "application/json"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("target", ["/products?limit=8", "/categories"])
def test_if_match_is_checked_also_on_a_hot_page(server: Server, target: str, method: str) -> None:
    server.request(target)
    hot = server.request(target)
    assert hot.headers["x-cache"] == "hit"
    refused = server.request(target, method, If_Match='"nope"')
    assert (refused.status, refused.headers["content-type"]) == (412, "application/problem+json")
    assert server.request(target, method, If_Match=hot.headers["etag"]).status == 200
    assert without_own(server.request(target)) == without_own(hot)  # nothing was learned from the 412


def test_one_product_is_never_compressed(server: Server) -> None:
    pk = server.request("/products?limit=1").json["results"][0]["id"]
    first, second = (server.request(f"/products/{pk}", Accept_Encoding="gzip") for _ in range(2))
    assert second.headers["x-cache"] == "hit"
    assert "content-encoding" not in second.headers
    assert second.headers["etag"] == first.headers["etag"]


def test_a_request_id_is_taken_over_or_made_and_is_in_the_log(server: Server) -> None:
    for target in ("/products?limit=6", "/products?limit=6", "/products?limit=0"):
        answer = server.request(target, X_Request_ID="mine-1.2_3")
        assert answer.headers["x-request-id"] == "mine-1.2_3"
        made = server.request(target, X_Request_ID="not mine").headers["x-request-id"]
        assert re.fullmatch("[0-9a-f]{32}", made)
    lines = [line for line in server.log_lines("request") if line["request_id"] == "mine-1.2_3"]
    assert [line["status"] for line in lines] == [200, 200, 400]
    assert lines[0].keys() == lines[1].keys()  # of Django, and of the edge
    assert lines[1]["route"] == "/products"


def test_another_method_passes_and_a_write_s_answer_is_never_kept(server: Server) -> None:
    assert server.request("/products", "POST").status == 401
    assert server.request("/products", "OPTIONS").status == 200
    assert server.request("/products", "PUT").status == 405


def test_another_host_is_another_page_and_a_wrong_one_is_refused_each_time(server: Server) -> None:
    links = [server.request("/products?limit=7", host=host).json["next"] for host in ("localhost", "127.0.0.1") * 2]
    assert [link.split("/")[2] for link in links] == ["localhost", "127.0.0.1"] * 2
    assert [server.request("/products?limit=7", host="evil.example").status for _ in range(2)] == [400, 400]


COOKIES = "sessionid=x; csrftoken=!"  # both malformed: Django would delete the one and replace the other


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
@pytest.mark.parametrize(
    "target", ["/products?limit={}", "/products/{pk}?fields={}", "/categories", "/states", "/docs"]
)
def test_cookies_of_one_caller_reach_no_other(
    server: Server, target: str, encoding: str, in_redis: redis.Redis
) -> None:
    pk = server.request("/products?limit=1").json["results"][0]["id"]
    for spelling in ("12", "012", "0012"):
        in_redis.flushdb()
        with_cookies = server.request(target.format(spelling, pk=pk), Cookie=COOKIES, Accept_Encoding=encoding)
        for answer in (with_cookies, *(server.request(target.format(spelling, pk=pk)) for _ in range(2))):
            assert "set-cookie" not in answer.headers
            assert "cookie" not in answer.headers.get("vary", "").lower()


def test_cookies_reach_nobody_who_waits_for_the_same_page(server: Server, in_redis: redis.Redis) -> None:
    def ask(number: int) -> Answer:
        return server.request("/products?limit=13", **{"Cookie": COOKIES} if number % 4 == 0 else {})

    for _ in range(5):
        in_redis.flushdb()
        with ThreadPoolExecutor(12) as callers:
            answers = list(callers.map(ask, range(12)))
        assert {answer.status for answer in answers} == {200}
        assert not [answer for answer in answers if "set-cookie" in answer.headers]


def test_a_bad_query_is_refused_each_time(server: Server) -> None:
    answers = [server.request("/products?colour=red") for _ in range(3)]
    assert {(answer.status, answer.json["code"]) for answer in answers} == {(400, "invalid-parameter")}


def commands(client: redis.Redis) -> int:
    """Those that came from clients; what scripts do is not counted apart."""
    stats: dict[str, Any] = client.info("commandstats")
    return int(sum(stat["calls"] for name, stat in stats.items() if name in {"cmdstat_evalsha", "cmdstat_eval"}))


def test_a_hit_costs_one_command_and_what_django_answers_three_at_most(
    database_environment: dict[str, str], tmp_path: Path
) -> None:
    """And scripts that Redis has forgotten are sent again."""
    with (
        own_redis(tmp_path) as alone,
        redis.Redis.from_url(alone.url) as client,
        running(database_environment, WEB_CONCURRENCY="1", REDIS_URL=alone.url) as server,
    ):

        def cost(*targets: str) -> tuple[list[str], int]:
            client.config_resetstat()
            found = [server.request(target).headers["x-cache"] for target in targets]
            return found, commands(client)

        server.request("/products?limit=8")
        assert cost(*["/products?limit=8"] * 20) == (["hit"] * 20, 20)
        assert cost("/products?limit=9") == (["miss"], 3)
        client.script_flush()
        assert cost("/products?limit=9") == (["hit"], 2)


def metric(server: Server, name: str) -> float:
    text = server.request("/metrics").body.decode()
    values = re.findall(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(values[0]) if values else 0.0


def test_metrics_count_whatever_way_a_request_went(server: Server) -> None:
    def counted() -> list[float]:
        names = [
            'farmlokal_requests_total{method="GET",route="/products",status="200"}',
            'farmlokal_requests_total{method="GET",route="/products",status="400"}',
            'farmlokal_request_seconds_count{route="/products"}',
            'farmlokal_page_cache_total{result="hit"}',
            'farmlokal_page_cache_total{result="miss"}',
        ]
        return [metric(server, name) for name in names]

    server.request("/products?limit=10")
    before = counted()
    for target in ("/products?limit=10", "/products?limit=10", "/products?limit=0", "/products?limit=11"):
        server.request(target)
    assert [after - old for after, old in zip(counted(), before, strict=True)] == [3, 1, 4, 2, 1]
    assert metric(server, 'farmlokal_dependency_up{name="mysql"}') == 1
    assert metric(server, 'farmlokal_sql_statements_total{route="/products"}') >= 1
    assert metric(server, 'farmlokal_redis_commands_total{route="/products"}') >= 4


def test_metrics_are_summed_over_all_workers(database_environment: dict[str, str]) -> None:
    with running(database_environment, WEB_CONCURRENCY="3") as several:
        for _ in range(30):
            several.request("/products?limit=2")
        name = 'farmlokal_requests_total{method="GET",route="/products",status="200"}'
        assert {metric(several, name) for _ in range(5)} == {30.0}


def test_metrics_are_for_this_machine_or_for_who_has_the_token(database_environment: dict[str, str]) -> None:
    assert_status = {"": 401, "Bearer wrong": 401, "Bearer secret": 200}
    with running(database_environment, METRICS_TOKEN="secret") as guarded:
        for given, status in assert_status.items():
            assert guarded.request("/metrics", Authorization=given).status == status


@pytest.mark.parametrize("hops", ["0", "1"])
def test_metrics_without_a_token_are_not_served_through_a_proxy(
    database_environment: dict[str, str], hops: str
) -> None:
    """The proxy may run on the same machine."""
    with running(database_environment, TRUSTED_PROXY_HOPS=hops, WEB_CONCURRENCY="1") as server:
        assert server.request("/metrics").status == 200
        for address in ("203.0.113.9", "127.0.0.1", ""):
            assert server.request("/metrics", X_Forwarded_For=address).status == 403
            assert server.request("/metrics", Forwarded=f"for={address}").status == 403
            assert server.request("/metrics", X_Real_IP=address).status == 403


def test_metrics_may_be_off(database_environment: dict[str, str]) -> None:
    with running(database_environment, METRICS="off") as uncounted:
        assert [uncounted.request("/products?limit=10").status for _ in range(3)] == [200] * 3
        assert uncounted.request("/metrics").json["code"] == "not-found"


def test_a_429_is_a_problem_with_the_time_to_wait(database_environment: dict[str, str], in_redis: redis.Redis) -> None:
    in_redis.flushdb()
    with running(database_environment, RATE_LIMIT_ANONYMOUS="2/60") as strict:
        answers = [strict.request("/products?limit=2", X_Request_ID="r-1") for _ in range(3)]
        assert [answer.status for answer in answers] == [200, 200, 429]
        refused = answers[2]
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.headers["ratelimit"] == f'"anonymous";r=0;t={refused.headers["retry-after"]}'
        assert (refused.json["code"], refused.json["instance"], refused.json["request_id"]) == (
            *("rate-limited", "/products", "r-1"),
        )
        assert strict.request("/products?limit=2", "HEAD").body == b""
        assert strict.request("/livez").status == 200
        assert metric(strict, 'farmlokal_rate_limited_total{policy="anonymous"}') == 2
        assert [line["status"] for line in strict.log_lines("request")][:3] == [200, 200, 429]


def asked(server: Server, target: str, times: int) -> list[tuple[int, str]]:
    """(status, X-Cache) of requests over one connection that is kept."""
    kept, found = HTTPConnection("127.0.0.1", server.port, timeout=20), []
    for _ in range(times):
        kept.request("GET", target, headers={"Host": "localhost"})
        answer = kept.getresponse()
        answer.read()
        found.append((answer.status, answer.headers["X-Cache"]))
    kept.close()
    return found


STATEMENTS = 'farmlokal_sql_statements_total{route="/products"}'


def test_five_hundred_at_once_for_one_missing_page_are_one_statement(
    database_environment: dict[str, str], in_redis: redis.Redis
) -> None:
    """Four processes, whose threads have their connections already."""
    with running(database_environment, WEB_CONCURRENCY="4", RATE_LIMIT_ANONYMOUS="off") as several:
        with ThreadPoolExecutor(100) as callers:
            list(callers.map(lambda n: asked(several, f"/products?sort=name&price_min={n}", 1), range(800)))
            kept = [HTTPConnection("127.0.0.1", several.port, timeout=20) for _ in range(500)]
            for one in kept:
                one.connect()
            in_redis.flushdb()
            before = metric(several, STATEMENTS)
            for one in kept:
                one.request("GET", "/products", headers={"Host": "localhost"})
            answers = [one.getresponse() for one in kept]
            found = [(answer.status, answer.headers["X-Cache"]) for answer in answers]
        assert set(found) <= {(200, "miss"), (200, "hit")}
        assert metric(several, STATEMENTS) - before == 1
        for one in kept:
            one.close()


def test_a_write_is_seen_by_the_very_next_request_from_another_process(
    database_environment: dict[str, str],
) -> None:
    """A thousand times, while readers hammer the page."""
    product: Product = make_offer(name="Written")
    target, stop = f"/products?ids={product.pk}", threading.Event()
    with running(database_environment, RATE_LIMIT_ANONYMOUS="off", ACCESS_LOG="off") as server:

        def hammer(_: int) -> int:
            count = 0
            while not stop.is_set():
                count += len([found for found in asked(server, target, 50) if found[1] == "hit"])
            return count

        with ThreadPoolExecutor(2) as readers:
            hits = [readers.submit(hammer, n) for n in range(2)]
            reader = HTTPConnection("127.0.0.1", server.port, timeout=20)
            try:
                for n in range(1, 1001):
                    services.change(product.pk, stock=n)
                    reader.request("GET", target, headers={"Host": "localhost"})
                    assert f'"stock":{n},'.encode() in reader.getresponse().read()
            finally:
                stop.set()
            assert sum(hit.result() for hit in hits) > 0


def test_a_state_begun_by_nobody_s_write_is_not_ended_by_a_process_that_starts(
    database_environment: dict[str, str], server: Server
) -> None:
    """A new process ends the state once, when it starts, not with its first request."""
    with running(database_environment, WEB_CONCURRENCY="2") as started:
        time.sleep(0.3)
        server.request("/products?limit=12")
        for _ in range(6):
            started.request("/products?limit=13")
        assert server.request("/products?limit=12").headers["x-cache"] == "hit"


def test_nobody_waits_for_a_client_that_sends_or_reads_slowly(server: Server, in_redis: redis.Redis) -> None:
    server.request("/products?limit=14")
    in_redis.flushdb()
    with server.connect() as slow:
        slow.sendall(b"GET /products?limit=14 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n")
        time.sleep(0.2)
        start = time.monotonic()
        assert server.request("/products?limit=14").status == 200
        assert time.monotonic() - start < 2


def test_bytes_that_are_no_ascii_are_a_bad_query_or_none(server: Server) -> None:
    for target in (b"/products?q=\xe0\xa4\x86", b"/products?\xff=1", b"/products\xff"):
        head = b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        assert server.raw(head).status in {200, 400, 404}, target
