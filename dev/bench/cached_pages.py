"""The same cached pages for all servers: in our cache, in the Node peers' cache, and in a file for the bare server."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

from redis import Redis

from dev.bench.client import get_all
from dev.bench.queries import distinct_targets
from dev.bench.stacks import EXPRESS, FASTIFY, FOLDER, STOCK, Server
from dev.testing.servers import Answer
from products.catalogue_cache import catalogue_cache

PLAIN = "/products"
SAMPLE_STEP = 10
REDIS_BYTES = "1gb"  # enough that it evicts no page of any server
# Headers that the servers' libraries add, that differ from response to response, and that differ from page to page.
LIBRARY_HEADERS = {"server", "date", "connection", "keep-alive", "content-length", "transfer-encoding"}
CHANGING_HEADERS = {"x-request-id", "ratelimit", "x-ratelimit-remaining", "x-ratelimit-reset"}
PAGE_HEADERS = {"etag", "link"}
DJANGO_HEADER = "allow"
MAX_READS = 30


class Pages(NamedTuple):
    """The answers of ours, and where the peers read them."""

    answers: dict[str, Answer]  # by target
    environment: dict[str, str]  # of the peers

    @property
    def targets(self) -> list[str]:
        return list(self.answers)

    @property
    def mean_bytes(self) -> float:
        return sum(len(answer.body) for answer in self.answers.values()) / len(self.answers)


def empty_redis() -> None:
    with Redis.from_url(os.environ["REDIS_URL"]) as redis:
        redis.flushdb()
        redis.config_set("maxmemory", REDIS_BYTES)


def render(server: Server, targets: Sequence[str]) -> None:
    """Put all pages of ours in Redis, as fresh as possible: some are fresh for three minutes only."""
    with Redis.from_url(os.environ["REDIS_URL"]) as redis:
        redis.delete(catalogue_cache.generation_key)
    _read(server, targets, lambda answer: answer.status == 200)


def _read(server: Server, targets: Sequence[str], is_good: Callable[[Answer], bool]) -> dict[str, Answer]:
    """Request each target until its answer is good. MySQL may be too slow at first, which is a 503."""
    answers: dict[str, Answer] = {}
    remaining = list(targets)
    for _ in range(MAX_READS):
        new = asyncio.run(get_all(server.port, remaining))
        answers |= {target: answer for target, answer in new.items() if is_good(answer)}
        remaining = [target for target in targets if target not in answers]
        if not remaining:
            return answers
    raise SystemExit(f"{server.name}: no good answer for {remaining[:3]}")


def _is_from_edge(answer: Answer) -> bool:
    """The edge answers once it knows the headers of the route. Django's answers have one more header."""
    return answer.status == 200 and DJANGO_HEADER not in answer.headers


def publish(ours: Server, rows: int, count: int) -> Pages:
    """Render `count` pages, the most popular first, and give them to the peers."""
    targets = distinct_targets(ours, rows, count)
    render(ours, targets)
    read = _read(ours, targets, _is_from_edge)
    answers = {target: read[target] for target in targets}
    constant = _constant(answers[PLAIN])
    headers_file, pages_file = FOLDER / "headers.json", FOLDER / "pages.jsonl"
    headers_file.write_text(json.dumps(constant))
    with Redis.from_url(os.environ["REDIS_URL"]) as redis, pages_file.open("w") as lines:
        for target, answer in answers.items():
            assert _constant(answer) == constant, (target, answer.headers)
            own = {name: value for name, value in answer.headers.items() if name in PAGE_HEADERS}
            redis.set(f"page:{target}", json.dumps(own).encode() + b"\n" + answer.body)
            lines.write(json.dumps([target, _compared(answer), answer.body.decode()]) + "\n")
    return Pages(answers, {"HEADERS_FILE": str(headers_file), "PAGES_FILE": str(pages_file)})


def _compared(answer: Answer) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name not in LIBRARY_HEADERS}


def _constant(answer: Answer) -> dict[str, str]:
    changing = CHANGING_HEADERS | PAGE_HEADERS
    return {name: value for name, value in _compared(answer).items() if name not in changing}


def check(server: Server, pages: Pages) -> None:
    """Assert on a sample that the server does all the work that is compared."""
    if server.name == STOCK:
        _check_stock(server, pages)
        return
    for target in pages.targets[::SAMPLE_STEP]:
        expected, answer = pages.answers[target], server.get(target)
        assert (answer.status, answer.body) == (200, expected.body), (server, target)
        assert _compared(answer).keys() == _compared(expected).keys(), (server, target, answer.headers)
        for name in _constant(expected).keys() | PAGE_HEADERS:
            assert answer.headers.get(name) == expected.headers.get(name), (server, target, name)
        if server.name in {FASTIFY, EXPRESS}:
            not_modified = server.get(target, **{"If-None-Match": expected.headers["etag"]})
            assert not_modified.status == 304, (server, not_modified)
            assert server.get(target, **{"X-Request-ID": "mine"}).headers["x-request-id"] == "mine", server


def _check_stock(server: Server, pages: Pages) -> None:
    """Stock DRF knows no filters: it shows the newest products at each address, as many as the address asks for."""
    asyncio.run(get_all(server.port, pages.targets))  # puts them in its cache
    theirs, ours = json.loads(server.get(PLAIN).body), json.loads(pages.answers[PLAIN].body)
    assert [row["id"] for row in theirs["results"]] == [row["id"] for row in ours["results"]]
    assert theirs["results"][0].keys() == ours["results"][0].keys()
