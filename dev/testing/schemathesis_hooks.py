"""Makes schemathesis's valid requests valid as a whole, beyond what a schema can say.

Some parameters exclude each other, slugs and ids must exist, and 1.0 is not an integer. Invalid requests are unchanged.
"""

from __future__ import annotations

import json
from functools import cache
from itertools import cycle
from typing import Any
from urllib.parse import parse_qs, urlsplit
from urllib.request import urlopen

import schemathesis
from hypothesis import strategies

Query = dict[str, Any]

# By default it generates headers without quotes.
schemathesis.openapi.format("entity-tags", strategies.sampled_from(["*", '"one"', 'W/"one", "two"', '""']))


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, Any]) -> None:
    if case.meta is None or case.meta.generation.mode.is_negative:
        return
    base = (case.operation.base_url or "").rstrip("/")
    if case.path == "/products" and case.query:
        case.query = valid_query(case.query, base)
    if isinstance(case.body, dict):
        case.body = valid_body(case.body, base)


def valid_query(query: Query, base: str) -> Query:
    if "ids" in query:
        return {name: query[name] for name in ("ids", "fields") if name in query}
    if "cursor" in query:
        return {name: query[name] for name in ("limit", "fields") if name in query} | {"cursor": known_cursor(base)}
    if "price_min" in query and "price_max" in query:
        low, high = sorted([query["price_min"], query["price_max"]], key=float)
        query = {**query, "price_min": low, "price_max": high}
    known = {"category": slugs(base, "categories"), "state": slugs(base, "states")}
    return query | {name: as_many(query[name], known[name]) for name in known if name in query}


def valid_body(body: dict[str, Any], base: str) -> dict[str, Any]:
    """To JSON Schema, 1.0 is an integer."""
    known = {name: value for name, value in known_references(base).items() if name in body}
    return {name: int(value) if isinstance(value, float) else value for name, value in body.items()} | known


def as_many(value: Any, known: list[str]) -> Any:
    return [slug for _, slug in zip(value, cycle(known), strict=False)] if isinstance(value, list) else known[0]


@cache
def get_json(url: str) -> Any:
    with urlopen(url, timeout=10) as response:  # noqa: S310  # our own server
        return json.load(response)


def slugs(base: str, name: str) -> list[str]:
    return [entry["slug"] for entry in get_json(f"{base}/{name}")["results"]]


def known_cursor(base: str) -> str:
    url: str = get_json(f"{base}/products")["next"]
    return parse_qs(urlsplit(url).query)["cursor"][0]


def known_references(base: str) -> dict[str, Any]:
    product = get_json(f"{base}/products?limit=1")["results"][0]
    return {"commodity": product["commodity"]["slug"], "farm": product["farm"]["id"]}
