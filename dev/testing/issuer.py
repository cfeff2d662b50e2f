"""An issuer of bearer tokens with RSA and EC keys, and their JWKS on a real socket."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from pytest_httpserver import HTTPServer
from werkzeug.wrappers import Request, Response

from dev.testing.token_provider import serving

AUDIENCE = "https://api.farmlokal.example"
RSA, EC = rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1())


class Issuer:
    def __init__(self, server: HTTPServer) -> None:
        self.url = server.url_for("").rstrip("/")
        self.private: dict[str, Any] = {}
        self.public: list[dict[str, Any]] = []
        self.fetches = 0
        self.answer: Callable[[], Response] = lambda: Response(json.dumps({"keys": self.public}))
        self.add("rsa-1", RSA)
        self.add("ec-1", EC)
        server.expect_request("/jwks").respond_with_handler(self._answer)

    def add(self, key_id: str, private: Any) -> None:
        kind = RSAAlgorithm if isinstance(private, rsa.RSAPrivateKey) else ECAlgorithm
        self.private[key_id] = private
        self.public.append({**kind.to_jwk(private.public_key(), as_dict=True), "kid": key_id})

    def rotate(self, key_id: str) -> None:
        """Replace all keys by a new RSA key."""
        self.public.clear()
        self.add(key_id, rsa.generate_private_key(65537, 2048))

    def _answer(self, _: Request) -> Response:
        self.fetches += 1
        return self.answer()

    @property
    def settings(self) -> dict[str, str]:
        return {"OAUTH_ISSUER": self.url, "OAUTH_JWKS_URL": f"{self.url}/jwks", "OAUTH_API_AUDIENCE": AUDIENCE}

    def claims(self, **changes: Any) -> dict[str, Any]:
        """A change to None removes the claim."""
        now = int(time.time())
        claims = {"iss": self.url, "aud": AUDIENCE, "iat": now, "exp": now + 600, "sub": "one", "client_id": "shop"}
        return {name: value for name, value in (claims | changes).items() if value is not None}

    def token(self, key_id: str = "rsa-1", headers: dict[str, Any] | None = None, **changes: Any) -> str:
        private = self.private[key_id]
        algorithm = "RS256" if isinstance(private, rsa.RSAPrivateKey) else "ES256"
        named = {name: value for name, value in ({"kid": key_id} | (headers or {})).items() if value is not None}
        # jwt.encode would refuse headers and claims that a hostile provider may send.
        return jwt.api_jws.encode(json.dumps(self.claims(**changes)).encode(), private, algorithm, named)


@contextmanager
def issuer() -> Iterator[Issuer]:
    with serving() as server:
        yield Issuer(server)
