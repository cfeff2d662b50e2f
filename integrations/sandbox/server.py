"""A stand-in OAuth2 provider and partner on a real socket. It signs and checks tokens; PUT /faults makes it fail.

For `make run` and tests, never for production: its secrets are public.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import json
import time
import uuid
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import asdict
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote_plus, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from integrations.sandbox.faults import Faults, misbehave

ALGORITHM = "RS256"
MAX_BODY_BYTES = 64 * 1024
TOKEN_PATH, KEYS_PATH = "/oauth/token", "/.well-known/jwks.json"
QUOTES_PATH, FAULTS_PATH, ARRIVALS_PATH = "/v1/quotes", "/faults", "/arrivals"
QUOTES_AUDIENCE, QUOTES_SCOPE = "partner", "quotes:read"
PINCODE_LENGTH = 6
FIELD_POST_OFFICES = "9"  # first digit of the army's pincodes; the sandbox does not deliver there


class RegisteredClient(NamedTuple):
    secret: str
    audience: str
    scope: str


# This service as a client of the partner, and a client of this service.
REGISTERED = {
    "farmlokal": RegisteredClient("farmlokal-secret", audience=QUOTES_AUDIENCE, scope=QUOTES_SCOPE),
    "demo": RegisteredClient("demo-secret", audience="farmlokal", scope="catalogue:write"),
}


class Answer(NamedTuple):
    status: int
    document: dict[str, Any]
    headers: Mapping[str, str] = MappingProxyType({})


NOT_FOUND = Answer(HTTPStatus.NOT_FOUND, {"error": "not_found"})


class SigningKey:
    def __init__(self) -> None:
        self.private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = jwt.algorithms.RSAAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        thumbprint = {name: public[name] for name in ("e", "kty", "n")}  # RFC 7638
        digest = hashlib.sha256(json.dumps(thumbprint, sort_keys=True, separators=(",", ":")).encode()).digest()
        self.id = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        self.public = {**thumbprint, "kid": self.id, "alg": ALGORITHM, "use": "sig"}


class Provider:
    """Issues tokens for client credentials (RFC 6749, section 4.4)."""

    def __init__(self, issuer: str, lifetime: int) -> None:
        self.issuer = issuer
        self.lifetime = lifetime
        self.key = SigningKey()

    def keys(self) -> Answer:
        return Answer(HTTPStatus.OK, {"keys": [self.key.public]})

    def token(self, authorization: str, form: dict[str, list[str]]) -> Answer:
        client_id, secret = _credentials(authorization)
        client = REGISTERED.get(client_id)
        if client is None or client.secret != secret:
            challenge = {"WWW-Authenticate": 'Basic realm="sandbox"'}
            return Answer(HTTPStatus.UNAUTHORIZED, {"error": "invalid_client"}, challenge)
        if form.get("grant_type") != ["client_credentials"]:
            return Answer(HTTPStatus.BAD_REQUEST, {"error": "unsupported_grant_type"})
        scope = form.get("scope", [client.scope])[0]
        if not set(scope.split()) <= set(client.scope.split()):
            return Answer(HTTPStatus.BAD_REQUEST, {"error": "invalid_scope"})
        token = {"access_token": self.signed(client_id, client.audience, scope), "token_type": "Bearer"}
        return Answer(HTTPStatus.OK, {**token, "expires_in": self.lifetime, "scope": scope})

    def signed(self, client_id: str, audience: str, scope: str) -> str:
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": audience,
            "sub": client_id,
            "client_id": client_id,
            "scope": scope,
            "iat": now,
            "exp": now + self.lifetime,
            "jti": uuid.uuid4().hex,
        }
        return jwt.encode(claims, self.key.private, ALGORITHM, {"kid": self.key.id, "typ": "at+jwt"})

    def accepts(self, authorization: str) -> bool:
        """Whether it is one of our tokens and allows quotes."""
        scheme, _, token = authorization.partition(" ")
        public = self.key.private.public_key()
        try:
            claims = jwt.decode(token, public, [ALGORITHM], audience=QUOTES_AUDIENCE, issuer=self.issuer)
        except jwt.InvalidTokenError:
            return False
        return scheme.lower() == "bearer" and QUOTES_SCOPE in claims["scope"].split()


def quote(query: dict[str, list[str]]) -> Answer:
    """The same product and pincode always get the same quote."""
    product_id, pincode = (query.get(name, [""])[0] for name in ("product_id", "pincode"))
    if not (product_id.isdecimal() and pincode.isdecimal() and len(pincode) == PINCODE_LENGTH):
        return Answer(HTTPStatus.BAD_REQUEST, {"error": "product_id and pincode are required"})
    if pincode.startswith(FIELD_POST_OFFICES):
        return Answer(HTTPStatus.OK, {"available": False, "fee": None, "currency": None, "eta_hours": None})
    digest = hashlib.sha256(f"{product_id}:{pincode}".encode()).digest()
    fee, hours = f"{20 + digest[0] % 80}.{digest[1] % 100:02}", 12 + digest[2] % 60
    return Answer(HTTPStatus.OK, {"available": True, "fee": fee, "currency": "INR", "eta_hours": hours})


def _credentials(authorization: str) -> tuple[str, str]:
    scheme, _, encoded = authorization.partition(" ")
    try:
        decoded = base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    client_id, _, secret = decoded.partition(":")
    return (unquote_plus(client_id), unquote_plus(secret)) if scheme.lower() == "basic" else ("", "")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # otherwise the body waits 40 ms until the headers are acknowledged
    server: Sandbox

    def do_GET(self) -> None:
        path, query = urlsplit(self.path).path, urlsplit(self.path).query
        if path == KEYS_PATH:
            self.answer(self.server.provider.keys())
        elif path == QUOTES_PATH:
            self.quote(parse_qs(query))
        elif path == FAULTS_PATH:
            self.answer(self.server.report())
        elif path == ARRIVALS_PATH:
            self.answer(Answer(HTTPStatus.OK, {"arrivals": list(self.server.arrivals)}))
        else:
            self.answer(NOT_FOUND)

    def do_POST(self) -> None:
        body = self.body()
        if body is None:
            return
        if urlsplit(self.path).path == TOKEN_PATH:
            self.server.calls["tokens"] += 1
            form = parse_qs(body.decode("latin1"))
            self.answer(self.server.provider.token(self.headers.get("Authorization", ""), form))
        else:
            self.answer(NOT_FOUND)

    def do_PUT(self) -> None:
        """{} as /faults ends all faults."""
        body = self.body()
        if body is None:
            return
        if urlsplit(self.path).path != FAULTS_PATH:
            self.answer(NOT_FOUND)
            return
        try:
            self.server.faults = Faults.read(body)
        except (ValueError, RecursionError) as error:
            self.answer(Answer(HTTPStatus.BAD_REQUEST, {"error": str(error)}))
            return
        self.answer(self.server.report())

    def body(self) -> bytes | None:
        length = self.headers.get("Content-Length", "0")
        if length.isdigit() and int(length) <= MAX_BODY_BYTES:
            return self.rfile.read(int(length))
        self.close_connection = True
        self.answer(Answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"error": "invalid_request"}))
        return None

    def quote(self, query: dict[str, list[str]]) -> None:
        self.server.calls["quotes"] += 1
        self.server.arrivals.append(time.monotonic())
        faults = self.server.faults
        is_error = faults.strike()
        if faults.how:
            misbehave(faults.how, self)
        elif is_error:
            headers = {} if faults.retry_after is None else {"Retry-After": str(faults.retry_after)}
            self.answer(Answer(faults.status, {"error": "a fault was set"}, headers))
        elif self.server.provider.accepts(self.headers.get("Authorization", "")):
            self.answer(quote(query))
        else:
            self.answer(Answer(HTTPStatus.UNAUTHORIZED, {"error": "invalid_token"}))

    def answer(self, answer: Answer) -> None:
        body = json.dumps(answer.document).encode()
        self.send_response(answer.status)
        for name, value in {"Content-Type": "application/json", "Cache-Control": "no-store", **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):  # the caller has given up
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Do not log requests."""


class Sandbox(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, host: str = "127.0.0.1", port: int = 0, lifetime: int = 3600) -> None:
        super().__init__((host, port), Handler)
        self.url = f"http://{host}:{self.server_port}"
        self.provider = Provider(self.url, lifetime)
        self.faults = Faults()
        self.calls = Counter({"tokens": 0, "quotes": 0})
        self.arrivals: deque[float] = deque(maxlen=10_000)  # times of quote requests, by time.monotonic

    def report(self) -> Answer:
        return Answer(HTTPStatus.OK, {"faults": asdict(self.faults), "calls": dict(self.calls)})
