"""A stand-in for what is outside: an OAuth2 provider on a real socket, whose tokens are really signed.

For `make run` and for tests, never for production: its secrets stand here.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import time
import uuid
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs, unquote_plus, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

if TYPE_CHECKING:
    from collections.abc import Mapping

ALGORITHM = "RS256"
MAX_BODY_BYTES = 64 * 1024
TOKEN_PATH, KEYS_PATH = "/oauth/token", "/.well-known/jwks.json"


class Registered(NamedTuple):
    secret: str
    audience: str
    scope: str


# We, as the partner knows us; and a consumer of our API.
REGISTERED = {
    "farmlokal": Registered("farmlokal-secret", audience="partner", scope="quotes:read"),
    "demo": Registered("demo-secret", audience="farmlokal", scope="catalogue:write"),
}


class Answer(NamedTuple):
    status: int
    document: dict[str, Any]
    headers: Mapping[str, str] = MappingProxyType({})


class SigningKey:
    def __init__(self) -> None:
        self.private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = jwt.algorithms.RSAAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        thumb = {name: public[name] for name in ("e", "kty", "n")}  # RFC 7638
        digest = hashlib.sha256(json.dumps(thumb, sort_keys=True, separators=(",", ":")).encode()).digest()
        self.id = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        self.public = {**thumb, "kid": self.id, "alg": ALGORITHM, "use": "sig"}


class Provider:
    """RFC 6749, section 4.4."""

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
        issued = {"access_token": self.signed(client_id, client.audience, scope), "token_type": "Bearer"}
        return Answer(HTTPStatus.OK, {**issued, "expires_in": self.lifetime, "scope": scope})

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
    server: Sandbox

    def do_GET(self) -> None:
        if urlsplit(self.path).path == KEYS_PATH:
            self.answer(self.server.provider.keys())
        else:
            self.answer(Answer(HTTPStatus.NOT_FOUND, {"error": "not_found"}))

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit() or int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            self.answer(Answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"error": "invalid_request"}))
            return
        form = parse_qs(self.rfile.read(int(length)).decode("latin1"))
        if urlsplit(self.path).path == TOKEN_PATH:
            self.answer(self.server.provider.token(self.headers.get("Authorization", ""), form))
        else:
            self.answer(Answer(HTTPStatus.NOT_FOUND, {"error": "not_found"}))

    def answer(self, answer: Answer) -> None:
        body = json.dumps(answer.document).encode()
        self.send_response(answer.status)
        for name, value in {"Content-Type": "application/json", "Cache-Control": "no-store", **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing: a request line of the sandbox is nobody's concern."""


class Sandbox(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, host: str = "127.0.0.1", port: int = 0, lifetime: int = 3600) -> None:
        super().__init__((host, port), Handler)
        self.url = f"http://{host}:{self.server_port}"
        self.provider = Provider(self.url, lifetime)
