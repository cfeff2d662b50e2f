"""If a URL demands TLS, every client of MySQL and Redis encrypts or refuses to connect."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import redis
import uvloop
from cryptography import x509
from django.db import OperationalError, connection, connections
from pytest_django.fixtures import Settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from dev.testing.proxy import Proxy
from dev.testing.servers import GUNICORN, free_port, own_mysql, own_redis, running
from dev.testing.sockets import listening, make_certificate, mysql_without_tls
from dev.testing.waiting import wait_until
from farmlokal import health
from farmlokal.mysql import url as mysql_url
from farmlokal.mysql import watchdog
from farmlokal.mysql.driver import TLS_ERROR, ConnectError, connect
from farmlokal.redis import async_client
from farmlokal.redis import url as redis_url
from farmlokal.redis.async_client import AsyncClient
from farmlokal.redis.async_connection import RedisAwayError
from farmlokal.redis.scripts import Call, Script
from products.seeding import bulk_loader

MAX_CONNECT_SECONDS = 5
PLAIN = os.environ["DATABASE_URL"]
ECHO = Script("return 'echo'")
# All of these demand TLS, verified or not.
DEMANDS = [
    "ssl_mode=REQUIRED",
    "ssl-mode=required",
    "ssl_mode=VERIFY_CA",
    "ssl_mode=VERIFY_IDENTITY",
    "ssl=true",
    "sslaccept=strict",
    "sslaccept=accept_invalid_certs",
    'ssl={"rejectUnauthorized":false}',
    f"ssl_ca={__file__}",
    f"ssl_mode=REQUIRED&ssl_ca={__file__}",
]


@pytest.fixture(scope="module")
def server_certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")))[1]


@pytest.fixture(scope="module")
def encrypted(server_certificate: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of a MariaDB that offers TLS."""
    both = server_certificate.with_name("both.pem")
    options = f"--ssl-cert={both} --ssl-key={both}"
    with own_mysql(tmp_path_factory.mktemp("mysql"), os.environ, 10, options) as mysql:
        yield mysql.url


@pytest.fixture(scope="module", autouse=True)
def _without_tls() -> None:
    if _status(PLAIN, "Ssl_server_not_after"):
        pytest.skip("the server of the tests offers TLS")


def _parameters(url: str) -> dict[str, Any]:
    parsed = mysql_url.parse(url)
    names = {"host": "HOST", "port": "PORT", "user": "USER", "password": "PASSWORD", "database": "NAME"}
    return {name: parsed[key] for name, key in names.items()} | dict(parsed["OPTIONS"])


def _cipher(url: str) -> str:
    return _status(url, "Ssl_cipher")


def _status(url: str, name: str, **parameters: str) -> str:
    with contextlib.closing(connect(_parameters(url) | parameters)) as raw:
        raw.query(f"SHOW STATUS LIKE '{name}'")
        return str(raw.store_result().fetch_row()[0][1])


def _manage(url: str, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *command],
        env={**os.environ, "DATABASE_URL": url, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("option", DEMANDS)
def test_server_without_tls_is_refused(option: str) -> None:
    with pytest.raises(ConnectError, match=r"DATABASE_URL: .*TLS") as refused:
        connect(_parameters(f"{PLAIN}?{option}"))
    assert refused.value.args[0] == TLS_ERROR


@pytest.mark.parametrize("option", ["ssl_mode=REQUIRED", "ssl_mode=VERIFY_IDENTITY"])
def test_dbshell_is_refused_if_the_url_demands_tls(option: str) -> None:
    done = _manage(f"{PLAIN}?{option}", "dbshell", "--", "--execute=SELECT 1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "cannot promise the TLS that DATABASE_URL asks for" in done.stderr


def test_requests_probes_and_loads_refuse_plain_text(monkeypatch: pytest.MonkeyPatch, django_db_blocker: Any) -> None:
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "ssl_mode", "REQUIRED")
    with pytest.raises(ConnectError):
        health._ask_mysql()
    with pytest.raises(ConnectError), bulk_loader.connect():
        pass
    with django_db_blocker.unblock(), pytest.raises(OperationalError, match="DATABASE_URL"):
        connections.create_connection("default").ensure_connection()


def test_probe_for_a_silent_server_refuses_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: Any) -> None:
        with pytest.raises(ConnectError) as caught:
            connect(*arguments)
        raise caught.value

    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "ssl_mode", "REQUIRED")
    monkeypatch.setattr(watchdog, "connect", refused)
    assert watchdog._can_log_in("default")  # a refusal is an answer: the server is not silent


def test_no_statement_goes_through_a_proxy_that_removes_tls(encrypted: str) -> None:
    from_client = bytearray()
    with listening(mysql_without_tls(urlsplit(encrypted).port or 0, from_client)) as port:
        parameters = _parameters(f"{encrypted}?ssl_mode=REQUIRED") | {"port": port, "charset": "utf8mb4"}
        with pytest.raises(ConnectError, match="no TLS"):
            connect(parameters)
        assert b"SELECT" not in from_client
        connect(parameters | {"ssl_mode": "DISABLED"}).close()  # the proxy works
    assert from_client


def test_required_encrypts(encrypted: str) -> None:
    assert _cipher(f"{encrypted}?ssl-mode=REQUIRED")
    assert not _cipher(encrypted)


def test_named_ca_verifies_chain_and_host(encrypted: str, server_certificate: Path, tmp_path: Path) -> None:
    assert _cipher(f"{encrypted}?ssl_ca={server_certificate}")
    other = make_certificate(tmp_path)[1]
    with pytest.raises(ConnectError, match="certificate"):
        connect(_parameters(f"{encrypted}?ssl_ca={other}"))
    with pytest.raises(ConnectError, match="certificate"):
        # The certificate does not name this address.
        connect(_parameters(f"{encrypted}?ssl_ca={server_certificate}") | {"host": "127.1"})


@pytest.mark.parametrize("option", ["sslaccept=strict", 'ssl={"rejectUnauthorized":true}', "ssl_verify_cert=true"])
def test_options_of_providers_verify_by_the_systems_cas(
    option: str, encrypted: str, server_certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConnectError, match="self-signed"):
        connect(_parameters(f"{encrypted}?{option}"))
    monkeypatch.setenv("SSL_CERT_FILE", str(server_certificate))
    assert _cipher(f"{encrypted}?{option}")


def test_bulk_load_is_encrypted(encrypted: str, server_certificate: Path) -> None:
    url = f"{encrypted}?ssl_ca={server_certificate}"
    done = _manage(url, "seed_products", "20", "--reset")
    assert "20 products" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"password": "wrong"}, "Access denied"),
        ({"host": "no-such-host.invalid"}, "Unknown"),
        ({"port": "1"}, "Can't connect"),
        ({"path": "/nonesuch"}, "nonesuch"),
        ({"query": "?ssl_mode=REQUIRED"}, "no TLS"),
        ({"query": f"?ssl_ca={__file__}"}, "TLS"),
    ],
)
@pytest.mark.parametrize("command", [("migrate",), ("seed_products", "1"), ("prune",)])
def test_failed_connection_is_one_line_of_any_command(
    command: tuple[str, ...], change: dict[str, str], reason: str
) -> None:
    parts = urlsplit(PLAIN)
    host, port, password = parts.hostname or "", str(parts.port), parts.password or ""
    options = {"host": host, "port": port, "password": password, "path": parts.path, "query": ""} | change
    url = "mysql://{user}:{password}@{host}:{port}{path}{query}".format(user=parts.username, **options)
    done = _manage(url, *command)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "DATABASE_URL" in line
    assert reason in line
    assert password not in line


def test_programming_error_keeps_its_traceback() -> None:
    code = "from django.db import connection; connection.cursor().execute('SELECT no_such_column')"
    done = _manage(PLAIN, "shell", "-c", code)
    assert "Traceback" in done.stderr
    assert "no_such_column" in done.stderr


def test_gunicorn_refuses_to_start_without_tls() -> None:
    done = subprocess.run(
        [GUNICORN],
        env={**os.environ, "DATABASE_URL": f"{PLAIN}?ssl_mode=REQUIRED", "PORT": str(free_port())},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert [line for line in done.stderr.splitlines() if "DATABASE_URL" in line] == [
        "farmlokal: cannot connect to DATABASE_URL: the server offers no TLS, and the URL asks for it"
    ]


def test_running_service_answers_503_rather_than_plain_text() -> None:
    with Proxy(PLAIN) as proxy:
        proxy.behave("refuse")
        url = f"{proxy.url}?ssl_mode=REQUIRED"
        with running({**os.environ, "DATABASE_URL": url, "ALLOWED_HOSTS": "localhost"}) as server:
            proxy.behave("pass")
            wait_until(lambda: server.request("/readyz").status == 503 and "offers no TLS" in server.log.read_text())
            for target in ("/products?limit=3", "/products/1", "/readyz"):
                assert server.request(target).status == 503


@pytest.fixture(scope="module")
def redis_ports(server_certificate: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """Return the plain and the TLS port of one Redis."""
    both, port = str(server_certificate.with_name("both.pem")), free_port()
    options = ["--tls-port", str(port), "--tls-cert-file", both, "--tls-key-file", both, "--tls-auth-clients", "no"]
    with own_redis(tmp_path_factory.mktemp("redis"), *options) as server:
        yield urlsplit(server.url).port or 0, port


@pytest.fixture
def _slow_machine(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    """A TLS handshake may take seconds."""
    monkeypatch.setattr(async_client, "CONNECT_SECONDS", MAX_CONNECT_SECONDS)
    settings.REDIS_TIMEOUT_SECONDS = MAX_CONNECT_SECONDS + 1  # a command waits for the end of the first attempt


def _reachable(url: str) -> tuple[bool, bool]:
    """Return whether Django's client and the edge's client connect."""
    parsed = redis_url.parse(url)
    try:
        with redis.Redis.from_url(parsed, socket_timeout=MAX_CONNECT_SECONDS, retry=Retry(NoBackoff(), 0)) as client:
            client.ping()
        django = True
    except redis.RedisError:
        django = False

    async def ask() -> bool:
        edge = AsyncClient(parsed, [], Call(ECHO, []))
        try:
            return bool(await edge.run(ECHO, [], []) == b"echo")
        except RedisAwayError:
            return False
        finally:
            await edge.close()

    return django, uvloop.run(ask())


@pytest.mark.usefixtures("_slow_machine")
def test_both_redis_clients_agree_on_tls(redis_ports: tuple[int, int], server_certificate: Path) -> None:
    plain, tls = redis_ports
    named = f"ssl_ca_certs={quote(str(server_certificate))}"
    reached, refused = (True, True), (False, False)
    expected = {
        f"redis://127.0.0.1:{plain}/0": reached,
        f"rediss://127.0.0.1:{plain}/0": refused,
        f"rediss://127.0.0.1:{plain}/0?ssl_cert_reqs=CERT_NONE": refused,
        f"rediss://127.0.0.1:{tls}/0": refused,  # the system does not know its CA
        f"rediss://127.0.0.1:{tls}/0?{named}": reached,
        f"valkeys://127.0.0.1:{tls}/0?{named}": reached,
        f"rediss://localhost:{tls}/0?{named}": refused,  # its certificate is for 127.0.0.1
        f"rediss://127.0.0.1:{tls}/0?ssl_cert_reqs=CERT_NONE": reached,
    }
    with ThreadPoolExecutor(len(expected)) as threads:  # a Redis without TLS does not answer a handshake
        found = dict(zip(expected, threads.map(_reachable, expected), strict=True))
    assert found == expected


@pytest.mark.usefixtures("_slow_machine")
def test_redis_clients_trust_the_systems_cas_beside_a_named_one(
    redis_ports: tuple[int, int], server_certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_certificate(tmp_path)[1]
    url = f"rediss://127.0.0.1:{redis_ports[1]}/0?ssl_ca_certs={quote(str(other))}"
    assert _reachable(url) == (False, False)
    monkeypatch.setenv("SSL_CERT_FILE", str(server_certificate))
    assert _reachable(url) == (True, True)
