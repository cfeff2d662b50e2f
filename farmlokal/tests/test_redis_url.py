"""REDIS_URL in the forms of hosting providers: accepted, or refused with a reason."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest

from farmlokal.redis.url import parse, read

FILE = __file__  # any file that can be read
ENCODED = quote(FILE, safe="")

ACCEPTED = {
    "redis://cache.example": "redis://cache.example",
    "redis://cache.example:6379/0": "redis://cache.example:6379/0",
    "redis://cache.example:6379/": "redis://cache.example:6379/",
    "redis://:pass@cache.example/3?protocol=3": "redis://:pass@cache.example/3?protocol=3",
    "redis://red-abc:6379": "redis://red-abc:6379",  # Render
    "redis://[::1]:6379/0": "redis://[::1]:6379/0",
    "rediss://default:pass@eu1-x.upstash.io:6379": "rediss://default:pass@eu1-x.upstash.io:6379",
    "valkey://default:pass@v.aivencloud.com:1": "redis://default:pass@v.aivencloud.com:1",
    "valkeys://default:pass@v.aivencloud.com:1": "rediss://default:pass@v.aivencloud.com:1",
    "rediss://:pass@h/0?ssl_cert_reqs=CERT_NONE": "rediss://:pass@h/0?ssl_cert_reqs=none",  # Celery on Heroku
    "rediss://:pass@h/0?ssl_cert_reqs=CERT_REQUIRED": "rediss://:pass@h/0?ssl_cert_reqs=required",
    "rediss://:pass@h/0?ssl_cert_reqs=none": "rediss://:pass@h/0?ssl_cert_reqs=none",
    f"rediss://h/0?ssl_ca_certs={FILE}&ssl_check_hostname=False": (
        f"rediss://h/0?ssl_ca_certs={ENCODED}&ssl_check_hostname=false"
    ),
    "redis://u:p%40%3A%2F%23%25@h/2": "redis://u:p%40%3A%2F%23%25@h/2",
    "redis+cluster://h1:7001,h2,[::1]:7003": "redis+cluster://h1:7001,h2,[::1]:7003",
    "valkeys+cluster://u:p%40@h1,h2/0?ssl_cert_reqs=none": "rediss+cluster://u:p%40@h1,h2/0?ssl_cert_reqs=none",
    "redis+sentinel://:pass@s1:1,s2,[::1]/farm/0": "redis+sentinel://:pass@s1:1,s2,[::1]/farm/0",
    "valkey+sentinel://s1/my.farm_2-b?sentinel_password=s": "redis+sentinel://s1/my.farm_2-b?sentinel_password=s",
    "unix:///run/redis.sock?db=2": "unix:///run/redis.sock?db=2",
    "unix://u:pass@/run/redis.sock": "unix://u:pass@/run/redis.sock",
}
REFUSED = {
    "cache.example:6379": "must look like redis://:password@host:6379/0",
    "redis://": "must look like",
    "redis:///0": "must look like",
    "redis://:6379/0": "must look like",
    "http://cache.example/0": "must look like",
    "redis://cache.example:port/0": "must look like",
    "redis://cache.example:70000/0": "must look like",
    "redis://cache.example/abc": "must look like",
    "redis://cache.example/-1": "must look like",
    "redis://cache.example/0/1": "must look like",
    "redis://cache.exam\nple/0": "must look like",
    "redis://:pa#ss@cache.example/0": "percent-encoded",
    "redis://:1/ss@cache.example/0": "percent-encoded",
    "redis://user@cache.example": "user without a password; a password alone is written redis://:password@host",
    "redis://user:@cache.example": "user without a password",
    "redis://h1:6379,h2:6379/0": "names several hosts, which needs redis+cluster://",
    "redis+cluster://": "a bad host in place 1 of its list",
    "redis+cluster://h1,,h3": "a bad host in place 2 of its list",
    "redis+cluster://h1,h2:0": "a bad host in place 2 of its list",
    "redis+cluster://h1:port,h2": "a bad host in place 1 of its list",
    "redis+cluster://h1,::1": "a bad host in place 2 of its list",
    "redis+cluster://h1:6379,h2:6379/3": "names a database, but a cluster has only database 0",
    "redis+cluster://h1?db=3": "names a database, but a cluster has only database 0",
    "redis+cluster://user@h1": "user without a password",
    "redis+cluster://h1?sentinel_password=s": "bad option sentinel_password",
    "redis+cluster://:pa@ss@h1": "percent-encoded",
    "redis+cluster://h1?ssl_cert_reqs=none": "TLS options, which need rediss://",
    "redis+sentinel://s1,s2": "names no service: write redis+sentinel://",
    "redis+sentinel://s1,s2/0": "names no service",
    "redis+sentinel://s1/farm/zero": "names no service",
    "unix+cluster://h1": "must look like",
    "redis+other://h1": "must look like",
    "redis://cache.example/0?db=one": "bad option db; known: db=NUMBER",
    "redis://cache.example/0?no_such_option=1": "bad option no_such_option",
    "redis://cache.example/0?socket_timeout=1": "bad option socket_timeout",
    "redis://cache.example/0?decode_responses=True": "bad option decode_responses",
    "redis://cache.example/0?protocol=7": "bad protocol: it must be 2 or 3",
    "redis://cache.example/0?protocol=2&protocol=3": "an option twice",
    "redis://cache.example/0?ssl_cert_reqs=none": "TLS options, which need rediss://",
    "unix:///run/redis.sock?ssl_cert_reqs=none": "TLS options, which need rediss://",
    "rediss://h/0?ssl_cert_reqs=CERT_OPTIONAL": "bad ssl_cert_reqs: it must be none or required",
    "rediss://h/0?ssl_cert_reqs=": "bad ssl_cert_reqs",
    "rediss://h/0?ssl_check_hostname=perhaps": "bad ssl_check_hostname: it must be true or false",
    "rediss://h/0?ssl_ca_certs=/no/such/ca.pem": "names the file /no/such/ca.pem, which cannot be read",
    "rediss://h/0?ssl_min_version=771": "bad option ssl_min_version",
}


ADDRESSES = {  # hosts, and the URL of the server h:1
    "redis://:p@cache.example/3": ([("cache.example", 6379)], "redis://:p@cache.example/3"),
    "unix:///run/redis.sock": ([], "unix:///run/redis.sock"),
    "rediss+cluster://:p%40@h1:7,[::1]?ssl_cert_reqs=none": (
        [("h1", 7), ("::1", 6379)],
        "rediss://:p%40@h:1?ssl_cert_reqs=none",
    ),
    "redis+sentinel://:p@s1,s2:7/farm/3?sentinel_password=s": (
        [("s1", 26379), ("s2", 7)],
        "redis://:p@h:1/3",
    ),
}


@pytest.mark.parametrize("url", ACCEPTED)
def test_url_is_accepted(url: str) -> None:
    assert parse(url) == ACCEPTED[url]


@pytest.mark.parametrize("url", REFUSED)
def test_url_is_refused_with_a_reason(url: str) -> None:
    with pytest.raises(ValueError, match=re.escape(REFUSED[url])) as refused:
        parse(url)
    assert "\n" not in str(refused.value)
    assert not re.search("pass|pa@|ss@", str(refused.value).replace("password", ""))


@pytest.mark.parametrize("url", ADDRESSES)
def test_hosts_and_server_urls(url: str) -> None:
    servers = read(url)
    assert (servers.hosts, servers.url_of(("h", 1))) == ADDRESSES[url]


def test_ipv6_addresses_of_servers_stand_in_brackets() -> None:
    assert read("redis+cluster://h1").url_of(("::1", 7001)) == "redis://[::1]:7001"
