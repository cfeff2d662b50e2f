"""HTTP calls that end at their deadline, whatever the other side does.

A timeout of requests bounds one wait of many: a body that drips, a header that drips, a name that nobody resolves, each
makes a call of "0.5 s" last as long as it likes. So the sockets here ask, before each wait, how much is left until the
deadline of the call that their thread is making.

One call, no retries, no redirects, no cookies, nothing from the environment's proxies or ~/.netrc, connections kept for
the next one. TLS is verified against the system's authorities (SSL_CERT_FILE names others).
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_BODY_BYTES = 1024 * 1024
CHUNK_BYTES = 64 * 1024
MAX_CONNECTIONS = 64  # kept to one host
MAX_LOOKUPS = 8  # of names, at once: the system's resolver cannot be interrupted

_call = threading.local()  # .ends: the deadline (time.monotonic) of the call that this thread is making


class OutboundError(Exception):
    """No answer that could be used; the text has no secret, and is for logs."""


class DeadlineExceededError(OutboundError):
    """The other side was too slow."""


class BadAnswerError(OutboundError):
    """Too large, or encoded in a way that was not asked for."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str] = field(repr=False)  # names in any case
    body: bytes = field(repr=False)  # which may hold a secret


def call(
    method: str,
    url: str,
    *,
    ends: float,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    max_bytes: int = MAX_BODY_BYTES,
) -> Answer:
    """ends: the deadline by time.monotonic. Raises an OutboundError at most a moment after it."""
    headers = {"Accept-Encoding": "identity", "User-Agent": "farmlokal", **(headers or {})}
    try:
        with (
            _until(ends),
            contextlib.closing(
                _session().request(
                    method, url, data=body, headers=headers, stream=True, allow_redirects=False, timeout=_left()
                )
            ) as response,
        ):
            return Answer(response.status_code, CaseInsensitiveDict(response.headers), _body(response, max_bytes))
    except (requests.RequestException, HTTPError, OSError, UnicodeError) as error:  # the last: a host that is none
        if time.monotonic() >= ends:
            raise DeadlineExceededError("no answer in time") from error
        raise OutboundError(_reason(error)) from error


def _body(response: requests.Response, max_bytes: int) -> bytes:
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise BadAnswerError("the answer is encoded, which was not asked for")
    found = bytearray()
    for chunk in response.raw.stream(CHUNK_BYTES, decode_content=False):
        found += chunk
        if len(found) > max_bytes:
            raise BadAnswerError(f"the answer has more than {max_bytes} bytes")
    return bytes(found)


def _reason(error: BaseException) -> str:
    """The innermost cause, without the addresses and objects that the libraries put around it."""
    while inner := getattr(error, "reason", None) or next(
        (a for a in error.args if isinstance(a, BaseException)), None
    ):
        if not isinstance(inner, BaseException):
            break
        error = inner
    return f"{type(error).__name__}: {error}"[:200]


# Deadlines


@contextlib.contextmanager
def _until(ends: float) -> Iterator[None]:
    _call.ends = ends
    try:
        yield
    finally:
        del _call.ends


def _left() -> float:
    """Seconds; raises TimeoutError where there are none."""
    left: float = _call.ends - time.monotonic()
    if left <= 0:
        raise TimeoutError("the deadline is over")
    return left


class _Socket(socket.socket):
    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(_left())
        return super().recv_into(*args, **kwargs)

    def send(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(_left())
        return super().send(*args, **kwargs)

    def sendall(self, *args: Any, **kwargs: Any) -> None:
        self.settimeout(_left())
        super().sendall(*args, **kwargs)


class _TLSSocket(_Socket, ssl.SSLSocket):
    """The same waits, of TLS."""


def _connected(host: str, port: int, options: Any) -> socket.socket:
    """To the first of the host's addresses that takes us; each has its share of the time."""
    addresses = _addresses(host, port)
    for number, (family, kind, protocol, _, address) in enumerate(addresses):
        connection = _Socket(family, kind, protocol)
        try:
            for option in options or ():
                connection.setsockopt(*option)
            connection.settimeout(_left() / (len(addresses) - number))
            connection.connect(address)
            connection.settimeout(_left())  # for the TLS handshake, which is one wait
        except OSError:
            connection.close()
            if number == len(addresses) - 1:
                raise
        else:
            return connection
    raise OSError(f"{host} has no address")


def _addresses(host: str, port: int) -> list[tuple[Any, ...]]:
    """What the resolver says in time: nobody can interrupt it."""
    with contextlib.suppress(socket.gaierror):
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    try:
        lookup = _lookups().submit(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    except RuntimeError as error:
        raise OSError("this process is ending") from error
    try:
        return lookup.result(_left())
    except TimeoutError:
        lookup.cancel()  # so that lookups that nobody waits for do not hold up later ones
        raise


class _HTTP(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _connected(self._dns_host, self.port, self.socket_options)


class _HTTPS(_HTTP, HTTPSConnection):
    """Connected as that one is; then TLS."""


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _HTTP


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _HTTPS


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        context = ssl.create_default_context()
        context.sslsocket_class = _TLSSocket
        super().init_poolmanager(*args, **kwargs, ssl_context=context)
        self.poolmanager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}

    def cert_verify(self, *_: Any) -> None:
        """By that context alone; requests would add the authorities of certifi."""


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Nowhere; even where none is followed, requests would read the whole body of a redirect."""


@lru_cache(maxsize=1)
def _session() -> requests.Session:
    session = _Session()
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    adapter = _Adapter(pool_maxsize=MAX_CONNECTIONS, max_retries=0)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


@lru_cache(maxsize=1)
def _lookups() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(MAX_LOOKUPS, "names")


def _begin_anew() -> None:
    """Connections and threads are those of one process."""
    _session.cache_clear()
    _lookups.cache_clear()


os.register_at_fork(after_in_child=_begin_anew)
