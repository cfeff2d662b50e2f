"""HTTP calls that end at their deadline.

The timeout of requests bounds each single wait, not the call. A server that sends its headers or its body byte by byte,
or a name that does not resolve, can prolong a call with timeout=0.5 without end. So before each wait, the sockets here
compute the time left until the deadline of their thread's call.

A call makes no retries, follows no redirects, and ignores cookies, proxies of the environment and ~/.netrc. It carries
the trace of the request on.
Connections stay open for later calls. TLS is verified by the system's CAs (SSL_CERT_FILE names others).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import lru_cache
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from farmlokal.observability import tracing

MAX_BODY_BYTES = 1024 * 1024
CHUNK_BYTES = 64 * 1024
MAX_CONNECTIONS = 64  # open to one host
MAX_LOOKUPS = 8  # of names at once, in threads, since the system's resolver cannot be interrupted
PASSING_ERRORS = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}  # the 4xx that another attempt may avoid

_call = threading.local()  # .ends: the deadline (time.monotonic) of this thread's call


class OutboundError(Exception):
    """The call brought no usable answer. The text is for logs and has no secrets."""


class DeadlineExceededError(OutboundError):
    """The other side was too slow."""


class BadAnswerError(OutboundError):
    """The answer is too large, or has an encoding that the call did not accept."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str] = field(repr=False)  # names in any case
    body: bytes = field(repr=False)  # may contain a secret

    @property
    def retry_after(self) -> float:
        """Seconds, from Retry-After (RFC 9110, 10.2.3): a number or a date. 0 without it, or for anything else."""
        text = self.headers.get("Retry-After", "")
        if text.isascii() and text.isdigit():
            return float(text[:9])
        try:
            at = parsedate_to_datetime(text)
        except (ValueError, OverflowError):
            return 0.0
        return max((at.replace(tzinfo=at.tzinfo or dt.UTC) - dt.datetime.now(dt.UTC)).total_seconds(), 0.0)


def call(
    method: str,
    url: str,
    *,
    ends: float,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    max_bytes: int = MAX_BODY_BYTES,
) -> Answer:
    """Return the answer, or raise an OutboundError. ends: the deadline, a time of time.monotonic."""
    with tracing.call_span(method, url) as span:
        headers = {"Accept-Encoding": "identity", "User-Agent": "farmlokal", **span.headers(), **(headers or {})}
        answer = _answer(method, url, ends, headers, body, max_bytes)
        span.set("http.response.status_code", answer.status)
        if answer.status >= HTTPStatus.BAD_REQUEST:
            span.fail(str(answer.status))
        return answer


def _answer(
    method: str, url: str, ends: float, headers: Mapping[str, str], body: bytes | None, max_bytes: int
) -> Answer:
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
    except (requests.RequestException, HTTPError, OSError, UnicodeError) as error:  # UnicodeError: a bad host name
        if time.monotonic() >= ends:
            raise DeadlineExceededError("no answer in time") from error
        raise OutboundError(_reason(error)) from error


def _body(response: requests.Response, max_bytes: int) -> bytes:
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise BadAnswerError("the answer is encoded, although the call accepts no encoding")
    body = bytearray()
    for chunk in response.raw.stream(CHUNK_BYTES, decode_content=False):
        body += chunk
        if len(body) > max_bytes:
            raise BadAnswerError(f"the answer has more than {max_bytes} bytes")
    return bytes(body)


def _reason(error: BaseException) -> str:
    """Return the innermost cause, without the addresses and objects that the libraries wrap around it."""
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
    """Return the seconds until the deadline. Raise TimeoutError after it."""
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
    """The same, with TLS."""


def _connected(host: str, port: int, options: Any) -> socket.socket:
    """Connect to the first address of the host that accepts. Each address gets a share of the time left."""
    addresses = _addresses(host, port)
    for number, (family, kind, protocol, _, address) in enumerate(addresses):
        connection = _Socket(family, kind, protocol)
        try:
            for option in options or ():
                connection.setsockopt(*option)
            connection.settimeout(_left() / (len(addresses) - number))
            connection.connect(address)
            connection.settimeout(_left())  # bounds the TLS handshake
        except OSError:
            connection.close()
            if number == len(addresses) - 1:
                raise
        else:
            return connection
    raise OSError(f"{host} has no address")


def _addresses(host: str, port: int) -> list[tuple[Any, ...]]:
    """Resolve the name in a thread, because a lookup cannot be interrupted."""
    with contextlib.suppress(socket.gaierror):
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    try:
        lookup = _lookups().submit(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    except RuntimeError as error:
        raise OSError("this process is ending") from error
    try:
        return lookup.result(_left())
    except TimeoutError:
        lookup.cancel()  # if it has not started, so that it does not delay later ones
        raise


class _HTTP(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _connected(self._dns_host, self.port, self.socket_options)


class _HTTPS(_HTTP, HTTPSConnection):
    """The same, with TLS."""


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
        """Leave verification to the context above; requests would add certifi's CAs."""


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return none, because requests reads the whole body of a redirect even if it does not follow it."""


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


def reset() -> None:
    """Drop all connections and threads, which a forked process must not share."""
    _session.cache_clear()
    _lookups.cache_clear()


os.register_at_fork(after_in_child=reset)
