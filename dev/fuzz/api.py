"""Requests to the API and its pages: queries, headers and bodies that are nearly right. The HTTP is well-formed."""

from __future__ import annotations

import json
import random
import uuid
from typing import Any

from dev.fuzz.cases import Case, encoded, header_text, request
from dev.fuzz.values import Values
from dev.testing.deliveries import Delivery
from integrations.sandbox.sender import PRICE, STOCK, WITHDRAWN

READS = ["/products"] * 12 + ["/products/{}"] * 5 + ["/products/{}/delivery-quote"] * 3
READS += ["/categories", "/states", "/", "/livez", "/readyz", "/metrics", "/openapi.json", "/docs", "/redoc"]
READS += ["/favicon.ico", "/admin", "/admin/login/", "/static/{}", "/{}", "/products/{}/{}", "/webhooks/partner"]
METHODS = ["GET"] * 20 + ["HEAD", "OPTIONS", "POST", "PUT", "DELETE", "TRACE", "PATCH", "PROPFIND"]
OTHER_PARAMETERS = ["page", "offset", "format", "q[]", "Q", "sort ", "__proto__", ""]
TYPES = ["application/json", "application/json; charset=utf-8", "text/plain", "application/x-www-form-urlencoded"]
TYPES += ["application/json; charset=utf-16", "multipart/form-data; boundary=x", "application/xml", "*/*", ";", ""]
FAMILIAR = {
    "Accept": ["application/json", "text/html", "*/*;q=0"],
    "Accept-Encoding": ["gzip", "gzip;q=0, *;q=1", "br, zstd", "identity;q=0"],
    "Accept-Language": ["en", "hi-IN"],
    "Authorization": ["Basic eDp5", "Bearer x", "Bearer a.b.c", "Bearer eyJhbGciOiJub25lIn0.e30."],
    "Content-Encoding": ["gzip", "identity"],
    "Cookie": ["sessionid=x; csrftoken=y", "a=b"],
    "Forwarded": ["for=1.2.3.4;proto=https;host=evil.example"],
    "If-Match": ["*", '"1"'],
    "If-Modified-Since": ["Sat, 29 Oct 1994 19:43:31 GMT"],
    "If-None-Match": ["*", '"a", W/"b"'],
    "Idempotency-Key": ["one", '"two"'],
    "Origin": ["https://shop.example", "null"],
    "Access-Control-Request-Method": ["GET", "PATCH"],
    "Access-Control-Request-Headers": ["authorization, x-y"],
    "Range": ["bytes=0-1"],
    "Referer": ["http://127.0.0.1/admin/"],
    "traceparent": ["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
    "tracestate": ["a=b,c=d"],
    "User-Agent": ["curl/8"],
    "X-CSRFToken": ["y"],
    "X-Forwarded-For": ["1.2.3.4, ::1", "[2001:db8::1]:80"],
    "X-Forwarded-Host": ["evil.example"],
    "X-Forwarded-Proto": ["https", "ftp"],
    "X-HTTP-Method-Override": ["DELETE"],
    "X-Request-ID": ["abc-123"],
}


class Api:
    """valid: by parameter, values that exist in the catalogue."""

    def __init__(self, values: Values, valid: dict[str, list[str]], token: str, webhook_secret: str) -> None:
        self.values = values
        self.rng: random.Random = values.rng
        self.valid = valid
        self.token = token
        self.webhook_secret = webhook_secret

    def read(self) -> Case:
        path = self._path(self.rng.choice(READS))
        method = self.rng.choice(METHODS)
        body = None if method in {"GET", "HEAD", "OPTIONS", "TRACE"} else self.values.json({"a": 1})
        return request("reads", method, path + self._query(), self._headers(2), body)

    def write(self) -> Case:
        """With a token that may write."""
        rng, method = self.rng, self.rng.choice([*["POST"] * 4, *["PATCH"] * 8, "DELETE"])
        path = "/products" if method == "POST" else f"/products/{self._or_hostile('ids')}"
        headers = {"Content-Type": rng.choice(TYPES if rng.random() < 0.1 else TYPES[:1])}
        headers |= self._headers(1) | ({"Authorization": f"Bearer {self.token}"} if rng.random() < 0.95 else {})
        if rng.random() < 0.3:
            headers["Idempotency-Key"] = rng.choice([uuid.UUID(int=rng.getrandbits(128)).hex, "k1", "k2"])
        body = None if method == "DELETE" and rng.random() < 0.9 else self.values.json(self._product())
        return request("writes", method, path, headers, body)

    def webhook(self) -> Case:
        """Signed rightly, unless the signature is the hostile part."""
        rng = self.rng
        kind, pk = rng.choice([*[PRICE, STOCK] * 4, WITHDRAWN]), int(rng.choice(self.valid["ids"]))
        data: dict[str, Any] = {"product_id": pk, "version": rng.randrange(1, 2**63), "price": "1.50", "stock": 5}
        data.pop({PRICE: "stock", STOCK: "price"}.get(kind, ""), None)
        if rng.random() < 0.5:
            data = json.loads(json.dumps(data)) | {rng.choice([*data, "x"]): self.values.document()}
        body = self.values.json({"type": kind, "timestamp": "2026-11-23T06:30:00Z", "data": data})
        sent = Delivery(body, secret=self.webhook_secret)
        headers = {"Content-Type": rng.choice(TYPES if rng.random() < 0.1 else TYPES[:1])} | sent.headers
        if rng.random() < 0.15:
            name = rng.choice(list(headers))
            headers[name] = header_text(self.values.text(headers[name]))
        return request("webhooks", "POST", "/webhooks/partner", headers | self._headers(1), body)

    def _product(self) -> dict[str, Any]:
        one = {name: self.rng.choice(self.valid[name]) for name in ("commodity", "farm")}
        return {
            "name": "Mango",
            "commodity": one["commodity"],
            "farm": int(one["farm"]),
            "grade": "A",
            "unit": "kg",
            "price": "12.50",
            "stock": 7,
            "organic": False,
            "variety": "",
            "description": "x",
        }

    def _path(self, template: str) -> str:
        while "{}" in template:
            template = template.replace("{}", self._or_hostile("ids"), 1)
        return template

    def _or_hostile(self, name: str) -> str:
        """Most are valid, so that a request gets far."""
        known = self.valid[name]
        return encoded(self.rng.choice(known) if self.rng.random() < 0.7 else self.values.text(*known))

    def _query(self) -> str:
        parameters = [
            f"{name}={self._or_hostile(name)}"
            if name in self.valid
            else f"{encoded(name)}={encoded(self.values.text())}"
            for name in self.values.some([*self.valid, *self.valid, *OTHER_PARAMETERS], 4)
        ]
        separator = "&" if self.rng.random() < 0.95 else self.rng.choice([";", "?", "&&", "%26"])
        return "?" + separator.join(parameters) if parameters else ""

    def _headers(self, most: int) -> dict[str, str]:
        return {
            name: self.rng.choice(FAMILIAR[name])
            if self.rng.random() < 0.4
            else header_text(self.values.text(*FAMILIAR[name]))
            for name in self.values.some(list(FAMILIAR), most)
        }
