"""Requests of a superuser to the pages of the admin: their own links and forms, with hostile parameters and fields."""

from __future__ import annotations

import html
import random
import re
from collections import deque
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection
from typing import NamedTuple
from urllib.parse import urlencode, urljoin, urlsplit

from dev.fuzz.cases import HOST, Case, encoded, request
from dev.fuzz.values import Values
from dev.testing.staff import CSRF_TOKEN

MAX_PAGES = 150
MAX_OF_A_KIND = 2  # pages whose paths differ in numbers only
# These would end the session, change the user whose session it is, or force the partner's breaker open.
LEFT_OUT = re.compile(r"logout|password|/accounts/user/\d|/breakers/")
PARAMETERS = ["q", "sort", "cursor", "page", "o", "p", "e", "all", "_popup", "_to_field", "_changelist_filters", "next"]
PARAMETERS += ["category", "state", "farm", "id__in", "status", "stock__gt", "is_active__exact", "received_at__gte"]
PARAMETERS += ["a__b__c"]
LINK = re.compile(rb'(?:href|action)="([^"]+)"')
FIELD = re.compile(r'<(?:input|select|textarea|button)[^>]*?\sname="([^"]*)"[^>]*')


class Page(NamedTuple):
    path: str
    query: str
    fields: Mapping[str, str]


class Staff:
    def __init__(self, values: Values, port: int, headers: Mapping[str, str]) -> None:
        self.values = values
        self.rng: random.Random = values.rng
        self.headers = headers
        self._port = port
        self.pages = list(self._crawl())

    def case(self) -> Case:
        page = self.rng.choice(self.pages)
        if page.fields and self.rng.random() < 0.4:
            return self._post(page)
        return request("admin", "GET", page.path + self._query(page), self.headers)

    def _query(self, page: Page) -> str:
        own = [name for name, _, _ in (part.partition("=") for part in page.query.split("&")) if name]
        chosen = self.values.some([*PARAMETERS, *own, *own], 3)
        if not chosen:
            return f"?{page.query}" if page.query else ""
        return "?" + "&".join(
            f"{encoded(name)}={encoded(self.values.text('1', '-1', page.query[:50]))}" for name in chosen
        )

    def _post(self, page: Page) -> Case:
        """The form of the page with some hostile fields; sometimes as a file upload."""
        fields = dict(page.fields)
        for name in self.values.some(list(fields), 3):
            fields[name] = self.values.text(fields[name])
        fields["csrfmiddlewaretoken"] = CSRF_TOKEN
        if self.rng.random() < 0.2:
            body, kind = self._multipart(fields)
        else:
            pairs = {name: value.encode("utf-8", "surrogatepass") for name, value in fields.items()}
            body, kind = urlencode(pairs).encode(), "application/x-www-form-urlencoded"
        return request("admin", "POST", page.path, {**self.headers, "Content-Type": kind}, body)

    def _multipart(self, fields: Mapping[str, str]) -> tuple[bytes, str]:
        parts = [
            f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()
        ]
        file = self.values.text("id,name,price,stock\n1,,48.50,10\n")
        name = self.rng.choice(["a.csv", "a.xlsx", "a", self.values.text("a.csv")])
        parts.append(
            f'--x\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n{file}\r\n--x--\r\n'
        )
        return "".join(parts).encode("utf-8", "surrogatepass"), "multipart/form-data; boundary=x"

    def _crawl(self) -> Iterator[Page]:
        """Pages that links and forms reach from the overview."""
        waiting, seen, kinds = deque(["/admin/"]), {"/admin/"}, dict[str, int]()
        found = 0
        while waiting and found < MAX_PAGES:
            url = waiting.popleft()
            path, query = urlsplit(url).path, urlsplit(url).query
            body = self._get(url)
            found += 1
            yield Page(path, query, _fields(body.decode("utf-8", "replace")))
            for link in LINK.findall(body):
                target = urljoin(url, html.unescape(link.decode())).partition("#")[0]
                kind = re.sub(r"\d+|=[^&]*", "", target)
                is_new = target not in seen and kinds.get(kind, 0) < MAX_OF_A_KIND
                if is_new and target.startswith("/admin/") and not LEFT_OUT.search(target):
                    seen.add(target)
                    kinds[kind] = kinds.get(kind, 0) + 1
                    waiting.append(target)

    def _get(self, url: str) -> bytes:
        connection = HTTPConnection(HOST, self._port, timeout=30)
        connection.request("GET", url, headers=dict(self.headers))
        body = connection.getresponse().read()
        connection.close()
        return body


def _fields(page: str) -> dict[str, str]:
    """The names of a page's fields, with the values that inputs have."""
    fields: dict[str, str] = {}
    for tag in FIELD.finditer(page):
        value = re.search(r'\svalue="([^"]*)"', tag[0])
        fields[html.unescape(tag[1])] = html.unescape(value[1]) if value else "1"
    return {name: value for name, value in fields.items() if name}
