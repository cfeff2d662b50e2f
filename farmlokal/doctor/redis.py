"""Examines Redis: the commands that the service needs, and the policy for a full memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from django.conf import settings
from redis import RedisError

from farmlokal.doctor.results import Result, ahead, clock, ok
from farmlokal.redis import url
from farmlokal.redis.client import ask, describe, key_of_each_server
from farmlokal.redis.info import INFO, parse
from farmlokal.redis.scripts import WRITE_AND_DELETE, load

CLOCK = load(__file__, "redis_clock.lua")
GOOD_POLICIES = {"volatile-lru", "volatile-lfu"}
SET_POLICY = "Set maxmemory, and maxmemory-policy to volatile-lru."


def examine() -> Iterator[Result]:
    """A line for each server that has keys of ours, and for each finding."""
    try:
        results = [result for key in key_of_each_server() for result in _examine_server(key)]
    except (RedisError, OSError) as error:
        advice = "Check REDIS_URL, the server, its role, its memory and the user's rights."
        yield Result("error", "redis", f"{type(error).__name__}: {describe(error)}.", advice)
        return
    yield from results
    yield _tls()


def _examine_server(key: str) -> Iterator[Result]:
    ask(WRITE_AND_DELETE, [key])
    ahead_seconds = ahead(lambda: int(ask(CLOCK, [key])) / 1_000_000)
    info = parse(ask(INFO, [key]))
    version = info.get("valkey_version") or info.get("redis_version") or "of an unknown version"
    yield ok("redis", f"{'Valkey' if 'valkey_version' in info else 'Redis'} {version} runs scripts that write.")
    yield clock("redis clock", ahead_seconds)
    yield _policy(info)


def _tls() -> Result:
    servers = url.read(settings.REDIS_URL)
    if servers.scheme != "rediss":
        return ok("redis tls", "None: the connection is plain text.")
    if servers.options.get("ssl_cert_reqs") == "none":
        text = "TLS, but the server's certificate is not verified."
        return Result("warning", "redis tls", text, "Remove ssl_cert_reqs=none, or add ssl_ca_certs.")
    return ok("redis tls", "TLS, verified.")


def _policy(info: Mapping[str, str]) -> Result:
    policy = info.get("maxmemory_policy")
    if policy is None:
        return Result("skipped", "redis policy", "The server does not tell its maxmemory-policy.")
    if info.get("maxmemory") == "0":
        return Result("warning", "redis policy", "Its memory has no limit.", SET_POLICY)
    if policy not in GOOD_POLICIES:
        effect = "refuses writes when it is full" if policy == "noeviction" else "may drop locks before pages"
        return Result("warning", "redis policy", f"With {policy} it {effect}.", SET_POLICY)
    return ok("redis policy", f"{policy}, with {info.get('maxmemory_human', 'a limit of')} memory.")
